"""The one training loop, for every method: stages of epochs that survive a kill.

A method makes a trainee and describes a stage; the trainer runs it, writes events and checkpoints, and,
started again in the same directory, goes on at the last checkpoint with the same numbers as a run that was
never interrupted.
"""

from __future__ import annotations

import time
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, get_args

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from lsg import seeds
from lsg.checkpoint import Checkpoints
from lsg.data import Batches, Task
from lsg.evaluation import accuracy
from lsg.events import EventLog
from lsg.optimizers import SGD, Adam, Optimizer
from lsg.settings import require, require_one_of
from lsg.update import Uniform

OptimizerName = Literal["sgd", "adam", "adamw"]
Precision = Literal["float32", "bfloat16"]
BACKWARD_COST = 3
"""MACs of forward and backward together, in units of the forward pass."""


@dataclass(frozen=True)
class TrainSettings:
    """Optimisation of weights, shared by all methods (defaults: CPG's, methods.md 4.1).

    optimizer: sgd (Nesterov), adam or adamw.
    lr, momentum: of the weights, biases and BatchNorm; momentum is for sgd.
    weight_decay: of shared weights only.
    lr_drops, lr_drop_factor: the rate is multiplied by the factor after each of these shares of the epochs.
    batch_size, epochs: epochs count for each stage of each task.
    crop_padding: random crops from images padded by so many black pixels; 0 for none.
    flip: random horizontal flips.
    curves: log accuracy on validation and test images after each epoch. It decides nothing.
    precision: of the forward pass in training, and so of its backward pass. Weights, gradients, loss, update
        and evaluation are float32 in either case.
    """

    optimizer: OptimizerName = "sgd"
    lr: float = 0.01
    momentum: float = 0.9
    weight_decay: float = 4e-5
    lr_drops: tuple[float, ...] = (0.5, 0.8)
    lr_drop_factor: float = 0.1
    batch_size: int = 32
    epochs: int = 20
    crop_padding: int = 0
    flip: bool = False
    curves: bool = False
    precision: Precision = "float32"

    def __post_init__(self) -> None:
        require_one_of("optimizer", self.optimizer, get_args(OptimizerName))
        require_one_of("precision", self.precision, get_args(Precision))
        require(self.lr > 0, "lr", self.lr, "over 0")
        require(0 <= self.momentum < 1, "momentum", self.momentum, "from 0 to below 1")
        require(self.weight_decay >= 0, "weight_decay", self.weight_decay, "0 or more")
        require(is_rising(self.lr_drops), "lr_drops", self.lr_drops, "rising shares between 0 and 1")
        require(0 < self.lr_drop_factor <= 1, "lr_drop_factor", self.lr_drop_factor, "over 0 and at most 1")
        require(self.batch_size >= 2, "batch_size", self.batch_size, "2 or more")
        require(self.epochs >= 1, "epochs", self.epochs, "1 or more")
        require(self.crop_padding >= 0, "crop_padding", self.crop_padding, "0 or more")

    def weight_optimizer(self) -> Optimizer:
        """The update rule of weights, biases and BatchNorm."""
        return SGD(self.momentum) if self.optimizer == "sgd" else Adam(decoupled=self.optimizer == "adamw")


def is_rising(shares: Sequence[float]) -> bool:
    """Whether the numbers rise strictly and lie between 0 and 1."""
    return all(0 < share < 1 for share in shares) and list(shares) == sorted(set(shares))


def drops_before(epoch: int, epochs: int, shares: Sequence[float]) -> int:
    """How many of the drops lie before this epoch (from 1): a drop at 0.5 of 20 acts from epoch 11 on."""
    return bisect_right([round(share * epochs) for share in shares], epoch - 1)


