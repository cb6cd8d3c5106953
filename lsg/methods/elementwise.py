"""What CPG, PackNet and Piggyback share: tasks that own and pick single weights of one network.

Every weight is a kernel of its own (`Architecture.elementwise`). While task t is learned, a shared weight is

    earlier   owned by a task before t: frozen; t may put a mask on it
    own       nobody's before t: trainable, and t's for good if it stays
    free      nobody's and pruned: 0, out of the forward pass from the moment it is pruned

A mask on earlier weights is Piggyback's (Mallya et al., ECCV 2018), which CPG calls piggymask: one real m a
weight, bit = 1[m > 0.005], and d bit / d m := 1, the straight-through identity, without noise. A stage
starts from a `Solution` and ends in one, with fresh optimizer state, so nothing else passes between stages.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from lsg.bank import FREE, Solution
from lsg.data import Task
from lsg.initial import initial_weights
from lsg.masked import MaskedTraining
from lsg.masks import INITIAL_LOGIT, GateSchedule, kernel_bits
from lsg.methods.banked import Banked
from lsg.networks.architecture import HEAD, Architecture, Widths, widened
from lsg.optimizers import Adam
from lsg.parts import Part
from lsg.protocol import Protocol
from lsg.seeds import Uniform
from lsg.settling import reused_weights, settled
from lsg.training import Trainer
from lsg.update import Masking, Update
from lsg.workspace import Workspace

OFF_LOGIT = 0.0
"""Logit of a weight that is not picked: below the threshold by as much as `INITIAL_LOGIT` is above it."""
UNGATED = Masking("none", GateSchedule(scale=1.0, final_beta=1.0, epochs=1), penalty=0.0)


class PiggyUpdate(Update):
    """The update with Piggyback's masks: bits at the threshold, slope 1. No channel has a gate here."""

    def divide(self) -> None:
        super().divide()
        for part in self.parts:
            part.slope = None
            self._settle(part)

    def _settle(self, part: Part) -> None:
        """Take the bits from the logits; between two steps of the logits they stay."""
        if part.masked:
            kernel_bits(part.logit.value, out=part.bits)
            part.take()

    def _step_logits(self, part: Part, gradient: Tensor, rate: float) -> None:
        super()._step_logits(part, gradient, rate)
        self._settle(part)

    @torch.no_grad()
    def _draw(self, part: Part, draws: Tensor | None) -> None:
        if self.masking is not None:
            part.write()


