"""Progressive Neural Networks (Rusu et al. 2016, arXiv 1606.04671): a column for every task.

    h_l^t = relu(W_l^t h_(l-1)^t + U_l^t relu(V_l^t [a_1 h_(l-1)^1, ..., a_(t-1) h_(l-1)^(t-1)] + b_l^t))

Learned for task t: its column (W, biases, BatchNorm, head) and its adapters (U, V, b, the scalars a).
Frozen: all columns before it; in training too their BatchNorm uses its own statistics. Stored for the task:
the same tensors that were learned. No target is used: every task adds a column.

The first column is the dense 1x network. Later columns are thinner, all by one ratio, chosen so that
`tasks` columns end at `final_size` (the paper's Table 5: +0.08x a task to 1.7x). The equation is that of
HAT's, MNTDP's and Avalanche's code, with HAT's 1x1 convolutions and without an adapter into the head, which
HAT declares but does not use for the task at hand; other than in HAT's code, an earlier column runs with its
own lateral connections, as it was trained.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor, nn

from lsg import seeds
from lsg.cost import macs_of_frozen
from lsg.data import Task
from lsg.initial import initial_weights
from lsg.methods.method import Growing, Lesson, Method
from lsg.methods.pnn_columns import Adapter, Column, Columns, column_weights, forward_macs
from lsg.networks.architecture import HEAD, Architecture, Widths
from lsg.plain import PlainTraining, torch_optimizer
from lsg.protocol import Protocol
from lsg.settings import require
from lsg.train_settings import TrainSettings
from lsg.training import Stage, Trainer
from lsg.widths import cap_widths, widths_at

COUNTER = "num_batches_tracked"
HEAD_WEIGHT = f"network.{HEAD}.weight"
BISECTIONS = 30
MOST_TASKS = 1000
"""Finding the width of so many columns takes seconds."""


@dataclass(frozen=True)
class PnnSettings:
    """Coefficients of PNN.

    final_size: weights after `tasks` tasks, adapters included, over the 1x network's (Table 5: 1.7 on Split).
        As near to it as columns of one channel a stream or more come; no column is wider than the first.
    tasks: how many tasks that is; columns of further tasks have the same width.
    scale_init: deviation of the scalars a at the start, around 0 (HAT, Avalanche: 1; MNTDP: a = 1).
    """

    final_size: float = 1.7
    tasks: int = 10
    scale_init: float = 1.0

    def __post_init__(self) -> None:
        require(self.final_size >= 1, "final_size", self.final_size, "1 or more")
        allowed = f"2, as the first has a whole network, to {MOST_TASKS}"
        require(2 <= self.tasks <= MOST_TASKS, "tasks", self.tasks, allowed)
        require(self.scale_init > 0, "scale_init", self.scale_init, "over 0")


class Pnn(Method):
    """Columns, each trained once and then frozen."""

    Settings: ClassVar[type] = PnnSettings
    grows: ClassVar[Growing | None] = "default"
    steps_by_torch: ClassVar[bool] = True
    settings: PnnSettings

    def __init__(
        self, architecture: Architecture, settings: PnnSettings, protocol: Protocol, seed: int
    ) -> None:
        super().__init__(architecture, settings, protocol, seed)
        self.states: dict[int, dict[str, Tensor]] = {}
        """The tensors of each task's column and adapters, in the order of learning."""
        most = math.floor(100 * size_of(architecture, 1.0, settings.tasks)) / 100
        allowed = f"1 to {most:g}, where all {settings.tasks} columns are as wide as the first"
        require(settings.final_size <= most, "final_size", settings.final_size, allowed)
        self.thin = widths_at(architecture, thin_ratio(architecture, settings.final_size, settings.tasks))

    @classmethod
    def most_widths(cls, settings: PnnSettings, architecture: Architecture) -> Widths:
        """Of one network of about as many weights as all columns."""
        return cap_widths(architecture, settings.final_size)

    def widths(self, columns: int) -> list[Widths]:
        """Channels of each of the first columns."""
        return [self.architecture.streams if place == 0 else self.thin for place in range(columns)]

    def learn(self, task: Task, goal: float | None, trainer: Trainer) -> Lesson:
        network = self._with_new_column(task)
        macs = self._macs(network)
        network.to(trainer.device)
        optimizer = column_optimizer(network.last, trainer.settings)
        trainer.run(Stage(number=1), PlainTraining(network, optimizer, macs), task)
        self.states[task.number] = column_state(network.last)
        return Lesson("trained", stage_accuracy={1: self.judge(self.network(task.number), task, trainer)})

    def _with_new_column(self, task: Task) -> Columns:
        """The columns so far and a fresh one."""
        network = self._columns(list(self.states), (len(task.classes),))
        widths = self.widths(len(network.columns))[-1]
        own = replace(self.architecture, streams=widths)
        initialise(network.last, own, self.settings.scale_init, self.seed, task.number)
        return network

    def _columns(self, tasks: Sequence[int], further: tuple[int, ...] = ()) -> Columns:
        """The columns of these tasks as learned, and `further` ones of so many classes."""
        classes = [len(self.states[task][HEAD_WEIGHT]) for task in tasks]
        network = Columns(self.architecture, self.widths(len(tasks) + len(further)), (*classes, *further))
        for task, column in zip(tasks, network.columns, strict=False):
            counters = {name: t for name, t in column.state_dict().items() if name.endswith(COUNTER)}
            column.load_state_dict(counters | self.states[task])
        return network

    def _macs(self, network: Columns) -> int:
        """MACs of an image; only the new column is trained."""
        shape = self.architecture.image_shape
        frozen = forward_macs(self.network(list(self.states)[-1]), shape) if self.states else 0
        return macs_of_frozen(forward_macs(network, shape), frozen)

    def network(self, task: int) -> nn.Module:
        if task not in self.states:
            raise KeyError(task)
        tasks = list(self.states)
        return self._columns(tasks[: tasks.index(task) + 1]).eval()

    def tensors(self, task: int) -> dict[str, Tensor]:
        return self.states[task]

    def restore(self, task: int, tensors: Mapping[str, Tensor]) -> None:
        self.states[task] = dict(tensors)
        self.network(task)  # raises where they are not a task's

    def weights(self) -> tuple[int, int]:
        total = column_weights(self.architecture, self.widths(len(self.states)))
        return total, total


