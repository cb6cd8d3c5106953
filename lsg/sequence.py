"""Learning a sequence of tasks into a run directory: resumable, recorded, certified.

For each task: learn, check that no earlier task has changed, write its tensors, evaluate all tasks so far,
write its record. Started again in the same directory it goes on where it stopped.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import torch

from lsg import certificate
from lsg.checkpoint import Checkpoints
from lsg.data import load_task
from lsg.events import EventLog, Report, ignore
from lsg.job import Job
from lsg.methods import METHODS
from lsg.methods.method import Method
from lsg.plain import load_optimizers
from lsg.reading import rebuilt_method, restore_task
from lsg.recording import Recorder
from lsg.records import EVENTS, JOB, RunDirectory
from lsg.settings import require
from lsg.training import Trainer


def learn_sequence(
    job: Job, directory: Path, report: Report = ignore, checkpoint_seconds: float = 20.0
) -> dict[str, Any]:
    """Learn the job's tasks into `directory` and return what `result.json` then holds.

    Raises:
        ValueError: if the directory is another job's, or the job starts from a run that its method cannot
            start from.
        ForgettingError: if a task's network changed after it was learned.
        DivergedError: if training left the range of numbers.
        KeyError: if there is no such task.
        DamagedFileError: for a damaged task, record or data file.
        OSError: if something cannot be written; what was learned before stays.
    """
    starts = job.start is None or METHODS[job.method].takes_start(job.settings)
    require(starts, "start", job.start, f"none for {job.method}, whose tasks need one directory")
    torch.set_num_threads(job.threads)
    torch.backends.cudnn.allow_tf32 = False  # a GPU's convolutions would have 10 bits of float32's 23
    directory.mkdir(parents=True, exist_ok=True)
    run = RunDirectory(directory)
    _require_same_end(job, run)
    run.take(job.described())
    run.remove_leftovers()
    return Sequence(job, run, report, checkpoint_seconds).learn()


def _require_same_end(job: Job, run: RunDirectory) -> None:
    """What a method that looks ahead has learned holds for the tasks alone that it shared its network among.

    Raises ValueError where the directory was begun with fewer. Where no task of these was finished, what was
    begun is given up.
    """
    if not METHODS[job.method].looks_ahead or not (run.path / JOB).exists():
        return
    known = run.job()["tasks"]
    if known == list(job.tasks):
        return
    if run.learned():
        raise ValueError(
            f"{run.path} was begun for tasks {known}, among which {job.method} shares its network out; "
            f"take another directory for tasks {list(job.tasks)}"
        )
    Checkpoints(run.path, 0.0).clear()


class Sequence:
    """The state of one run: the method, its trainer, and the records so far."""

    def __init__(self, job: Job, run: RunDirectory, report: Report, checkpoint_seconds: float) -> None:
        self.job, self.run = job, run
        self.log = EventLog(run.path / EVENTS, report)
        self.checkpoints = Checkpoints(run.path, checkpoint_seconds)
        self.method: Method = rebuilt_method(run.job())
        given_weights = (0, 0) if job.start is None else self._start_from(RunDirectory(job.start))
        self.trainer = Trainer(job.train, job.seed, self.log, self.checkpoints, job.device)
        self.recorder = Recorder(job, run, self.method, given_weights)

    def learn(self) -> dict[str, Any]:
        """All tasks, then the certificate in a fresh process, then the result."""
        if self.method.steps_by_torch:
            load_optimizers()
        for number in self.job.tasks:
            if self.run.has(number):
                self._restore(number)
            else:
                self._learn(number)
        certificate.verify_in_fresh_process(self.run.path)
        return self.recorder.write_result()

    def _start_from(self, run: RunDirectory) -> tuple[int, int]:
        """Let the method take up another run's tasks; the weights that it has then."""
        for task in run.job()["tasks"]:
            restore_task(self.method, run, task)
        return self.method.weights()

    def _restore(self, number: int) -> None:
        record = self.recorder.restore(number, restore_task(self.method, self.run, number))
        self.trainer.global_epoch += sum(stage["epochs"] for stage in record["stages"])

    def _learn(self, number: int) -> None:
        started = time.perf_counter()
        task = load_task(self.job.source, number)
        self.trainer.begin_task(number, max(self.recorder.records, default=None))
        self.method.remaining = len(self.job.tasks) - 1 - self.job.tasks.index(number)
        lesson = self.method.learn(task, self.job.goals.get(number), self.trainer)
        if not self.method.forgets:
            self.recorder.check_earlier()
        record = self.recorder.record(task, lesson, self.trainer.logs)
        self.log.append({"event": "task", **record})
        training = sum(log.seconds for log in self.trainer.logs)
        self.run.add_seconds(number, max(training, time.perf_counter() - started))
        self.run.write_record(number, record)
        self.recorder.note(number, record)
        self.checkpoints.clear()
