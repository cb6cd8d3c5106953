"""Piggyback (Mallya, Davis & Lazebnik, ECCV 2018): masks over one network that never changes.

Task 1 trains the backbone as Scratch does, with all weights. Every further task learns which of them to use:

    minimise over m, b   CE(f(w_1 * 1[m > 0.005], b; x_t), y_t),   d bit / d m := 1,   m_0 = 0.01

Learned for a task: m, biases, BatchNorm, head. Frozen: every weight of the backbone. Stored for a task: one
bit a weight, and its private vectors. (The official backbone is trained on ImageNet and its BatchNorm and
biases stay fixed; here they are a task's own, as in every method beside it.)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from lsg.data import Task
from lsg.methods.elementwise import SingleWeights, WeightTraining
from lsg.methods.method import Lesson
from lsg.schedules import MaskRates
from lsg.settings import require
from lsg.training import Stage, Trainer


@dataclass(frozen=True)
class PiggybackSettings:
    """Coefficients of Piggyback (source: its `run_piggyback_training.sh`).

    mask_lr, mask_lr_drops, mask_lr_factors: Adam's rate for masks (1e-4), and its factor from each of these
        shares of the epochs on (a tenth from epoch 15 of 30 on).
    """

    mask_lr: float = 1e-4
    mask_lr_drops: tuple[float, ...] = (0.5,)
    mask_lr_factors: tuple[float, ...] = (0.1,)

    def __post_init__(self) -> None:
        require(self.mask_lr > 0, "mask_lr", self.mask_lr, "over 0")
        self.mask_rates()

    def mask_rates(self) -> MaskRates:
        return MaskRates(self.mask_lr, self.mask_lr_drops, self.mask_lr_factors)


class Piggyback(SingleWeights):
    """A backbone from task 1, and masks."""

    Settings: ClassVar[type] = PiggybackSettings
    settings: PiggybackSettings

    def learn(self, task: Task, goal: float | None, trainer: Trainer) -> Lesson:
        workspace = self.workspace(self.start(task, self.architecture.streams), trainer, masked=True)
        training = WeightTraining(workspace, trainer.settings.weight_decay)
        trainer.run(Stage(1, self.settings.mask_rates()), training, task)
        solution = self.solution(workspace)
        self.bank.add(task.number, solution)
        return Lesson("trained", stage_accuracy={1: self.judged(solution, task, trainer)})
