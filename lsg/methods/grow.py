"""Grow: learned growth of whole channels for a sequence of tasks (after Yuan, Savarese & Maire, ICLR 2021).

Candidate channels have gates m^g and nothing else is masked: a task uses all earlier kernels, frozen, and
owns every kernel that it keeps. It is CL-LSG's growth without m^s, m^a and released weights.

    minimise  CE(f(w * m^g; x_t), y_t) + lambda * sum sigma(beta kappa s)                      (equation 1)

No code of the original is public, and it learns single tasks; docs/methods.md says what we made of it.
Learned for a task: m^g, new kernels, biases, BatchNorm, head. Stored: the kernels it added, private vectors.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args

from lsg.bank import Solution
from lsg.data import Task
from lsg.methods.cl_lsg import PARTS, REUSE, ClLsg, ClLsgSettings
from lsg.methods.method import Growing, Lesson
from lsg.networks.architecture import Architecture, Widths
from lsg.settings import require, require_one_of, require_own
from lsg.settling import settled
from lsg.training import Trainer
from lsg.widths import cap_widths

When = Literal["by_default", "target"]


@dataclass(frozen=True)
class GrowSettings(ClLsgSettings):
    """CL-LSG's coefficients, with its three parts off.

    when: `by_default` grows at every task until the cap (the baseline); `target` follows CL-LSG's rule.
    sizes: most weights after each task, over the 1x network's, to compare at another method's sizes; empty
        for the cap alone.
    """

    selective: bool = False
    attentive: bool = False
    retrain: bool = False
    when: When = "by_default"
    sizes: tuple[float, ...] = ()
    fixed: ClassVar[tuple[str, ...]] = PARTS

    def __post_init__(self) -> None:
        super().__post_init__()
        require_own(self)
        require_one_of("when", self.when, get_args(When))
        rising = all(size > 0 for size in self.sizes) and list(self.sizes) == sorted(self.sizes)
        require(rising, "sizes", self.sizes, "sizes over 0 that do not fall from task to task")


class Grow(ClLsg):
    """Growth alone, at every task or where the target asks for it."""

    Settings: ClassVar[type] = GrowSettings
    extends: ClassVar[str | None] = "cl-lsg"
    grows: ClassVar[Growing | None] = "default"
    settings: GrowSettings

    @classmethod
    def growing(cls, settings: Mapping[str, Any]) -> Growing | None:
        return "target" if settings.get("when") == "target" else cls.grows

    @classmethod
    def most_epochs(cls, settings: Any, epochs: int, first: bool) -> int:
        """Growth by default has one stage, as task 1 has."""
        return super().most_epochs(settings, epochs, first or settings.when == "by_default")

    @classmethod
    def most_widths(cls, settings: Any, architecture: Architecture) -> Widths:
        return cap_widths(architecture, min((*settings.sizes[-1:], settings.cap)))

    def learn(self, task: Task, goal: float | None, trainer: Trainer) -> Lesson:
        if self.settings.sizes:
            self.cap = self._cap_at(len(self.bank.tasks))
        return super().learn(task, goal, trainer)

    def _cap_at(self, place: int) -> float:
        """Cap of the task at this place in the order; the last size holds for all that follow."""
        size = self.settings.sizes[min(place, len(self.settings.sizes) - 1)]
        return min(size, self.settings.cap)

    def _reuse(self, task: Task, goal: float | None, trainer: Trainer) -> tuple[Solution, Lesson]:
        if self.settings.when == "target":
            return super()._reuse(task, goal, trainer)
        lesson, workspace = Lesson("grew"), self._picked(task, trainer)
        if not self._can_grow():
            lesson.reason = "no_room"
            solution = settled(self._train(REUSE, workspace, task, trainer))
            lesson.stage_accuracy[REUSE] = self.judged(solution, task, trainer)
            return solution, lesson
        solution, _ = self._grow(workspace, task, trainer, lesson)
        lesson.reason = "grew" if solution.widths != workspace.widths else "grew_zero"
        return solution, lesson


class GrowMatched(Grow):
    """Grow within CL-LSG's size after each task: the paper's comparison at equal sizes (tables 3 and 7)."""

    sized_by: ClassVar[str | None] = "cl-lsg"