@dataclass(frozen=True)
class MaskRates:
    """Learning rate of masks and gates: `lr`, from each of the `drops` on times its factor.

    Raises ValueError that names them as settings do: mask_lr, mask_lr_drops, mask_lr_factors.
    """

    lr: float = 0.0
    drops: tuple[float, ...] = ()
    factors: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        require(self.lr >= 0, "mask_lr", self.lr, "0 or more")
        require(is_rising(self.drops), "mask_lr_drops", self.drops, "rising shares between 0 and 1")
        same = len(self.factors) == len(self.drops)
        require(same, "mask_lr_factors", self.factors, "one factor for each of mask_lr_drops")

    def at(self, epoch: int, epochs: int) -> float:
        """The rate in this epoch (from 1)."""
        passed = drops_before(epoch, epochs, self.drops)
        return self.lr * (self.factors[passed - 1] if passed else 1.0)


class Trainee(Protocol):
    """What the loop trains: `lsg.masked.MaskedTraining` or `lsg.plain.PlainTraining`."""

    @property
    def network(self) -> nn.Module:
        """Images to logits; its parameters' gradients are what `step` works from."""

    @property
    def macs(self) -> int:
        """Multiply-accumulate operations of one image's forward pass."""

    def penalty(self) -> Tensor | None:
        """A term of the loss beside the cross entropy."""

    def begin_epoch(self, epoch: int, uniform: Uniform) -> None:
        """Draw and decide what stands for the epoch (from 1)."""

    def step(self, rate: float, mask_rate: float, uniform: Uniform) -> None:
        """One step from the gradients, which are then cleared."""

    def progress(self) -> dict[str, Any]:
        """What the epoch's event says beside loss and accuracy."""

    def tensors(self) -> dict[str, Tensor]:
        """The state for a checkpoint, with `position` for what is no tensor."""

    def position(self) -> dict[str, Any]: ...

    def load(self, tensors: Mapping[str, Tensor], position: Mapping[str, Any]) -> None:
        """Take up the state of a checkpoint."""


@dataclass(frozen=True)
class Stage:
    """One stage of a task. `lr`, `lr_drops` and `epochs` are those of the settings unless given."""

    number: int
    mask_rates: MaskRates = MaskRates()
    lr: float | None = None
    lr_drops: tuple[float, ...] | None = None
    epochs: int | None = None


@dataclass
class StageLog:
    """What a stage has done so far (MACs: forward and backward), and the fit of its last epoch."""

    stage: int
    epochs: int = 0
    steps: int = 0
    macs: int = 0
    seconds: float = 0.0
    train_loss: float = 0.0
    train_accuracy: float = 0.0


