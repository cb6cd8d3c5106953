"""What a method is: it learns tasks one after the other and gives each task's network back.

A new method is one file with a class of this shape, one line in `lsg.methods` and its section in params.yaml
(docs/extending.md).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from torch import Tensor, nn

from lsg.data import Task
from lsg.evaluation import accuracy
from lsg.networks.architecture import Architecture, Widths
from lsg.protocol import DECISION_SPLIT, Protocol
from lsg.training import Trainer

Growing = Literal["target", "default"]
WEIGHTS = "weights"
"""What a decision without an accuracy is taken on, where others name the split."""


@dataclass
class Lesson:
    """What learning one task came to: every decision with its number, and the tables' raw material."""

    reason: str
    decisions: list[dict[str, Any]] = field(default_factory=list)
    stage_accuracy: dict[int, float] = field(default_factory=dict)
    """Accuracy on the decision split after each stage, by its number; of a stage that nobody judged, none."""
    stage_gates: dict[int, tuple[int, int]] = field(default_factory=dict)
    """Candidates kept and candidates dropped by each stage that grew."""
    growth: dict[str, Any] = field(default_factory=dict)


class Method(ABC):
    """One continual learner over one architecture.

    Args:
        architecture: the family of networks.
        settings: an instance of the method's `Settings`.
        protocol: which split decides.
        seed: of initial weights; training draws come from the trainer's seed.
    """

    Settings: ClassVar[type]
    extends: ClassVar[str | None] = None
    """A method whose coefficients this one starts from: its own stand on top of that one's in params.yaml."""
    grows: ClassVar[Growing | None] = None
    """What makes the network grow (the paper's table 1): a missed target, or every task by default."""
    sized_by: ClassVar[str | None] = None
    """A method whose size after each task is the most that this one may have: its settings' `sizes`."""
    looks_ahead: ClassVar[bool] = False
    """Whether `remaining` decides anything. Then a run that has begun cannot go on with more tasks."""
    steps_by_torch: ClassVar[bool] = False
    """Whether an optimizer of torch takes its steps (`lsg.plain`), not one of `lsg.optimizers`."""
    forgets: bool = False
    """Whether learning a task may change earlier tasks' networks. Then only the last task's network can be
    certified; each file holds the whole state after its task, and restoring it replaces the state before."""
    remaining: int | None = None
    """How many tasks follow the one that is learned next; None where nobody knows."""

    def __init__(self, architecture: Architecture, settings: Any, protocol: Protocol, seed: int) -> None:
        self.architecture, self.settings = architecture, settings
        self.protocol, self.seed = protocol, seed

    @classmethod
    def growing(cls, settings: Mapping[str, Any]) -> Growing | None:
        """`grows` with these settings, as a run's files have them."""
        return cls.grows

    @classmethod
    def takes_start(cls, settings: Any) -> bool:
        """Whether a run may start from another one's tasks, and its files hold all that its own need."""
        return False

    @classmethod
    def most_epochs(cls, settings: Any, epochs: int, first: bool) -> int:
        """Epochs that a task can take at most, from the `epochs` of one stage; what plans are made of."""
        return epochs

    @classmethod
    def most_widths(cls, settings: Any, architecture: Architecture) -> Widths:
        """Channels of the widest network that a task can train; what plans are made of."""
        return architecture.streams

    def judge(self, network: nn.Module, task: Task, trainer: Trainer) -> float:
        """The network's accuracy on the split that decides."""
        return accuracy(network, task, task.split(DECISION_SPLIT[self.protocol]), trainer.device)

    def decide(
        self,
        lesson: Lesson,
        question: str,
        answer: bool | float,
        value: float | None,
        goal: float | None,
        reason: str,
    ) -> None:
        """Note a decision, the accuracy it was taken on and the one it was compared with."""
        split = WEIGHTS if value is None else DECISION_SPLIT[self.protocol]
        told: dict[str, Any] = {"question": question, "answer": answer, "value": value, "goal": goal}
        lesson.decisions.append(told | {"split": split, "reason": reason})

    @abstractmethod
    def learn(self, task: Task, goal: float | None, trainer: Trainer) -> Lesson:
        """Learn the next task; `goal` is the target accuracy on the decision split, if there is one."""

    @abstractmethod
    def network(self, task: int) -> nn.Module:
        """The task's network, plain and in evaluation mode: the one door to what a task computes.

        Raises KeyError for a task that has not been learned.
        """

    @abstractmethod
    def tensors(self, task: int) -> dict[str, Tensor]:
        """What the task's file has to hold."""

    @abstractmethod
    def restore(self, task: int, tensors: Mapping[str, Tensor]) -> None:
        """Take up a task from its file, after the tasks before it.

        Raises KeyError, ValueError or RuntimeError for tensors that are not a task's of this run.
        """

    @abstractmethod
    def weights(self) -> tuple[int, int]:
        """Shared weights allocated so far, and those of them that some task uses."""