def thin_ratio(architecture: Architecture, final_size: float, tasks: int) -> float:
    """The ratio of widths with which a full and `tasks - 1` thinner columns end closest to the final size."""
    low, high = 0.0, 1.0
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        low, high = (middle, high) if size_of(architecture, middle, tasks) <= final_size else (low, middle)
    return min(low, high, key=lambda ratio: abs(size_of(architecture, ratio, tasks) - final_size))


def size_of(architecture: Architecture, ratio: float, tasks: int) -> float:
    """Weights of a full column and `tasks - 1` whose widths are `ratio` of its, over the full one's."""
    full = architecture.streams
    columns = [full] + [widths_at(architecture, ratio)] * (tasks - 1)
    return column_weights(architecture, columns) / architecture.weights(full)


@torch.no_grad()
def initialise(column: Column, architecture: Architecture, scale: float, seed: int, task: int) -> None:
    """Fresh weights of a column and its adapters; `architecture` has the column's own widths at 1x.

    So Kaiming's fan-in is the column's own: it is a network by itself, not a part of a wider one.
    """
    head = column.network.get_submodule(HEAD)
    assert isinstance(head.weight, Tensor)
    grids = initial_weights(architecture, architecture.streams, len(head.weight), seed, task)
    for name, parameter in column.network.named_parameters():
        layer, _, part = name.rpartition(".")
        if layer in grids and part == "weight":
            parameter.copy_(grids[layer].view_as(parameter))
        elif layer in grids:
            parameter.zero_()
    for place, adapter in enumerate(column.adapters.values()):
        assert isinstance(adapter, Adapter)
        adapter.initialise(scale, seeds.generator("cpu", "adapter", seed, task, place))


def column_state(column: nn.Module) -> dict[str, Tensor]:
    """Copies of what a column computes with."""
    state = column.state_dict().items()
    return {name: tensor.cpu().clone() for name, tensor in state if not name.endswith(COUNTER)}


def column_optimizer(column: nn.Module, train: TrainSettings) -> torch.optim.Optimizer:
    """The benchmark's optimizer; weight decay on the layers' and adapters' weights only."""
    decayed: list[nn.Parameter] = []
    free: list[nn.Parameter] = []
    for name, parameter in column.named_parameters():
        is_weight = parameter.dim() > 1 and name != HEAD_WEIGHT
        (decayed if is_weight else free).append(parameter)
    return torch_optimizer(decayed, free, train)