@dataclass
class Trainer:
    """Runs stages in one directory. `global_epoch` counts the epochs of all tasks so far."""

    settings: TrainSettings
    seed: int
    log: EventLog
    checkpoints: Checkpoints
    device: torch.device | str = "cpu"
    global_epoch: int = 0
    logs: list[StageLog] = field(default_factory=list)
    """The stages of the task under way."""
    stage_end: int = 0
    """Size of the event log where the last finished stage, or the last saved epoch, ends."""

    def begin_task(self, task: int, previous: int | None) -> None:
        """Stand behind the task learned before, where the first stage begins without a checkpoint."""
        self.checkpoints.task = task
        self.logs, self.stage_end = [], self.log.size_behind_task(previous)

    def run(self, stage: Stage, trainee: Trainee, task: Task) -> None:
        """Train one stage, from its checkpoint if there is one."""
        epochs = stage.epochs or self.settings.epochs
        log = self._resumed(stage, epochs, trainee)
        batches = self._batches(task, stage)
        for epoch in range(log.epochs + 1, epochs + 1):
            started = time.perf_counter()
            self._train_epoch(stage, epoch, epochs, trainee, batches, log)
            log.seconds += time.perf_counter() - started
            self._report(task, epochs, trainee, log)
            if epoch == epochs or self.checkpoints.due():
                self._save(stage, trainee, log)
        self.global_epoch += epochs
        self.logs.append(log)

    def _batches(self, task: Task, stage: Stage) -> Batches:
        settings = self.settings
        seed = seeds.derived("stage", self.seed, stage.number)
        return Batches(task, settings.batch_size, settings.crop_padding, settings.flip, seed, self.device)

    def _train_epoch(
        self, stage: Stage, epoch: int, epochs: int, trainee: Trainee, batches: Batches, log: StageLog
    ) -> None:
        shares = self.settings.lr_drops if stage.lr_drops is None else stage.lr_drops
        drops = drops_before(epoch, epochs, shares)
        rate = (stage.lr or self.settings.lr) * self.settings.lr_drop_factor**drops
        mask_rate = stage.mask_rates.at(epoch, epochs)
        draws = seeds.generator(self.device, "masks", self.seed, batches.task, stage.number, epoch)
        precision = self.settings.precision
        loss, hits = train_epoch(trainee, batches, epoch, rate, mask_rate, draws, precision)
        images = len(batches.labels)
        log.epochs, log.steps = epoch, log.steps + len(batches)
        log.macs += BACKWARD_COST * images * trainee.macs
        log.train_loss, log.train_accuracy = loss / images, hits / images

    def _report(self, task: Task, epochs: int, trainee: Trainee, log: StageLog) -> None:
        self.log.append(
            {
                "event": "epoch",
                "task": task.number,
                "stage": log.stage,
                "epoch": log.epochs,
                "epochs": epochs,
                "global_epoch": self.global_epoch + log.epochs,
                "steps": log.steps,
                "train_loss": log.train_loss,
                "train_accuracy": log.train_accuracy,
            }
            | trainee.progress()
            | (self._curves(task, trainee) if self.settings.curves else {})
        )

    def _curves(self, task: Task, trainee: Trainee) -> dict[str, float]:
        """Accuracies of the network as it stands, with the masks of its next step."""
        splits = {name: task.split(name) for name in ("validation", "test")}
        return {
            f"{name}_accuracy": accuracy(trainee.network, task, split, self.device)
            for name, split in splits.items()
            if len(split)
        }

    def _save(self, stage: Stage, trainee: Trainee, log: StageLog) -> None:
        self.stage_end = self.log.size()
        position = {"log": vars(log), "events": self.stage_end, "trainee": trainee.position()}
        self.checkpoints.save(stage.number, trainee.tensors(), position)

    def _resumed(self, stage: Stage, epochs: int, trainee: Trainee) -> StageLog:
        """Load the stage's checkpoint; cut the log where the work goes on, unless the stage is complete."""
        saved = self.checkpoints.load(stage.number)
        if saved is None:
            self.log.cut_to(self.stage_end)
            return StageLog(stage.number)
        tensors, position = saved
        trainee.load(tensors, position["trainee"])
        log = StageLog(**position["log"])
        self.stage_end = position["events"]
        if log.epochs < epochs:
            self.log.cut_to(self.stage_end)
        return log


def train_epoch(
    trainee: Trainee,
    batches: Batches,
    epoch: int,
    rate: float,
    mask_rate: float,
    draws: torch.Generator,
    precision: Precision,
) -> tuple[float, int]:
    """One pass over the batches; the sum of the losses over the images, and the number classified right.

    Both are summed on the device, so nothing waits for it inside the epoch.
    """

    def uniform(count: int) -> Tensor:
        return torch.rand(count, generator=draws, device=draws.device)

    trainee.begin_epoch(epoch, uniform)
    network = trainee.network.train()
    loss_sum = torch.zeros((), device=draws.device)
    hits = torch.zeros((), dtype=torch.long, device=draws.device)
    for images, labels in batches.epoch(epoch):
        with torch.autocast(images.device.type, torch.bfloat16, enabled=precision == "bfloat16"):
            logits: Tensor = network(images)
        logits = logits.float()
        loss = cross_entropy(logits, labels)
        penalty = trainee.penalty()
        (loss if penalty is None else loss + penalty).backward()
        trainee.step(rate, mask_rate, uniform)
        loss_sum += loss.detach() * len(labels)
        hits += (logits.detach().argmax(1) == labels).sum()
    return float(loss_sum), int(hits)
