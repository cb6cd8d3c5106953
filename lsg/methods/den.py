"""DEN: lifelong learning with dynamically expandable networks (Yoon et al., ICLR 2018), unit = filter.

Task 1 trains the 1x network with an L1 penalty. A later task t, from the shared weights w' before it:

    1  select    train the new head alone, with L1; keep the units with a path of non-zero weights to it
    2  retrain   train that sub-network:   min CE + mu |w|_1 + (l2 / 2) |w|^2 + (drift / 2) |w - w'|^2
    3  expand    if that misses the goal: add k units a stream and train what they read and what reads them
                 and the head, all else frozen:
                                           min CE + mu |w|_1 + (l2 / 2) |w|^2 + gamma sum_g |w_g|_2
                 delete the new units whose incoming weights are all zero
    4  split     units whose incoming weights drifted furthest, |w_i - w'_i|_2 > sigma: the old copy stays
                 as it was, the task's own copy is appended; retrain as in 2

L1 and group lasso are proximal steps after each step of the optimizer, so their zeros are exact. Learned
for a task: shared weights between its units, head, biases, BatchNorm. Nothing is frozen for good: earlier
tasks keep their units (timestamps) but compute with the current shared weights, so they may forget.
Official code: jaehong31/DEN (fully connected, permuted MNIST). Where this differs: docs/methods.md.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from lsg import initial
from lsg.cost import macs_of_frozen
from lsg.data import Task
from lsg.initial import initial_weights
from lsg.methods.den_shared import SharedNetwork
from lsg.methods.den_steps import ProximalSteps, Terms, optimizer_of
from lsg.methods.den_units import Subnet
from lsg.methods.method import Growing, Lesson, Method
from lsg.networks.architecture import HEAD, Architecture, Widths
from lsg.plain import PlainTraining
from lsg.protocol import Protocol
from lsg.schedules import epochs_of
from lsg.settings import require
from lsg.training import Stage, Trainer
from lsg.widths import ROUNDING, cap_widths

FIRST = SELECT = 1
RETRAIN, EXPAND, SPLIT = 2, 3, 4


@dataclass(frozen=True)
class DenSettings:
    """Coefficients of DEN (official defaults in brackets: DEN_run.py).

    l1, group_lasso: proximal thresholds of a step at rate 1e-3; they scale with the rate (1e-5, 1e-3 with
        Adam; with SGD 1e-3 emptied every new unit on CIFAR-100 Split).
    l2: of shared weights, in place of the benchmark's weight decay (1e-4).
    drift: pull of shared weights to what they were before the task (0.5).
    expansion: units added to a stream, and units split of it, a task at most, as a share of its 1x
        channels, rounded up (10 units of 312 and 128).
    split_threshold: drift from which a unit is split (0.05).
    selection: share of the epochs that training the head alone takes (meant to be a tenth, in fact one
        mini-batch; L1 needs more steps to empty columns of the head).
    cap: most weights the network may reach, over the 1x network's; widths scale by its square root (none).
    """

    l1: float = 1e-5
    l2: float = 1e-4
    group_lasso: float = 1e-4
    drift: float = 0.5
    expansion: float = 0.05
    split_threshold: float = 0.05
    selection: float = 0.25
    cap: float = 1.8

    def __post_init__(self) -> None:
        for name in ("l1", "l2", "group_lasso", "drift", "split_threshold"):
            require(getattr(self, name) >= 0, name, getattr(self, name), "0 or more")
        require(0 < self.expansion <= 1, "expansion", self.expansion, "over 0 and at most 1")
        require(0 < self.selection <= 1, "selection", self.selection, "over 0 and at most 1")
        require(self.cap >= 1, "cap", self.cap, "1 or more")


class Den(Method):
    """The four steps over a shared network of units."""

    Settings: ClassVar[type] = DenSettings
    grows: ClassVar[Growing | None] = "target"
    steps_by_torch: ClassVar[bool] = True
    forgets = True
    settings: DenSettings

    def __init__(
        self, architecture: Architecture, settings: DenSettings, protocol: Protocol, seed: int
    ) -> None:
        super().__init__(architecture, settings, protocol, seed)
        self.shared = SharedNetwork(architecture)
        self.caps = cap_widths(architecture, settings.cap)

    @classmethod
    def most_epochs(cls, settings: DenSettings, epochs: int, first: bool) -> int:
        return epochs if first else epochs_of(settings.selection, epochs) + 3 * epochs

    @classmethod
    def most_widths(cls, settings: DenSettings, architecture: Architecture) -> Widths:
        return cap_widths(architecture, settings.cap)

    def learn(self, task: Task, goal: float | None, trainer: Trainer) -> Lesson:
        before = dict(self.shared.widths)
        lesson = Lesson("trained")
        subnet = (
            self._learn_later(task, goal, trainer, lesson)
            if self.shared.tasks
            else self._learn_first(task, trainer, lesson)
        )
        self.shared.store(task.number, subnet)
        lesson.growth |= {"channels_before": before, "channels_after": dict(self.shared.widths)}
        return lesson

    def _learn_first(self, task: Task, trainer: Trainer, lesson: Lesson) -> Subnet:
        """The whole 1x network, with L1 and l2."""
        widths, classes = self.architecture.streams, len(task.classes)
        weights = initial_weights(self.architecture, widths, classes, self.seed, task.number)
        terms = Terms(self.settings.l1, self.settings.l2)
        subnet = self._train(FIRST, self.shared.start(weights), terms, task, trainer)
        lesson.stage_accuracy[FIRST] = self.judge(subnet.network(), task, trainer)
        return subnet

    def _learn_later(self, task: Task, goal: float | None, trainer: Trainer, lesson: Lesson) -> Subnet:
        """Algorithm 1 for t > 1: select, retrain, expand below the goal, split."""
        assert goal is not None, "DEN needs a target accuracy for every task after the first"
        subnet = self._select(task, trainer, lesson)
        subnet = self._train(RETRAIN, subnet, self._pulled(subnet), task, trainer)
        reached = lesson.stage_accuracy[RETRAIN] = self.judge(subnet.network(), task, trainer)
        added = self._units_to_add()
        expands = reached < goal and any(added.values())
        lesson.reason = "target_met" if reached >= goal else "below_target" if expands else "at_cap"
        self.decide(lesson, "expand", expands, reached, goal, lesson.reason)
        if expands:
            subnet = self._expand(subnet, added, reached, task, trainer, lesson)
        return self._split(subnet, task, trainer, lesson)

    def _select(self, task: Task, trainer: Trainer, lesson: Lesson) -> Subnet:
        """Step 1: a new head over all units, and the sub-network that it reads."""
        architecture, classes = self.architecture, len(task.classes)
        rows, columns, _ = architecture.shape(architecture.head, self.shared.widths, classes)
        head = initial.draw(architecture, architecture.head, rows, columns, self.seed, task.number)
        whole = self.shared.start(self.shared.weights | {HEAD: head})
        epochs = epochs_of(self.settings.selection, trainer.settings.epochs)
        terms = Terms(self.settings.l1, head_only=True)
        whole = self._train(SELECT, whole, terms, task, trainer, epochs)
        lesson.stage_accuracy[SELECT] = self.judge(whole.network(), task, trainer)
        selected = whole.only(whole.selected())
        lesson.growth["selected"] = selected.widths
        return selected

    def _pulled(self, subnet: Subnet) -> Terms:
        """Retraining: kernels between shared units are drawn to what they were before the task."""
        shared, settings = self.shared, self.settings
        held, earlier = shared.shared_kernels(subnet), shared.earlier(subnet)
        return Terms(settings.l1, settings.l2, pull=settings.drift, held=held, earlier=earlier)

    def _units_to_add(self) -> Widths:
        """k new units a stream, as far as the cap has room for them."""
        widths = self.shared.widths
        return {stream: min(self._share(stream), self.caps[stream] - widths[stream]) for stream in widths}

    def _expand(
        self, subnet: Subnet, added: Widths, reached: float, task: Task, trainer: Trainer, lesson: Lesson
    ) -> Subnet:
        """Step 3: the network with those of k new units a stream that stay; at most once a task."""
        widths = self.shared.widths
        wider = {stream: widths[stream] + added[stream] for stream in widths}
        fresh = initial_weights(self.architecture, wider, subnet.classes, self.seed, task.number)
        grown = subnet.expanded(widths, added, fresh)
        grown = self._train(EXPAND, grown, self._frozen(subnet, grown), task, trainer)
        grown = grown.without_zero_units(widths)
        after = lesson.stage_accuracy[EXPAND] = self.judge(grown.network(), task, trainer)
        kept = sum(grown.widths.values()) - sum(subnet.widths.values())
        lesson.stage_gates[EXPAND] = (kept, sum(added.values()) - kept)
        if self.protocol == "clean" and after <= reached:
            lesson.reason = "kept_stage_2"
            self.decide(lesson, "keep_stage_3", False, after, reached, lesson.reason)
            return subnet
        lesson.reason = "grew" if kept else "grew_zero"
        self.decide(lesson, "keep_stage_3", True, after, reached, lesson.reason)
        return grown

    def _frozen(self, subnet: Subnet, grown: Subnet) -> Terms:
        """Expansion: kernels between the subnet's units stay as they are, new units are under group lasso."""
        settings, held = self.settings, self.shared.shared_kernels(grown)
        return Terms(
            settings.l1,
            settings.l2,
            settings.group_lasso,
            held=held,
            earlier=grown.weights,
            frozen=True,
            new=subnet.widths,
        )

    def _split(self, subnet: Subnet, task: Task, trainer: Trainer, lesson: Lesson) -> Subnet:
        """Step 4: own copies of the units that drifted furthest, and a retraining if there are any."""
        drifted = self._drifted(subnet)
        chosen = {stream: units[: self._room(subnet, stream)] for stream, units in drifted.items()}
        lesson.growth["split"] = {stream: len(units) for stream, units in chosen.items()}
        found, splits = (any(map(len, units.values())) for units in (drifted, chosen))
        reason = "drifted" if splits else "at_cap" if found else "none_to_split"
        self.decide(lesson, "split", splits, None, None, reason)
        if not splits:
            return subnet
        subnet = subnet.split(self.shared.widths, chosen)
        subnet = self._train(SPLIT, subnet, self._pulled(subnet), task, trainer)
        lesson.stage_accuracy[SPLIT] = self.judge(subnet.network(), task, trainer)
        return subnet

    def _drifted(self, subnet: Subnet) -> dict[str, Tensor]:
        """Places of the units that drifted over the threshold, largest drift first."""
        drifted = {}
        for stream, drift in self.shared.drift(subnet).items():
            order = drift.argsort(descending=True, stable=True)
            drifted[stream] = order[drift[order] > self.settings.split_threshold]
        return drifted

    def _room(self, subnet: Subnet, stream: str) -> int:
        """How many units of the stream may be split: up to the task's share, and to the cap."""
        width = self.shared.widths[stream]
        added = int((subnet.units[stream] >= width).sum())
        return min(self._share(stream), self.caps[stream] - width - added)

    def _share(self, stream: str) -> int:
        """k: the most units of a stream that a task adds or splits."""
        return math.ceil(self.architecture.streams[stream] * self.settings.expansion - ROUNDING)

    def _train(
        self,
        number: int,
        subnet: Subnet,
        terms: Terms,
        task: Task,
        trainer: Trainer,
        epochs: int | None = None,
    ) -> Subnet:
        """Run one stage of training."""
        network = subnet.network().to(trainer.device)
        if terms.head_only:
            network.requires_grad_(False)
            network.get_submodule(HEAD).requires_grad_()
        steps = ProximalSteps(subnet, network, terms)
        training = PlainTraining(
            network,
            optimizer_of(network, trainer.settings),
            self._macs(subnet, terms),
            before_step=steps.before,
            after_step=steps.after,
        )
        trainer.run(Stage(number, epochs=epochs), training, task)
        return subnet.trained(network)

    def _macs(self, subnet: Subnet, terms: Terms) -> int:
        """MACs of an image; what stands below a head that is trained alone has no backward pass."""
        whole = self.architecture.macs(subnet.widths, subnet.classes)
        body = self.architecture.macs(subnet.widths, 0)
        return macs_of_frozen(whole, body) if terms.head_only else whole

    def network(self, task: int) -> nn.Module:
        return self.shared.subnet(task).network()

    def tensors(self, task: int) -> dict[str, Tensor]:
        return self.shared.tensors()

    def restore(self, task: int, tensors: Mapping[str, Tensor]) -> None:
        self.shared = SharedNetwork.of(self.architecture, tensors)

    def weights(self) -> tuple[int, int]:
        return self.architecture.weights(self.shared.widths), self.shared.weights_used()
