"""The one training loop, for every method: stages of epochs that survive a kill.

A method makes a trainee and describes a stage; the trainer runs it, writes events and checkpoints, and,
started again in the same directory, goes on at the last checkpoint with the same numbers as a run that was
never interrupted.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field

import torch

from lsg import seeds
from lsg.batches import Batches
from lsg.checkpoint import Checkpoints
from lsg.cost import BACKWARD_COST
from lsg.data import Task
from lsg.evaluation import accuracies
from lsg.events import EventLog
from lsg.graphs import CudaGraph
from lsg.schedules import MaskRates, drops_before
from lsg.stepper import Stepper
from lsg.train_settings import TrainSettings
from lsg.trainee import Trainee

GENTLER = "lower train.lr, or the rate of the method's own section of learn"
"""What helps against divergence."""


class DivergedError(RuntimeError):
    """Training left the range of numbers: the loss of an epoch, or a logit, is infinite or none."""


@dataclass(frozen=True)
class Stage:
    """One stage of a task. `lr`, `lr_drops` and `epochs` are those of the settings unless given."""

    number: int
    mask_rates: MaskRates = field(default_factory=MaskRates)
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
        """Train one stage, from its checkpoint if there is one.

        Raises DivergedError; log and checkpoint then stand behind an epoch before.
        """
        epochs = stage.epochs or self.settings.epochs
        log = self._resumed(stage, epochs, trainee)
        stepper = self._stepper(trainee, task, stage)
        for epoch in range(log.epochs + 1, epochs + 1):
            started = time.perf_counter()
            self._train_epoch(stage, epoch, epochs, stepper, log)
            log.seconds += time.perf_counter() - started
            _require_finite(task, log)
            self._report(task, epochs, trainee, log)
            if epoch == epochs or self.checkpoints.due():
                self._save(stage, trainee, log)
        self.global_epoch += epochs
        self.logs.append(log)

    def _stepper(self, trainee: Trainee, task: Task, stage: Stage) -> Stepper:
        settings, device = self.settings, torch.device(self.device)
        seed = seeds.derived("stage", self.seed, stage.number)
        batches = Batches(task, settings.batch_size, settings.crop_padding, settings.flip, seed, device)
        make_graph = CudaGraph if device.type == "cuda" else None
        return Stepper(trainee, batches, settings.precision, make_graph)

    def _train_epoch(self, stage: Stage, epoch: int, epochs: int, stepper: Stepper, log: StageLog) -> None:
        shares = self.settings.lr_drops if stage.lr_drops is None else stage.lr_drops
        drops = drops_before(epoch, epochs, shares)
        rate = (stage.lr or self.settings.lr) * self.settings.lr_drop_factor**drops
        mask_rate = stage.mask_rates.at(epoch, epochs)
        batches, trainee = stepper.batches, stepper.trainee
        seed = seeds.derived("masks", self.seed, batches.task, stage.number, epoch)
        loss, hits = stepper.epoch(epoch, rate, mask_rate, seed)
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
        reached = accuracies(trainee.network, task, self.device)
        return {f"{split}_accuracy": value for split, value in reached.items()}

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


def _require_finite(task: Task, log: StageLog) -> None:
    if not math.isfinite(log.train_loss):
        raise DivergedError(
            f"training diverged in task {task.number}, stage {log.stage}, epoch {log.epochs}: its loss is "
            f"{log.train_loss}; {GENTLER}"
        )
