"""The weight bank: every shared kernel once, its owner, and what each task uses of it.

A kernel belongs to the one task that learned it (owner 1, 2, ...) or to nobody (owner 0:
allocated but released, free for a later task). A task's network is a function of its own record: widths,
`used` bits, its biases, BatchNorm and head. Kernels and channels that came later are in none of its bits.

On disk a task is one file that is never rewritten: its bits, the kernels it added, its private vectors.
A kernel that was free before and that the task uses is one it owns, so the bits alone give the owners.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from lsg.networks.architecture import HEAD, Architecture, Grids, Widths, widened

FREE = 0


class ForgettingError(RuntimeError):
    """A task's network is no longer the one that was learned."""


@dataclass(frozen=True)
class Solution:
    """A task's finished network, before or after it enters the bank.

    `weights` are kernels by layer `[outputs, inputs, area]`, the head included; `used` says which of the
    shared ones the task uses, `[outputs, inputs]` (of a layer that it leaves out, all); `private` are its own
    vectors by module name.
    """

    widths: dict[str, int]
    classes: int
    weights: Grids
    used: dict[str, Tensor]
    private: dict[str, Tensor]

    def network(self, architecture: Architecture) -> nn.Module:
        """The plain module that computes this solution, in evaluation mode."""
        network = architecture.make(self.widths, self.classes).to(self.weights[HEAD].dtype)
        with torch.no_grad():
            for layer in (*architecture.layers, architecture.head):
                grid = self.weights[layer.name]
                if layer.name in self.used:
                    grid = torch.where(self.used[layer.name].unsqueeze(2), grid, 0.0)
                weight = network.get_submodule(layer.name).weight
                assert isinstance(weight, Tensor)
                weight.copy_(grid.reshape(weight.shape))
            state = dict(network.named_parameters()) | dict(network.named_buffers())
            for name, vector in self.private.items():
                state[name].copy_(vector)
        return network.eval()


@dataclass(frozen=True)
class Kept:
    """What the bank keeps of a task beside shared kernels: a bit a kernel, its head and private vectors."""

    widths: dict[str, int]
    classes: int
    head: Tensor
    used: dict[str, Tensor]
    """Packed, by layer."""
    private: dict[str, Tensor]


