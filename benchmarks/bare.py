"""A unit's tasks learned without logs, checkpoints and certificates: the loop alone, to be timed."""

from __future__ import annotations

from pathlib import Path

import torch

from lsg.checkpoint import Checkpoints
from lsg.data import Task
from lsg.events import EventLog, ignore
from lsg.methods.method import Lesson
from lsg.reading import rebuilt_method
from lsg.trainee import Trainee
from lsg.training import Stage, StageLog, Trainer
from pipeline.units.store import RunStore, job_of
from pipeline.units.unit import Unit


class BareTrainer(Trainer):
    """The loop without logs, checkpoints and resumption."""

    def _report(self, *_about: object) -> None:
        pass

    def _save(self, *_about: object) -> None:
        pass

    def _resumed(self, stage: Stage, epochs: int, trainee: Trainee) -> StageLog:
        return StageLog(stage.number)


class BareRun:
    """A unit's method and its trainer. `folder` is never written to."""

    def __init__(self, unit: Unit, folder: Path) -> None:
        torch.set_num_threads(unit.numerics.threads)
        self.job = job_of(unit, RunStore(folder))
        self.method = rebuilt_method(self.job.described())
        self.trainer = BareTrainer(
            self.job.train, self.job.seed, EventLog(folder / "events", ignore), Checkpoints(folder, 0)
        )

    def learn(self, task: Task) -> Lesson:
        """Learn the next task of the unit; what it cost stands in `trainer.logs` then."""
        self.trainer.logs = []
        self.method.remaining = len(self.job.tasks) - 1 - self.job.tasks.index(task.number)
        return self.method.learn(task, self.job.goals.get(task.number), self.trainer)
