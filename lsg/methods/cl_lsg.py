"""CL-LSG: continual learning via learnable sparse growth (Yang et al., NeurIPS 2022), algorithm 1.

Task 1 grows a network from a seed. A later task first picks and reuses: masks over all preserved kernels
(m^s) and training of the released ones (m^a). Where that stays below the target accuracy, it grows:
candidate channels with gates (m^g), whose kernels have masks too (m^a). At the end of a task dropped
channels and kernels whose mask is off are given back; what it used is frozen for good.

    minimise  CE(f(w * m^s * m^a * m^g; x_t), y_t) + lambda * sum sigma(beta kappa s)        (equations 1, 2)
                                                   + mu * weights that m^a lets through     (ours, 0 in print)

mu belongs to task 1 alone, which leaves room in its network for the tasks to come. A later task finds its
released kernels at weight 0, where a mask does not change the loss: with mu they would all go before they
had learned anything.

With `later_masks: weight` every weight is a kernel of its own from task 2 on (ours).

Learned for a task: m^s, m^a, m^g, released and new kernels, biases, BatchNorm, head. Stored for it: one bit
a kernel, the kernels it added, and its private vectors.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import torch
from torch import Tensor

from lsg.bank import FREE, Solution
from lsg.data import Task
from lsg.growth import Growth, Room
from lsg.initial import initial_weights
from lsg.masked import MaskedTraining
from lsg.masks import GateSchedule, Noise
from lsg.methods.banked import Banked
from lsg.methods.method import Growing, Lesson
from lsg.networks.architecture import Architecture, Layer, Widths
from lsg.optimizers import Adam
from lsg.protocol import Protocol
from lsg.schedules import MaskRates, epochs_of
from lsg.settings import require, require_one_of
from lsg.settling import divided, reused_weights, settled, without_idle
from lsg.training import Stage, Trainer
from lsg.update import Masking
from lsg.widths import cap_widths, scaled_widths, widths_at
from lsg.workspace import Workspace

REUSE, GROW = 1, 2
GrowFrom = Literal["reused", "picked"]
MaskOf = Literal["kernel", "weight"]
PARTS = ("selective", "attentive", "retrain")
"""Settings that say which parts of the method there are (table 8)."""
SHUT = -1.0
"""Logit of a released kernel that may not be trained: always off, and without a gradient at weight 0."""


@dataclass(frozen=True)
class ClLsgSettings:
    """Coefficients of CL-LSG (sources: the paper's A.4, KSM's code, Yuan et al.'s growth).

    seed_fraction: share of every stream's 1x channels that the seed network has.
    cap: most weights the network may reach, over the 1x network's.
    width_cap: most channels of each stream, over its 1x channels; None = the square root of `cap`, as if the
        network were scaled as a whole.
    growth_share: of the weights that are left below the cap, the share that one task may take. Candidates
        that are dropped in the end count too.
    chunk: candidates a chunk, as a share of each stream's 1x channels.
    gate_init, gate_scale, gate_final_beta: s of a new candidate; kappa; the last beta.
    penalty: lambda, on the sum of the candidates' keep probabilities.
    mask_penalty: mu, on the number of weights that m^a lets through in task 1.
    selective, attentive, retrain: the parts of the method (table 8): masks m^s on preserved kernels, masks
        m^a on new and released ones, training of released kernels. Without all three it is growth alone.
    linear_masks: kernel masks in fully connected layers too, where a kernel is one weight; without them a
        task uses whole such layers, and only channels are dropped there. A flattened layer is a convolution.
    later_masks: what a mask decides over after task 1: a `kernel`, as in task 1 | a `weight`, as in CPG, for
        a bit a weight and task.
    stage_epochs: epochs of a stage, as a share of `train.epochs`.
    grow_from: where stage 2 begins: `reused` = where stage 1 ended | `picked` = where stage 1 began.
    noise: of kernel masks, `logit` | `eq5` | `none`.
    mask_lr, mask_lr_drops, mask_lr_factors: Adam's rate for masks and gates, and its factor from each of
        these shares of the epochs on; a factor of 0 only in stages that train kernels.
    """

    seed_fraction: float = 0.125
    cap: float = 1.3
    width_cap: float | None = None
    growth_share: float = 1.0
    chunk: float = 0.25
    gate_init: float = 0.02
    gate_scale: float = 100.0
    gate_final_beta: float = 20.0
    penalty: float = 1e-4
    mask_penalty: float = 0.0
    selective: bool = True
    attentive: bool = True
    retrain: bool = True
    linear_masks: bool = True
    later_masks: MaskOf = "kernel"
    stage_epochs: float = 1.0
    grow_from: GrowFrom = "reused"
    noise: Noise = "logit"
    mask_lr: float = 5e-4
    mask_lr_drops: tuple[float, ...] = (0.5, 0.7)
    mask_lr_factors: tuple[float, ...] = (0.2, 0.0)

    def __post_init__(self) -> None:
        require(0 < self.seed_fraction <= 1, "seed_fraction", self.seed_fraction, "over 0 and at most 1")
        require(self.cap > 0, "cap", self.cap, "over 0")
        require(
            self.width_cap is None or self.width_cap >= self.seed_fraction,
            "width_cap",
            self.width_cap,
            "at least seed_fraction, or null",
        )
        require(0 < self.growth_share <= 1, "growth_share", self.growth_share, "over 0 and at most 1")
        require(0 < self.chunk <= 1, "chunk", self.chunk, "over 0 and at most 1")
        require(self.gate_scale > 0, "gate_scale", self.gate_scale, "over 0")
        require(self.gate_final_beta >= 1, "gate_final_beta", self.gate_final_beta, "1 or more")
        require(self.penalty >= 0, "penalty", self.penalty, "0 or more")
        require(self.mask_penalty >= 0, "mask_penalty", self.mask_penalty, "0 or more")
        require_one_of("later_masks", self.later_masks, get_args(MaskOf))
        require(self.stage_epochs > 0, "stage_epochs", self.stage_epochs, "over 0")
        require_one_of("grow_from", self.grow_from, get_args(GrowFrom))
        require_one_of("noise", self.noise, get_args(Noise))
        require(self.mask_lr > 0, "mask_lr", self.mask_lr, "over 0")
        self.mask_rates()

    def mask_rates(self) -> MaskRates:
        return MaskRates(self.mask_lr, self.mask_lr_drops, self.mask_lr_factors)

    def later(self, architecture: Architecture) -> Architecture:
        """The network divided as masks after task 1 have it, and the bank from task 1 on."""
        single = self.later_masks == "weight" and (self.selective or self.attentive)
        return architecture.elementwise() if single else architecture


class ClLsg(Banked):
    """Algorithm 1 over a weight bank."""

    Settings: ClassVar[type] = ClLsgSettings
    grows: ClassVar[Growing | None] = "target"
    settings: ClLsgSettings

    def __init__(
        self, architecture: Architecture, settings: ClLsgSettings, protocol: Protocol, seed: int
    ) -> None:
        super().__init__(settings.later(architecture), settings, protocol, seed)
        self.whole = architecture
        """The network in whole kernels, as task 1 masks it."""
        self.cap = settings.cap
        seed_network = architecture.weights(widths_at(architecture, settings.seed_fraction))
        least = seed_network / architecture.weights(architecture.streams)
        require(self.cap >= least, "cap", self.cap, f"at least the size of the seed network, {least:.4g}")

    @classmethod
    def most_epochs(cls, settings: ClLsgSettings, epochs: int, first: bool) -> int:
        stage = epochs_of(settings.stage_epochs, epochs)
        return stage if first else 2 * stage

    @classmethod
    def most_widths(cls, settings: ClLsgSettings, architecture: Architecture) -> Widths:
        """As if all streams grew alike; under a `width_cap` some become wider and the others less wide."""
        return cap_widths(architecture, settings.cap)

    def learn(self, task: Task, goal: float | None, trainer: Trainer) -> Lesson:
        before, released = self.bank.widths, self.bank.released_share()
        solution, lesson = (
            self._grow_seed(task, trainer) if not self.bank.tasks else self._reuse(task, goal, trainer)
        )
        self.bank.add(task.number, without_idle(solution))
        lesson.growth = self.grown(before, released)
        return lesson

    def _grow_seed(self, task: Task, trainer: Trainer) -> tuple[Solution, Lesson]:
        """Task 1: candidates beside the seed's channels, in one pass (section 3.2)."""
        seed, lesson = self._seed(task, trainer), Lesson("grew")
        solution, _ = self._grow(seed, task, trainer, lesson)
        if solution.widths == seed.widths:
            lesson.reason = "grew_zero" if any(lesson.stage_gates[GROW]) else "no_room"
        return divided(solution, self.architecture), lesson

    def _reuse(self, task: Task, goal: float | None, trainer: Trainer) -> tuple[Solution, Lesson]:
        """Stage 1 of a later task: pick and reuse; stage 2 only if that misses the goal."""
        assert goal is not None, "CL-LSG needs a target accuracy for every task after the first"
        workspace = self._train(REUSE, self._picked(task, trainer), task, trainer)
        reused = settled(workspace)
        before = self.judged(reused, task, trainer)
        grows = before < goal and self._can_grow()
        reason = "below_target" if grows else "no_room" if before < goal else "target_met"
        lesson = Lesson(reason, stage_accuracy={REUSE: before})
        self.decide(lesson, "grow", grows, before, goal, lesson.reason)
        if not grows:
            return reused, lesson
        start = workspace if self.settings.grow_from == "reused" else self._picked(task, trainer)
        grown, after = self._grow(start, task, trainer, lesson)
        if self.protocol == "clean" and after <= before:
            self.decide(lesson, "keep_stage_2", False, after, before, "kept_stage_1")
            lesson.reason = "kept_stage_1"
            return reused, lesson
        lesson.reason = "grew" if grown.widths != reused.widths else "grew_zero"
        self.decide(lesson, "keep_stage_2", True, after, before, lesson.reason)
        return grown, lesson

    def _room(self, widths: Widths) -> Room:
        """What a task that starts at these widths may take."""
        architecture, settings = self.architecture, self.settings
        now, most = architecture.weights(widths), self.cap * architecture.weights(architecture.streams)
        widest = (
            cap_widths(architecture, self.cap)
            if settings.width_cap is None
            else scaled_widths(architecture, settings.width_cap)
        )
        return Room(architecture, widest, now + settings.growth_share * (most - now))

    def _can_grow(self) -> bool:
        widths = self.bank.widths
        return self._room(widths).opened(widths, widths, self.settings.chunk) != widths

    def _grow(
        self, workspace: Workspace, task: Task, trainer: Trainer, lesson: Lesson
    ) -> tuple[Solution, float]:
        """The stage that grows, with candidates beside what there is; its settled network and accuracy."""
        settings = self.settings
        last_epoch = epochs_of(next(iter(settings.mask_lr_drops), 1.0), self._epochs(trainer))
        growth = Growth(
            self.seed,
            task.number,
            settings.chunk,
            self._room(workspace.widths),
            settings.gate_init,
            last_epoch,
            [layer.name for layer in self._masked_layers() if settings.attentive],
        )
        workspace = self._train(GROW, growth.begin(workspace), task, trainer, growth)
        solution = settled(workspace)
        candidates = int(workspace.candidate.sum())
        dropped = sum(workspace.widths.values()) - sum(solution.widths.values())
        lesson.stage_gates[GROW] = (candidates - dropped, dropped)
        reached = lesson.stage_accuracy[GROW] = self.judged(solution, task, trainer)
        return solution, reached

    def _train(
        self, number: int, workspace: Workspace, task: Task, trainer: Trainer, growth: Growth | None = None
    ) -> Workspace:
        """Run one stage; the workspace is another one if it grew."""
        settings, epochs = self.settings, self._epochs(trainer)
        gates = GateSchedule(settings.gate_scale, settings.gate_final_beta, epochs)
        mask_penalty = 0.0 if self.bank.tasks else settings.mask_penalty
        masking = Masking(settings.noise, gates, settings.penalty, mask_penalty)
        training = MaskedTraining(workspace, masking, trainer.settings.weight_decay, growth)
        rates = settings.mask_rates()
        rests = self._trains_weights(workspace)
        stage = Stage(number, rates if rests else rates.without_rest(), epochs=epochs)
        trainer.run(stage, training, task)
        return training.workspace

    def _epochs(self, trainer: Trainer) -> int:
        """Of a stage."""
        return epochs_of(self.settings.stage_epochs, trainer.settings.epochs)

    def _trains_weights(self, workspace: Workspace) -> bool:
        """Whether any kernel but the head's may be trained, which is not so without released ones."""
        trainable = workspace.trainable
        grids = (workspace.table.kernel_grid(trainable, layer.name) for layer in self.architecture.layers)
        return any(bool(grid.any()) for grid in grids)

    def _seed(self, task: Task, trainer: Trainer) -> Workspace:
        """The seed network: every kernel new, trainable and masked."""
        widths = widths_at(self.architecture, self.settings.seed_fraction)
        return self._workspace(widths, task, trainer)

    def _picked(self, task: Task, trainer: Trainer) -> Workspace:
        """The bank's network with a mask on every kernel; only released kernels are trainable."""
        return self._workspace(self.bank.widths, task, trainer)

    def _workspace(self, widths: dict[str, int], task: Task, trainer: Trainer) -> Workspace:
        architecture, classes = self.architecture if self.bank.tasks else self.whole, len(task.classes)
        weights = initial_weights(architecture, widths, classes, self.seed, task.number)
        if self.bank.tasks:
            weights = reused_weights(self.bank, weights)
        workspace = Workspace(
            architecture,
            widths,
            classes,
            (trainer.settings.weight_optimizer(), Adam()),
            weights,
            self.previous_private(),
            trainer.device,
        )
        self._assign_masks(workspace)
        return workspace

    def _assign_masks(self, workspace: Workspace) -> None:
        """m^s on the bank's owned kernels, which are frozen; m^a on all others but the head's."""
        for layer in self.architecture.layers:
            masked = workspace.table.kernel_grid(workspace.masked, layer.name)
            masked[:] = self.settings.attentive
            if self.bank.tasks:
                self._assign_to_owners(workspace, layer.name, masked)
            if layer not in self._masked_layers():
                masked[:] = False

    def _assign_to_owners(self, workspace: Workspace, layer: str, masked: Tensor) -> None:
        settings, table, free = self.settings, workspace.table, self.bank.owners[layer] == FREE
        masked.copy_(torch.where(free, settings.attentive or not settings.retrain, settings.selective))
        table.kernel_grid(workspace.trainable, layer).copy_(free & settings.retrain)
        if not settings.retrain:
            table.grid(workspace.weight.value, layer)[free] = 0.0
            table.kernel_grid(workspace.logit.value, layer)[free] = SHUT

    def _masked_layers(self) -> list[Layer]:
        layers = self.architecture.layers
        return [layer for layer in layers if self.settings.linear_masks or not layer.is_linear]
