"""Fine-tune: every task trains a dense 1x network of its own, started from an earlier task's network.

`first` (the CL-LSG paper's text) starts each task from task 1's network; `random_previous` (CPG's
`finetune_cifar100.sh`, whose numbers the paper prints) from that of a uniformly random earlier task of the
same run. Biases and BatchNorm come along, the head is new; task 1 is trained as Scratch.

`sequential` is the classical fine-tuning of continual learning: one network for all tasks, whose body goes
on training, and a head a task. It forgets; as a method of its own it is called `sequential`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

from torch import Tensor

from lsg import seeds
from lsg.data import Task
from lsg.methods.dense import Dense
from lsg.methods.method import Lesson
from lsg.networks.architecture import HEAD, Architecture, Grids, without_head
from lsg.protocol import Protocol
from lsg.settings import require, require_one_of, require_own
from lsg.training import Stage, Trainer

Start = Literal["first", "random_previous", "sequential"]


@dataclass(frozen=True)
class FineTuneSettings:
    """start: which earlier network a task begins with. lr: of tasks after the first (CPG: 0.005)."""

    start: Start = "first"
    lr: float = 0.005

    def __post_init__(self) -> None:
        require_one_of("start", self.start, get_args(Start))
        require(self.lr > 0, "lr", self.lr, "over 0")


@dataclass(frozen=True)
class SequentialSettings(FineTuneSettings):
    """Fine-tune's, with one network for all tasks."""

    start: Start = "sequential"
    fixed: ClassVar[tuple[str, ...]] = ("start",)

    def __post_init__(self) -> None:
        super().__post_init__()
        require_own(self)


class FineTune(Dense):
    """A network for every task, started from an earlier one's, or one network for all tasks."""

    Settings: ClassVar[type] = FineTuneSettings
    settings: FineTuneSettings

    def __init__(
        self, architecture: Architecture, settings: FineTuneSettings, protocol: Protocol, seed: int
    ) -> None:
        super().__init__(architecture, settings, protocol, seed)
        self.forgets = settings.start == "sequential"

    @classmethod
    def takes_start(cls, settings: FineTuneSettings) -> bool:
        return settings.start != "sequential"

    def parent(self, task: int) -> int | None:
        """The earlier task whose network `task` starts from; None for the first task."""
        earlier = sorted(number for number in self.states if number < task)
        if not earlier:
            return None
        if self.settings.start != "random_previous":
            return earlier[0 if self.settings.start == "first" else -1]
        return earlier[seeds.derived("parent", self.seed, task) % len(earlier)]

    def start(self, task: Task) -> tuple[Grids, dict[str, Tensor]]:
        weights, private = super().start(task)
        parent = self.parent(task.number)
        if parent is None:
            return weights, private
        state = self.states[parent]
        shared = {layer.name: state[f"{layer.name}.weight"] for layer in self.architecture.layers}
        return weights | shared, without_head(state) | private

    def stage(self) -> Stage:
        return Stage(number=1, lr=self.settings.lr if self.states else None)

    def learn(self, task: Task, goal: float | None, trainer: Trainer) -> Lesson:
        lesson = super().learn(task, goal, trainer)
        self._share_body(task.number)
        return lesson

    def _share_body(self, newest: int) -> None:
        """In one network every task has the newest weights, biases and BatchNorm; heads stay."""
        if self.forgets:
            body = without_head(self.states[newest])
            self.states = {task: state | body for task, state in self.states.items()}

    def tensors(self, task: int) -> dict[str, Tensor]:
        heads = {
            f"{other}.{name}": tensor
            for other, state in self.states.items()
            for name, tensor in state.items()
            if self.forgets and other != task and name.startswith(HEAD)
        }
        return self.states[task] | heads

    def restore(self, task: int, tensors: Mapping[str, Tensor]) -> None:
        self.states[task] = {name: t for name, t in tensors.items() if not name[0].isdigit()}
        for name in tensors.keys() - self.states[task].keys():
            other, _, part = name.partition(".")
            self.states.setdefault(int(other), {})[part] = tensors[name]
        self._share_body(task)
        self.network(task)  # raises where they are not a task's

    def weights(self) -> tuple[int, int]:
        networks = 1 if self.forgets else len(self.states)
        total = networks * self.architecture.weights(self.architecture.streams)
        return total, total


class Sequential(FineTune):
    """Fine-tuning of one network, beside the others."""

    Settings: ClassVar[type] = SequentialSettings
    extends: ClassVar[str | None] = "fine-tune"