class WeightTraining(MaskedTraining):
    """Trains a workspace of single weights; nothing grows while it runs."""

    def __init__(self, workspace: Workspace, weight_decay: float) -> None:
        super().__init__(workspace, None if workspace.dense else UNGATED, weight_decay)

    def _take(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self.update = PiggyUpdate(workspace, self.masking, self.weight_decay)

    def prune(self, earlier: Mapping[str, Tensor], sparsity: float) -> None:
        """Free the smallest weights, so that this share of each layer's weights that are not earlier is free.

        Weights of equal magnitude at the cut go together.
        """
        table, workspace = self.workspace.table, self.workspace
        for name, kept in earlier.items():
            trainable = table.kernel_grid(workspace.trainable, name)
            magnitude = table.grid(workspace.weight.value, name).squeeze(2).abs()
            ranked = magnitude[~kept.to(magnitude.device)]
            count = round(sparsity * len(ranked))
            if count:
                removed = trainable & (magnitude <= ranked.kthvalue(count).values)
                trainable[removed] = False
                for weights in (workspace.weight.value, workspace.effective):
                    table.grid(weights, name)[removed] = 0.0
        self.update.divide()


def cubic_sparsity(progress: float, first: float, target: float) -> float:
    """Sparsity at this share (0 to 1) of the way from `first` to `target` (Zhu & Gupta 2017, as CPG)."""
    return target + (first - target) * (1 - progress) ** 3


@dataclass(frozen=True)
class Ramp:
    """Sparsity rising from `first` to `target` within so many steps, with a cut every `frequency` steps."""

    first: float
    target: float
    steps: int
    frequency: int

    def at(self, step: int) -> float | None:
        """The sparsity to cut to behind this step (from 1); None where nothing is cut.

        The last step cuts too, so that the target is reached whatever the frequency.
        """
        if step > self.steps or (step % self.frequency and step != self.steps):
            return None
        return cubic_sparsity(step / self.steps, self.first, self.target)


class GradualPruning(WeightTraining):
    """Trains while sparsity rises, and masks rest.

    Args:
        earlier: the weights that may not be pruned, for each layer `[outputs, inputs]`.
        ramp: what is cut when.
    """

    def __init__(
        self,
        workspace: Workspace,
        weight_decay: float,
        earlier: Mapping[str, Tensor],
        ramp: Ramp,
    ) -> None:
        super().__init__(workspace, weight_decay)
        self.earlier, self.ramp, self.steps = earlier, ramp, 0

    @property
    def layout(self) -> None:
        """Steps are counted here, and some of them prune."""

    def step(self, rate: float, mask_rate: float, uniform: Uniform) -> None:
        super().step(rate, mask_rate, uniform)
        self.steps += 1
        sparsity = self.ramp.at(self.steps)
        if sparsity is not None:
            self.prune(self.earlier, sparsity)

    def tensors(self) -> dict[str, Tensor]:
        """The state for a checkpoint, without that of the masks, which rest: five numbers a weight."""
        return {name: value for name, value in super().tensors().items() if not name.startswith("logit.")}

    def position(self) -> dict[str, Any]:
        return super().position() | {"steps": self.steps}

    def load(self, tensors: Mapping[str, Tensor], position: Mapping[str, Any]) -> None:
        super().load(self.workspace.tensors() | dict(tensors), position)
        self.steps = position["steps"]


class SingleWeights(Banked):
    """A method whose tasks own single weights of the bank."""

    def __init__(self, architecture: Architecture, settings: Any, protocol: Protocol, seed: int) -> None:
        super().__init__(architecture.elementwise(), settings, protocol, seed)

    def earlier(self, widths: Widths) -> dict[str, Tensor]:
        """Which weights the tasks so far own, for each layer `[outputs, inputs]`, at these widths."""
        owned = {}
        for layer in self.architecture.layers:
            shape = self.architecture.shape(layer, widths)[:2]
            owned[layer.name] = widened(self.bank.owners[layer.name], shape) != FREE
        return owned

    def start(self, task: Task, widths: Widths) -> Solution:
        """Where a task begins: all earlier weights picked, all others taken.

        Freed weights start at 0; new ones, and all of a unit of which nothing is owned, at their draw. Biases
        and BatchNorm are the previous task's, the head is new.
        """
        classes = len(task.classes)
        weights = initial_weights(self.architecture, widths, classes, self.seed, task.number)
        if self.bank.tasks:
            shapes = {name: owners.shape for name, owners in self.bank.owners.items()}
            inner = {name: weights[name][:rows, :columns] for name, (rows, columns) in shapes.items()}
            reused = reused_weights(self.bank, inner | {HEAD: weights[HEAD]})
            for name, (rows, columns) in shapes.items():
                weights[name][:rows, :columns] = reused[name]
        used = {
            name: torch.ones(grid.shape[:2], dtype=torch.bool)
            for name, grid in weights.items()
            if name != HEAD
        }
        return Solution(dict(widths), classes, weights, used, self.previous_private())

    def workspace(self, solution: Solution, trainer: Trainer, masked: bool) -> Workspace:
        """The solution in training: earlier weights frozen, those beside them that it uses trainable.

        `masked`: earlier weights have masks, which start at the solution's bits; else they stay as they are.
        """
        masked = masked and bool(self.bank.tasks)
        optimizers = (trainer.settings.weight_optimizer(), Adam())
        workspace = Workspace(
            self.architecture,
            solution.widths,
            solution.classes,
            optimizers,
            solution.weights,
            solution.private,
            trainer.device,
            dense=not masked,
        )
        grid = workspace.table.kernel_grid
        for name, earlier in self.earlier(solution.widths).items():
            used = solution.used[name]
            grid(workspace.trainable, name).copy_(used & ~earlier)
            if masked:
                grid(workspace.masked, name).copy_(earlier)
                grid(workspace.logit.value, name).copy_(torch.where(used, INITIAL_LOGIT, OFF_LOGIT))
        return workspace

    def solution(self, workspace: Workspace) -> Solution:
        """The workspace's network: picked earlier weights and the task's own; what is free is not used."""
        solution = settled(workspace)
        own = {name: workspace.table.kernel_grid(workspace.trainable, name).cpu() for name in solution.used}
        earlier = self.earlier(solution.widths)
        used = {name: bits & (earlier[name] | own[name]) for name, bits in solution.used.items()}
        return replace(solution, used=used)

    def owned(self, solution: Solution) -> int:
        """How many weights the solution would add to the bank as its own."""
        earlier = self.earlier(solution.widths)
        return sum(int((used & ~earlier[name]).sum()) for name, used in solution.used.items())
