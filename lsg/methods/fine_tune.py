"""Fine-tune: every task trains a dense 1x network of its own, started from an earlier task's network.

`first` (the CL-LSG paper's text) starts each task from task 1's network; `random_previous` (CPG's
`finetune_cifar100.sh`, whose numbers the paper prints) from that of a uniformly random earlier task of the
same run. Biases and BatchNorm come along, the head is new; task 1 is trained as Scratch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

from torch import Tensor

from lsg import seeds
from lsg.data import Task
from lsg.methods.dense import Dense
from lsg.networks.architecture import HEAD
from lsg.settings import require, require_one_of
from lsg.training import Stage
from lsg.workspace import Grids

Start = Literal["first", "random_previous"]


@dataclass(frozen=True)
class FineTuneSettings:
    """start: which earlier network a task begins with. lr: of tasks after the first (CPG: 0.005)."""

    start: Start = "first"
    lr: float = 0.005

    def __post_init__(self) -> None:
        require_one_of("start", self.start, get_args(Start))
        require(self.lr > 0, "lr", self.lr, "over 0")


class FineTune(Dense):
    """A network for every task, started from an earlier one's."""

    Settings: ClassVar[type] = FineTuneSettings
    settings: FineTuneSettings

    def parent(self, task: int) -> int | None:
        """The earlier task whose network `task` starts from; None for the first task."""
        earlier = sorted(number for number in self.states if number < task)
        if not earlier:
            return None
        if self.settings.start == "first":
            return earlier[0]
        return earlier[seeds.derived("parent", self.seed, task) % len(earlier)]

    def start(self, task: Task) -> tuple[Grids, dict[str, Tensor]]:
        weights, private = super().start(task)
        parent = self.parent(task.number)
        if parent is None:
            return weights, private
        state = self.states[parent]
        shared = {layer.name: state[f"{layer.name}.weight"] for layer in self.architecture.layers}
        return weights | shared, {name: state[name] for name in state if not name.startswith(HEAD)} | private

    def stage(self) -> Stage:
        return Stage(number=1, lr=self.settings.lr if self.states else None)