class Bank:
    """Shared kernels `[outputs, inputs, area]` and owners `[outputs, inputs]` of each layer."""

    def __init__(self, architecture: Architecture) -> None:
        self.architecture = architecture
        self.widths: dict[str, int] = dict.fromkeys(architecture.streams, 0)
        self.weights: Grids = {}
        self.owners: dict[str, Tensor] = {}
        for layer in architecture.layers:
            outputs, inputs, area = architecture.shape(layer, self.widths)
            self.weights[layer.name] = torch.zeros(outputs, inputs, area)
            self.owners[layer.name] = torch.zeros(outputs, inputs, dtype=torch.int16)
        self._kept: dict[int, Kept] = {}

    @property
    def tasks(self) -> list[int]:
        """Numbers of the tasks in the bank, in the order in which they were learned."""
        return list(self._kept)

    def add(self, task: int, solution: Solution) -> None:
        """Take up a task: widen the bank, and store the free kernels that the task uses as its own.

        Raises ForgettingError if a kernel of an earlier task moved while this one was learned.
        """
        self._widen(solution.widths)
        self._check_frozen(task, solution)
        for layer in self.architecture.layers:
            owned = solution.used[layer.name] & (self.owners[layer.name] == FREE)
            self.weights[layer.name][owned] = solution.weights[layer.name][owned]
            self.owners[layer.name][owned] = task
        self._kept[task] = Kept(
            dict(solution.widths),
            solution.classes,
            solution.weights[HEAD].clone(),
            {layer: packed(bits) for layer, bits in solution.used.items()},
            dict(solution.private),
        )

    def _check_frozen(self, task: int, solution: Solution) -> None:
        for name, owners in self.owners.items():
            moved = (solution.weights[name] != self.weights[name]).any(2) & (owners != FREE)
            if moved.any():
                earlier = sorted(set(owners[moved].tolist()))
                raise ForgettingError(
                    f"task {task}: {int(moved.sum())} frozen kernels of {name} moved, "
                    f"owned by tasks {earlier}"
                )

    def _widen(self, widths: Widths) -> None:
        for layer in self.architecture.layers:
            shape = self.architecture.shape(layer, widths)
            self.weights[layer.name] = widened(self.weights[layer.name], shape)
            self.owners[layer.name] = widened(self.owners[layer.name], shape[:2])
        self.widths = dict(widths)

    def solution(self, task: int) -> Solution:
        """What the task computes, from its own record and the shared kernels that its bits name."""
        kept = self._kept[task]
        weights, used = {HEAD: kept.head}, {}
        for layer in self.architecture.layers:
            outputs, inputs, _ = self.architecture.shape(layer, kept.widths)
            weights[layer.name] = self.weights[layer.name][:outputs, :inputs]
            used[layer.name] = unpacked(kept.used[layer.name], (outputs, inputs))
        return Solution(kept.widths, kept.classes, weights, used, kept.private)

    def private(self, task: int) -> dict[str, Tensor]:
        """The task's own vectors: biases, BatchNorm, the head's bias."""
        return self._kept[task].private

    def network(self, task: int) -> nn.Module:
        """The task's network: compact, plain, in evaluation mode."""
        return self.solution(task).network(self.architecture)

    def released_share(self) -> float:
        """Share of the allocated shared weights that nobody owns."""
        free = sum(
            int((owner == FREE).sum()) * self.weights[name].shape[2] for name, owner in self.owners.items()
        )
        return free / max(1, self.architecture.weights(self.widths))

    def tensors(self, task: int) -> dict[str, Tensor]:
        """What the task's file holds: see the module's docstring."""
        kept = self._kept[task]
        sizes = torch.tensor([kept.widths[stream] for stream in self.architecture.streams])
        stored = {"widths": sizes, f"{HEAD}.weight": kept.head} | kept.private
        for layer in self.architecture.layers:
            outputs, inputs, _ = self.architecture.shape(layer, kept.widths)
            owned = self.owners[layer.name][:outputs, :inputs] == task
            stored[f"{layer.name}.used"] = kept.used[layer.name]
            stored[f"{layer.name}.owned"] = self.weights[layer.name][:outputs, :inputs][owned]
        return stored

    def add_tensors(self, task: int, stored: Mapping[str, Tensor]) -> None:
        """Take up a task from its file, after all tasks before it. Raises ValueError if they do not fit."""
        widths = dict(zip(self.architecture.streams, stored["widths"].tolist(), strict=True))
        weights, used = {HEAD: stored[f"{HEAD}.weight"]}, {}
        self._widen(widths)
        for layer in self.architecture.layers:
            shape = self.architecture.shape(layer, widths)
            bits = unpacked(stored[f"{layer.name}.used"], shape[:2])
            owned = bits & (self.owners[layer.name] == FREE)
            values = stored[f"{layer.name}.owned"]
            if len(values) != int(owned.sum()):
                raise ValueError(
                    f"task {task}, {layer.name}: {len(values)} kernels stored, bits name {int(owned.sum())}"
                )
            grid = self.weights[layer.name].clone()
            grid[owned] = values
            weights[layer.name], used[layer.name] = grid, bits
        private = {name: stored[name] for name in self.architecture.private_streams()}
        self.add(task, Solution(widths, len(stored[f"{HEAD}.weight"]), weights, used, private))


def packed(bits: Tensor) -> Tensor:
    """Booleans of any shape as bytes of eight, `[ceil(n / 8)]` uint8; as no byte where all are true."""
    if bool(bits.all()):
        return torch.empty(0, dtype=torch.uint8)
    return torch.from_numpy(np.packbits(bits.cpu().numpy().reshape(-1)))


def unpacked(stored: Tensor, shape: tuple[int, int]) -> Tensor:
    """The booleans `[outputs, inputs]` that `packed` made these bytes of.

    Raises ValueError for another number of bytes.
    """
    count = shape[0] * shape[1]
    if not len(stored):
        return torch.ones(shape, dtype=torch.bool)
    if len(stored) != (count + 7) // 8:
        raise ValueError(f"{len(stored)} bytes of bits for {count} kernels")
    return torch.from_numpy(np.unpackbits(stored.numpy(), count=count).astype(bool)).view(shape)
