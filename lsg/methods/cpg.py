"""CPG: Compacting, Picking and Growing for Unforgetting Continual Learning (Hung et al., NeurIPS 2019).

For task t, with w_E the weights that earlier tasks own and w_F the free ones:

    pick     minimise over w_F, m   CE(f(w_E * 1[m > 0.005], w_F; x_t), y_t),   d bit / d m := 1,   m_0 = 0.01
    grow     where that misses the goal: widen (to the next multiplier of the 1x weights, widths by its root),
             and pick again from where the task began, until the goal or the cap is reached
    compact  free the smallest of w_F layer by layer, a level of sparsity s after the other, s rising in
             each as s_target + (s_init - s_target) (1 - p)^3; keep the sparsest level that meets the goal
    retrain  w_F and m once more, m reset to 0.01; keep it if the decision split likes it better

The owner of what remains of w_F is t. Learned for a task: m, its own weights, biases, BatchNorm, head.
Frozen: w_E. Stored: one bit a weight, its own weights, its private vectors. PAE, CPG's baseline without
picking, is `mask_lr` 0.

Not as in the official code (https://github.com/ivclab/CPG): a pruned weight leaves the forward pass at once,
growth ends at the cap, a missed goal there prunes to 0.9 at most (there to the last level, once 20 or more
tasks remain), and retraining has to beat the pruned network with its own mask (see the switch).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from typing import Any, ClassVar

from torch import Tensor, nn

from lsg.bank import Solution
from lsg.batches import batch_sizes
from lsg.data import Task
from lsg.methods.elementwise import GradualPruning, Ramp, SingleWeights, WeightTraining
from lsg.methods.method import Growing, Lesson
from lsg.networks.architecture import Architecture, Widths
from lsg.schedules import MaskRates, epochs_of, is_rising
from lsg.seeds import Uniform
from lsg.settings import require
from lsg.training import Stage, Trainer
from lsg.widths import ROUNDING, cap_widths
from lsg.workspace import Workspace, is_statistic

PICK, COMPACT, RETRAIN = 1, 101, 201
"""Numbers of the first attempt to pick, of the first level of compacting, and of retraining."""
MOST_ATTEMPTS = COMPACT - PICK
BEST = "best."
"""What a checkpoint calls the state behind the best epoch."""


@dataclass(frozen=True)
class CpgSettings:
    """Coefficients of CPG (source: its `CPG_cifar100_scratch_mul_1.5.sh`; shares are of picking's epochs).

    stage_epochs: epochs of picking, as a share of `train.epochs`.
    cap: most weights the network may reach, over the 1x network's (1.5; Split in the CL-LSG paper 1.3).
    grow_step: how much that multiplier rises at a time; the last step ends at the cap (0.5).
    train_accuracy: training accuracy below which a task grows and compacting ends (0.95 there, with 100
        epochs; 0: no such gate).
    mask_lr, mask_lr_drops, mask_lr_factors: Adam's rate for masks (5e-4), and its factor from each of these
        shares of the epochs on (0.2 from 50 of 100, 0 from 70); a factor of 0 counts only while some weight
        is free.
    levels: sparsities of compacting, of the weights that no earlier task owns.
    level_epochs: a level's epochs, as a share (20 of 100).
    prune_share: share of a level's steps over which its sparsity rises (4 of 20 epochs).
    prune_frequency: steps between two cuts (10); the last step of the rise cuts too.
    prune_lr: rate of the weights in compacting and retraining, constant (1e-3).
    retrain_epochs: most epochs of retraining, as a share (30 of 100); the best one is kept.
    retrain_mask_lr: Adam's rate for masks in retraining, constant (1e-4).
    official_retrain_quirk: retraining has to beat the pruned network with its mask reset, as in the official
        code, so that a worse network may replace it.
    """

    stage_epochs: float = 1.0
    cap: float = 1.5
    grow_step: float = 0.5
    train_accuracy: float = 0.0
    mask_lr: float = 5e-4
    mask_lr_drops: tuple[float, ...] = (0.5, 0.7)
    mask_lr_factors: tuple[float, ...] = (0.2, 0.0)
    levels: tuple[float, ...] = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
    level_epochs: float = 0.2
    prune_share: float = 0.2
    prune_frequency: int = 10
    prune_lr: float = 1e-3
    retrain_epochs: float = 0.3
    retrain_mask_lr: float = 1e-4
    official_retrain_quirk: bool = False

    def __post_init__(self) -> None:
        require(self.stage_epochs > 0, "stage_epochs", self.stage_epochs, "over 0")
        require(self.cap >= 1, "cap", self.cap, "1 or more")
        few = self.grow_step > 0 and (self.cap - 1) / self.grow_step < MOST_ATTEMPTS - 1
        require(few, "grow_step", self.grow_step, f"over 0, with fewer than {MOST_ATTEMPTS} steps to the cap")
        require(0 <= self.train_accuracy <= 1, "train_accuracy", self.train_accuracy, "from 0 to 1")
        self.mask_rates()
        levels = is_rising(self.levels) and len(self.levels) < RETRAIN - COMPACT
        require(levels, "levels", self.levels, "rising sparsities between 0 and 1")
        require(self.level_epochs > 0, "level_epochs", self.level_epochs, "over 0")
        require(0 < self.prune_share <= 1, "prune_share", self.prune_share, "over 0 and at most 1")
        require(self.prune_frequency >= 1, "prune_frequency", self.prune_frequency, "1 or more")
        require(self.prune_lr > 0, "prune_lr", self.prune_lr, "over 0")
        require(self.retrain_epochs > 0, "retrain_epochs", self.retrain_epochs, "over 0")
        require(self.retrain_mask_lr >= 0, "retrain_mask_lr", self.retrain_mask_lr, "0 or more")

    def mask_rates(self) -> MaskRates:
        return MaskRates(self.mask_lr, self.mask_lr_drops, self.mask_lr_factors)

    def epochs(self, train_epochs: int, share: float = 1.0) -> int:
        """A share of picking's epochs."""
        return epochs_of(share, epochs_of(self.stage_epochs, train_epochs))


def multipliers(cap: float, step: float) -> list[float]:
    """Sizes that growth passes through: 1, 1 + step, ... and the cap."""
    steps = math.ceil((cap - 1) / step - ROUNDING)
    return [min(1 + place * step, cap) for place in range(steps + 1)]


def forced_sparsity(remaining: int | None) -> float:
    """How sparse a task at the cap that misses its goal must become, for the tasks that remain after it.

    0.9 while six or more remain (or nobody knows), 0.8 for 3 to 5, 0.7 for 2, 0.5 for 1, 0 for none.
    """
    return 0.9 if remaining is None else min(0.9, round(1 - round(1 / (remaining + 1), 1), 1))


def chosen_level(accuracies: Mapping[float, float], goal: float, forced: bool) -> float:
    """The sparsest level whose accuracy meets the goal (or the sparsest of all if forced); 0: none does."""
    return max((level for level, reached in accuracies.items() if forced or reached >= goal), default=0.0)


class Retraining(WeightTraining):
    """Remembers the epoch that the decision split likes best.

    Args:
        judge: accuracy of a network on that split.
    """

    def __init__(
        self,
        workspace: Workspace,
        weight_decay: float,
        judge: Callable[[nn.Module], float],
    ) -> None:
        super().__init__(workspace, weight_decay)
        self.judge = judge
        self.best_accuracy, self.best = -1.0, self._values()

    def _values(self) -> dict[str, Tensor]:
        """Copies of what decides what the network computes."""
        state = self.workspace.tensors().items()
        return {name: value.clone() for name, value in state if name.endswith(".value") or is_statistic(name)}

    def note(self) -> None:
        """Judge the network as it stands behind an epoch; a checkpoint leaves its weights unwritten."""
        for part in self.update.parts:
            part.write()
        reached = self.judge(self.network)
        if reached > self.best_accuracy:
            self.best_accuracy, self.best = reached, self._values()

    def take_best(self) -> Workspace:
        """The workspace as it stood behind its best epoch."""
        self.workspace.load(self.workspace.tensors() | self.best)
        return self.workspace

    def begin_epoch(self, epoch: int, uniform: Uniform) -> None:
        if epoch > 1:
            self.note()
        super().begin_epoch(epoch, uniform)

    def tensors(self) -> dict[str, Tensor]:
        return super().tensors() | {f"{BEST}{name}": value for name, value in self.best.items()}

    def position(self) -> dict[str, Any]:
        return super().position() | {"best_accuracy": self.best_accuracy}

    def load(self, tensors: Mapping[str, Tensor], position: Mapping[str, Any]) -> None:
        super().load(tensors, position)
        best = {name.removeprefix(BEST): value for name, value in tensors.items() if name.startswith(BEST)}
        self.best = {name: value.to(self.workspace.device) for name, value in best.items()}
        self.best_accuracy = position["best_accuracy"]


@dataclass(frozen=True)
class Picked:
    """An attempt to pick: its network, what that reaches where decisions are taken, its fit in training."""

    solution: Solution
    reached: float
    fit: float


class Cpg(SingleWeights):
    """Pick, grow, compact, retrain over a bank of single weights."""

    Settings: ClassVar[type] = CpgSettings
    grows: ClassVar[Growing | None] = "target"
    looks_ahead: ClassVar[bool] = True
    settings: CpgSettings

    @classmethod
    def most_epochs(cls, settings: CpgSettings, epochs: int, first: bool) -> int:
        picking = len(multipliers(settings.cap, settings.grow_step)) * settings.epochs(epochs)
        compacting = len(settings.levels) * settings.epochs(epochs, settings.level_epochs)
        retrains = settings.mask_lr and not first
        return picking + compacting + (settings.epochs(epochs, settings.retrain_epochs) if retrains else 0)

    @classmethod
    def most_widths(cls, settings: CpgSettings, architecture: Architecture) -> Widths:
        return cap_widths(architecture, settings.cap)

    def learn(self, task: Task, goal: float | None, trainer: Trainer) -> Lesson:
        assert goal is not None, "CPG needs a target accuracy for every task"
        lesson = Lesson("target_met")
        before, released = self.bank.widths, self.bank.released_share()
        solution, reached = self._pick(task, goal, trainer, lesson)
        sparsity = 0.0
        if self.owned(solution):
            solution, reached, sparsity = self._compact(solution, reached, task, goal, trainer, lesson)
            if self.bank.tasks and self.settings.mask_lr:
                solution = self._retrain(solution, reached, task, trainer, lesson)
        self.bank.add(task.number, solution)
        lesson.growth = self.grown(before, released) | {"sparsity": sparsity}
        return lesson

    def _pick(self, task: Task, goal: float, trainer: Trainer, lesson: Lesson) -> tuple[Solution, float]:
        """Pick; grow and pick again until the goal or the cap is reached. What is kept, and its accuracy."""
        sizes = self._widths()
        attempts = (
            self._picked(stage, widths, task, trainer, lesson) for stage, widths in enumerate(sizes, PICK)
        )
        kept = picked = next(attempts)
        while self._grows(picked, goal, sizes[-1], lesson):
            picked = next(attempts)
            if self._keeps_wider(picked.reached, kept.reached, lesson):
                kept = picked
        if kept.reached < goal:
            lesson.reason = "at_cap" if kept is picked else "kept_narrower"
        elif kept.solution.widths != sizes[0]:
            lesson.reason = "grew"
        return kept.solution, kept.reached

    def _widths(self) -> list[dict[str, int]]:
        """Widths from the bank's on to the cap's, each once: in a narrow network two may round alike."""
        settings, now = self.settings, self.bank.widths
        steps = [
            cap_widths(self.architecture, size) for size in multipliers(settings.cap, settings.grow_step)
        ]
        fitting = [widths for widths in steps if all(widths[stream] >= now[stream] for stream in now)]
        return [widths for widths, before in zip(fitting, [None, *fitting], strict=False) if widths != before]

    def _picked(self, stage: int, widths: Widths, task: Task, trainer: Trainer, lesson: Lesson) -> Picked:
        """What picking at these widths comes to."""
        solution = self._attempt(stage, widths, task, trainer)
        reached = lesson.stage_accuracy[stage] = self.judged(solution, task, trainer)
        return Picked(solution, reached, trainer.logs[-1].train_accuracy)

    def _attempt(self, stage: int, widths: Widths, task: Task, trainer: Trainer) -> Solution:
        """Pick earlier weights and train all others at these widths."""
        start, settings = self.start(task, widths), self.settings
        rates = settings.mask_rates() if self.owned(start) else settings.mask_rates().without_rest()
        training = WeightTraining(self.workspace(start, trainer, True), trainer.settings.weight_decay)
        trainer.run(Stage(stage, rates, epochs=settings.epochs(trainer.settings.epochs)), training, task)
        return self.solution(training.workspace)

    def _grows(self, picked: Picked, goal: float, cap: Widths, lesson: Lesson) -> bool:
        """Grow where something is lacking and the network is not at the cap."""
        lacking = self._lacking(picked, goal)
        grows = bool(lacking) and picked.solution.widths != cap
        reason = (lacking if grows else "at_cap") if lacking else "target_met"
        self.decide(lesson, "grow", grows, picked.reached, goal, reason)
        return grows

    def _lacking(self, picked: Picked, goal: float) -> str:
        """Why the task has to grow; empty where it has not."""
        if picked.reached < goal:
            return "below_target"
        return "below_train_gate" if picked.fit < self.settings.train_accuracy else ""

    def _keeps_wider(self, reached: float, narrower: float, lesson: Lesson) -> bool:
        """Protocol `clean` keeps a wider network only if it is better; `paper` always, as CPG."""
        keeps = self.protocol == "paper" or reached > narrower
        self.decide(lesson, "keep_wider", keeps, reached, narrower, "grew" if keeps else "kept_narrower")
        return keeps

    def _compact(
        self, unpruned: Solution, reached: float, task: Task, goal: float, trainer: Trainer, lesson: Lesson
    ) -> tuple[Solution, float, float]:
        """Prune level after level; the network that is kept, its accuracy and its sparsity."""
        forced = reached < goal
        limit = forced_sparsity(self.remaining) if forced else 1.0
        accuracies: dict[float, float] = {}
        solution, kept, best = unpruned, unpruned, reached
        levels = (min(level, limit) for level in self.settings.levels)
        for stage, (first, level) in enumerate(pairwise((0.0, *levels)), COMPACT):
            if first >= limit:
                break
            solution = self._level(stage, solution, (first, level), task, trainer)
            value = lesson.stage_accuracy[stage] = self.judged(solution, task, trainer)
            if trainer.logs[-1].train_accuracy < self.settings.train_accuracy:
                break
            accuracies[level] = value
            if chosen_level(accuracies, goal, forced) == level:
                kept, best = solution, value
        sparsity = chosen_level(accuracies, goal, forced)
        reason = lesson.reason if forced else "target_met" if sparsity else "below_target"
        self.decide(lesson, "compact", sparsity, best, goal, reason)
        return kept, best, sparsity

    def _level(
        self, stage: int, solution: Solution, ends: tuple[float, float], task: Task, trainer: Trainer
    ) -> Solution:
        """Prune from the one sparsity to the other, and train what stays."""
        settings, train = self.settings, trainer.settings
        epochs = settings.epochs(train.epochs, settings.level_epochs)
        batches = len(batch_sizes(len(task.train), train.batch_size))
        ramp = Ramp(*ends, max(1, round(settings.prune_share * epochs * batches)), settings.prune_frequency)
        workspace, earlier = self.workspace(solution, trainer, True), self.earlier(solution.widths)
        training = GradualPruning(workspace, train.weight_decay, earlier, ramp)
        trainer.run(self._settling(stage, epochs), training, task)
        return self.solution(training.workspace)

    def _settling(self, number: int, epochs: int, mask_lr: float = 0.0) -> Stage:
        """A stage of compacting or retraining: the weights' rate is constant."""
        return Stage(number, MaskRates(mask_lr), lr=self.settings.prune_lr, lr_drops=(), epochs=epochs)

    def _retrain(
        self, pruned: Solution, reached: float, task: Task, trainer: Trainer, lesson: Lesson
    ) -> Solution:
        """Train the task's weights and a mask that starts anew; the better of its best epoch and `pruned`."""
        settings = self.settings
        picked = {name: pruned.used[name] | owned for name, owned in self.earlier(pruned.widths).items()}
        anew = replace(pruned, used=picked)
        to_beat = self.judged(anew, task, trainer) if settings.official_retrain_quirk else reached
        workspace = self.workspace(anew, trainer, True)
        judge = partial(self.judge, task=task, trainer=trainer)
        training = Retraining(workspace, trainer.settings.weight_decay, judge)
        epochs = settings.epochs(trainer.settings.epochs, settings.retrain_epochs)
        trainer.run(self._settling(RETRAIN, epochs, settings.retrain_mask_lr), training, task)
        training.note()
        best = lesson.stage_accuracy[RETRAIN] = training.best_accuracy
        reason = "retrained" if best > to_beat else "kept_pruned"
        self.decide(lesson, "keep_retrained", best > to_beat, best, to_beat, reason)
        return self.solution(training.take_best()) if best > to_beat else pruned
