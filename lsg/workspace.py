"""A network in training: a plain dense module, and beside it everything that training moves.

The module's weights are views of the flat vector `effective` = weight * mask * gate; biases and BatchNorm's
affine parameters are views of one vector `private`. Gradients are those that autograd makes, parameter by
parameter: `lsg.update` takes them, so none is added up or cleared. What decides over a kernel stands in
per-kernel vectors (`trainable`, `masked`, `logit`), what decides over a channel in per-channel vectors
(`candidate`, `gate_logit`, `on_epochs`). `lsg.update` reads and writes these.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lsg.kernels import KernelTable
from lsg.masks import INITIAL_LOGIT
from lsg.networks.architecture import HEAD, Architecture, Grids, Widths
from lsg.optimizers import Optimizer

STATISTICS = ("running_mean", "running_var")


@dataclass
class Trained:
    """Values and the state that their optimizer keeps for each of them."""

    value: Tensor
    state: dict[str, Tensor]

    @classmethod
    def of(cls, value: Tensor, optimizer: Optimizer) -> Trained:
        return cls(value, optimizer.state(value))

    def tensors(self) -> dict[str, Tensor]:
        return {"value": self.value, **self.state}


def is_statistic(name: str) -> bool:
    """Whether a private vector is one of BatchNorm's running statistics, which no optimizer moves."""
    return name.rsplit(".", 1)[-1] in STATISTICS


def gradient_of(parameter: nn.Parameter) -> Tensor:
    """What the last backward pass left, as a flat view."""
    assert parameter.grad is not None
    return parameter.grad.view(-1)


def default_private(name: str, size: int, dtype: torch.dtype) -> Tensor:
    """A new channel's private value: BatchNorm scales and variances start at 1, all else at 0."""
    one = name.endswith("running_var") or name.endswith(".weight")
    return torch.full((size,), 1.0 if one else 0.0, dtype=dtype)


