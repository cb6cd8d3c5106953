"""PackNet (Mallya & Lazebnik, CVPR 2018): train what is free, prune, retrain, freeze, again.

Task t trains every weight that no task owns yet (W_t), on top of all weights of the tasks before it, which
are frozen and used without a mask. Then, in each layer, the `ratio` of W_t that is smallest in magnitude is
freed for later tasks at once, and the rest is retrained for a few epochs:

    minimise over W_t, b   CE(f(w_1..t-1, W_t, b; x_t), y_t),   then over W_t * 1[|W_t| > cut]

Frozen: weights of earlier tasks. Stored for a task: its weights, one bit a weight, its private vectors. The
network never grows: task t owns (1 - ratio) ratio^(t-1) of it. Written after CPG's PackNet on CIFAR-100
(`PackNet_cifar100.sh`), where biases and BatchNorm are a task's own; in the official code they stay those of
the first task.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from lsg.bank import Solution
from lsg.data import Task
from lsg.methods.elementwise import SingleWeights, WeightTraining
from lsg.methods.method import Lesson
from lsg.schedules import epochs_of, is_rising
from lsg.settings import require
from lsg.training import Stage, Trainer

TRAIN, RETRAIN = 1, 2


@dataclass(frozen=True)
class PackNetSettings:
    """Coefficients of PackNet (source: CPG's `PackNet_cifar100.sh` unless said otherwise).

    ratio: share of a task's weights that pruning frees (0.6; official PackNet: 0.5 to 0.75).
    retrain_epochs: of the pruned network, as a share of `train.epochs` (30 of 100).
    retrain_lr, retrain_lr_drops: its rate (1e-3), which drops at these shares of its epochs (25 of 30).
    train_accuracy: training accuracy below which pruning is undone (0.97 in CPG's script; 0: no such gate).
    meet_goal: undo pruning too where it misses the task's goal on the split that decides (ours).
    """

    ratio: float = 0.6
    retrain_epochs: float = 0.3
    retrain_lr: float = 1e-3
    retrain_lr_drops: tuple[float, ...] = (0.83,)
    train_accuracy: float = 0.0
    meet_goal: bool = False

    def __post_init__(self) -> None:
        require(0 < self.ratio < 1, "ratio", self.ratio, "between 0 and 1")
        require(self.retrain_epochs > 0, "retrain_epochs", self.retrain_epochs, "over 0")
        require(self.retrain_lr > 0, "retrain_lr", self.retrain_lr, "over 0")
        rising = is_rising(self.retrain_lr_drops)
        require(rising, "retrain_lr_drops", self.retrain_lr_drops, "rising shares between 0 and 1")
        require(0 <= self.train_accuracy <= 1, "train_accuracy", self.train_accuracy, "from 0 to 1")


class PackNet(SingleWeights):
    """One dense 1x network, packed task by task."""

    Settings: ClassVar[type] = PackNetSettings
    settings: PackNetSettings

    @classmethod
    def most_epochs(cls, settings: PackNetSettings, epochs: int, first: bool) -> int:
        return epochs + epochs_of(settings.retrain_epochs, epochs)

    def learn(self, task: Task, goal: float | None, trainer: Trainer) -> Lesson:
        lesson = Lesson("trained")
        trained = self._train(task, trainer, lesson)
        solution = self._pack(trained, task, goal, trainer, lesson) if self.owned(trained) else trained
        self.bank.add(task.number, solution)
        lesson.growth = {"released_share": self.bank.released_share()}
        return lesson

    def _train(self, task: Task, trainer: Trainer, lesson: Lesson) -> Solution:
        """All weights that nobody owns, beside the frozen ones."""
        start = self.start(task, self.architecture.streams)
        training = WeightTraining(self.workspace(start, trainer, False), trainer.settings.weight_decay)
        trainer.run(Stage(TRAIN), training, task)
        solution = self.solution(training.workspace)
        lesson.stage_accuracy[TRAIN] = self.judged(solution, task, trainer)
        return solution

    def _pack(
        self, trained: Solution, task: Task, goal: float | None, trainer: Trainer, lesson: Lesson
    ) -> Solution:
        """Prune at once and retrain; the result, or the network before where a gate says so."""
        settings, epochs = self.settings, epochs_of(self.settings.retrain_epochs, trainer.settings.epochs)
        training = WeightTraining(self.workspace(trained, trainer, False), trainer.settings.weight_decay)
        training.prune(self.earlier(trained.widths), settings.ratio)
        stage = Stage(RETRAIN, lr=settings.retrain_lr, lr_drops=settings.retrain_lr_drops, epochs=epochs)
        trainer.run(stage, training, task)
        pruned = self.solution(training.workspace)
        reached = lesson.stage_accuracy[RETRAIN] = self.judged(pruned, task, trainer)
        reason = self._gate(trainer.logs[-1].train_accuracy, reached, goal)
        self.decide(lesson, "prune", reason == "pruned", reached, goal, reason)
        lesson.reason = reason
        return pruned if reason == "pruned" else trained

    def _gate(self, fit: float, reached: float, goal: float | None) -> str:
        """Which gate undoes pruning, if one does."""
        if fit < self.settings.train_accuracy:
            return "below_train_gate"
        if self.settings.meet_goal and goal is not None and reached < goal:
            return "below_target"
        return "pruned"