class Workspace:
    """One task's network in training at given widths.

    Args:
        architecture, widths, classes: what to build.
        optimizers: update rules of the weights (and private vectors) and of the logits (masks, gates).
        weights: unmasked kernels of each layer, the head included, `[outputs, inputs, area]`.
        private: the task's own vectors by module name; what is missing starts at its default.
        dense: nothing is masked or gated, so effective and unmasked weights are the same memory.
    """

    def __init__(
        self,
        architecture: Architecture,
        widths: Widths,
        classes: int,
        optimizers: tuple[Optimizer, Optimizer],
        weights: Grids,
        private: Mapping[str, Tensor],
        device: torch.device | str = "cpu",
        dense: bool = False,
    ) -> None:
        self.architecture, self.classes = architecture, classes
        self.optimizers, self.device, self.dense = optimizers, torch.device(device), dense
        self.dtype = weights[HEAD].dtype
        self.table = KernelTable(architecture, widths, classes, device)
        self.widths = self.table.widths
        self._allocate(weights)
        self._build_module(private)

    def _allocate(self, weights: Grids) -> None:
        table = self.table
        weight = self._full(table.weights)
        for layer, grid in weights.items():
            table.grid(weight, layer).copy_(grid)
        self.weight = Trained.of(weight, self.optimizers[0])
        self.effective = weight if self.dense else weight.clone()
        self.trainable = self._full(table.count, True)
        self._allocate_masks()
        self.candidate = self._full(table.channels, False)
        self.gate_logit = Trained.of(self._full(table.channels), self.optimizers[1])
        self.on_epochs = self._full(table.channels)

    def _allocate_masks(self) -> None:
        """Where nothing is masked, all kernels share one number of each kind, which cannot be written."""
        count = self.table.count
        if self.dense:
            self.masked = self._full(1, False).expand(count)
            self.logit = Trained(self._full(1, INITIAL_LOGIT).expand(count), {})
        else:
            self.masked = self._full(count, False)
            self.logit = Trained.of(self._full(count, INITIAL_LOGIT), self.optimizers[1])

    def _full(self, count: int, value: float | bool = 0.0) -> Tensor:
        dtype = torch.bool if isinstance(value, bool) else self.dtype
        return torch.full((count,), value, dtype=dtype, device=self.device)

    def _build_module(self, private: Mapping[str, Tensor]) -> None:
        """Make the module and let its parameters be views of the flat vectors."""
        self.network = self.architecture.make(self.widths, self.classes).to(self.device, self.dtype)
        for layer in self.table.layers:
            module = self.network.get_submodule(layer.name)
            assert isinstance(module.weight, Tensor)
            view = self.table.weights_of[layer.name]
            module.weight = nn.Parameter(self.effective[view].view_as(module.weight))
        self._build_private(private)

    def _build_private(self, private: Mapping[str, Tensor]) -> None:
        streams = self.architecture.private_streams()
        channels_of = self.architecture.channels
        sizes = {name: channels_of(stream, self.widths, self.classes) for name, stream in streams.items()}
        starts = {name: self._start(name, size, private) for name, size in sizes.items()}
        moved = [name for name in streams if not is_statistic(name)]
        value = torch.cat([starts[name] for name in moved]).to(self.device)
        self.private = Trained.of(value, self.optimizers[0])
        self.private_of: dict[str, slice] = {}
        self.private_parameters: list[nn.Parameter] = []
        place, channels = 0, []
        for name in moved:
            span = slice(place, place + sizes[name])
            owner, _, attribute = name.rpartition(".")
            parameter = nn.Parameter(self.private.value[span])
            setattr(self.network.get_submodule(owner), attribute, parameter)
            self.private_parameters.append(parameter)
            self.private_of[name], place = span, span.stop
            channels.append(self.table.channel_indices(streams[name], sizes[name]))
        self.private_channel = torch.cat(channels).to(self.device)
        for name in filter(is_statistic, streams):
            self.statistic(name).copy_(starts[name])

    def _start(self, name: str, size: int, private: Mapping[str, Tensor]) -> Tensor:
        start = default_private(name, size, self.dtype)
        given = private.get(name)
        if given is not None:
            start[: len(given)] = given.to("cpu", self.dtype)
        return start

    def private_vectors(self) -> dict[str, Tensor]:
        """Copies of the task's own vectors: biases, BatchNorm's affine parameters and statistics."""
        moved: dict[str, Tensor] = {
            name: self.private.value[span].clone() for name, span in self.private_of.items()
        }
        statistics = filter(is_statistic, self.architecture.private_streams())
        return moved | {name: self.statistic(name).clone() for name in statistics}

    def statistic(self, name: str) -> Tensor:
        """One of BatchNorm's running statistics, as the module holds it."""
        return self.network.get_buffer(name)

    def private_gradient(self) -> Tensor:
        """A copy of the last backward pass' gradients of what `private` holds."""
        return torch.cat([gradient_of(parameter) for parameter in self.private_parameters])

    def weight_grids(self) -> Grids:
        """Views of the unmasked kernels by layer, `[outputs, inputs, area]`, the head included."""
        return {layer.name: self.table.grid(self.weight.value, layer.name) for layer in self.table.layers}

    def aligned(self) -> dict[str, dict[str, Tensor]]:
        """Every tensor of the state, by what an entry is: a weight, kernel, channel or private value."""

        def prefixed(name: str, trained: Trained) -> dict[str, Tensor]:
            return {f"{name}.{part}": tensor for part, tensor in trained.tensors().items()}

        masks = {} if self.dense else {"masked": self.masked} | prefixed("logit", self.logit)
        channels = {"candidate": self.candidate, "on_epochs": self.on_epochs}
        return {
            "weight": prefixed("weight", self.weight),
            "kernel": {"trainable": self.trainable} | masks,
            "channel": channels | prefixed("gate_logit", self.gate_logit),
            "private": prefixed("private", self.private),
        }

    def tensors(self) -> dict[str, Tensor]:
        """What a checkpoint has to hold: the state above and BatchNorm's statistics, by name."""
        state = {name: tensor for group in self.aligned().values() for name, tensor in group.items()}
        statistics = filter(is_statistic, self.architecture.private_streams())
        return state | {name: self.statistic(name) for name in statistics}

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Take up the state of `tensors()` of a workspace of the same widths."""
        for name, target in self.tensors().items():
            target.copy_(tensors[name])

    def like(self, widths: Widths) -> Workspace:
        """A workspace of other widths with nothing in it yet, to `load` a checkpoint into."""
        shapes = KernelTable(self.architecture, widths, self.classes).shapes
        empty = {layer: torch.zeros(shape, dtype=self.dtype) for layer, shape in shapes.items()}
        return Workspace(
            self.architecture, widths, self.classes, self.optimizers, empty, {}, self.device, self.dense
        )

    def grown(
        self, widths: Widths, make_weights: Callable[[Workspace], Grids], masked: Iterable[str]
    ) -> Workspace:
        """A wider workspace that goes on where this one stands.

        New channels come behind the old ones of their stream. What is new starts trainable, with a mask
        in the layers named by `masked`, with fresh optimizer state, off the candidates' list, and with the
        weights that `make_weights(self)` gives (of whole grids; only the new kernels are taken).
        """
        weights = make_weights(self)
        for layer in self.table.layers:
            outputs, inputs, _ = self.table.shapes[layer.name]
            weights[layer.name][:outputs, :inputs] = self.table.grid(self.weight.value, layer.name)
        wider = Workspace(
            self.architecture,
            widths,
            self.classes,
            self.optimizers,
            weights,
            self.private_vectors(),
            self.device,
        )
        for name in masked:
            wider.table.kernel_grid(wider.masked, name)[:] = True
        copy_over(self, wider)
        return wider


def copy_over(old: Workspace, new: Workspace) -> None:
    """Copy the state of every kernel, channel and private value that both workspaces have."""
    source, target = old.aligned(), new.aligned()
    for layer in old.table.layers:
        outputs, inputs, _ = old.table.shapes[layer.name]
        for name, tensor in source["weight"].items():
            new.table.grid(target["weight"][name], layer.name)[:outputs, :inputs] = old.table.grid(
                tensor, layer.name
            )
        for name, tensor in source["kernel"].items():
            grid = old.table.kernel_grid(tensor, layer.name)
            new.table.kernel_grid(target["kernel"][name], layer.name)[:outputs, :inputs] = grid
    for stream, span in old.table.channels_of.items():
        start = new.table.channels_of[stream].start
        for name, tensor in source["channel"].items():
            target["channel"][name][start : start + span.stop - span.start] = tensor[span]
    for part, span in old.private_of.items():
        start = new.private_of[part].start
        for name, tensor in source["private"].items():
            target["private"][name][start : start + span.stop - span.start] = tensor[span]
