"""Learning a sequence of tasks into a run directory: resumable, recorded, certified.

For each task: learn, check that no earlier task has changed, write its tensors, evaluate all tasks so far,
write its record. Started again in the same directory it goes on where it stopped.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lsg import certificate, digest, evaluation
from lsg.checkpoint import Checkpoints
from lsg.cost import FLOAT_BYTES, Size, stored_bytes
from lsg.data import Task, TaskFolder, TaskSource, load_task
from lsg.events import EventLog, Report, ignore
from lsg.files import write_json
from lsg.methods import METHODS
from lsg.methods.method import Lesson, Method
from lsg.plain import load_optimizers
from lsg.protocol import DECISION_SPLIT, Protocol
from lsg.reading import PROBE, rebuilt_method, restore_task
from lsg.records import EVENTS, FORMAT, JOB, LAST_RECORD, RESULT, Record, RunDirectory
from lsg.settings import require
from lsg.train_settings import TrainSettings
from lsg.training import GENTLER, DivergedError, Trainer


@dataclass(frozen=True)
class Job:
    """One method over one sequence of tasks.

    Args:
        tasks: numbers that rise; for another order, number the tasks of `data` in it.
        data: folder of the prepared tasks, or another source of them.
        network: `name` and options of the architecture.
        settings: of the method, an instance of its `Settings`.
        goals: target accuracy of tasks on the decision split.
        start: directory of a finished run whose tasks come before this one's (Fine-tune's first task).
        threads: of torch on the CPU; sums differ in their last bits between numbers of threads.
    """

    benchmark: str
    method: str
    protocol: Protocol
    seed: int
    tasks: tuple[int, ...]
    data: Path | TaskSource
    network: Mapping[str, Any]
    train: TrainSettings
    settings: Any
    goals: Mapping[int, float] = field(default_factory=dict)
    start: Path | None = None
    threads: int = 1
    device: str = "cpu"

    def __post_init__(self) -> None:
        rising = bool(self.tasks) and list(self.tasks) == sorted(set(self.tasks))
        require(rising, "tasks", self.tasks, "one or more numbers that rise")

    @cached_property
    def source(self) -> TaskSource:
        """Where the tasks come from."""
        return TaskFolder(self.data) if isinstance(self.data, Path) else self.data

    def described(self) -> dict[str, Any]:
        """The job as `job.json` keeps it: without paths, with the shape of the images."""
        manifest = self.source.manifest()
        return {
            "format": FORMAT,
            "benchmark": self.benchmark,
            "method": self.method,
            "protocol": self.protocol,
            "seed": self.seed,
            "tasks": list(self.tasks),
            "network": dict(self.network),
            "image_shape": manifest["image_shape"],
            "data": manifest["digest"],
            "train": asdict(self.train),
            "settings": asdict(self.settings),
            "goals": {str(task): goal for task, goal in self.goals.items()},
            "threads": self.threads,
            "device": self.device,
        }


def learn_sequence(
    job: Job, directory: Path, report: Report = ignore, checkpoint_seconds: float = 20.0
) -> dict[str, Any]:
    """Learn the job's tasks into `directory` and return what `result.json` then holds.

    Raises:
        ValueError: if the directory is another job's.
        ForgettingError: if a task's network changed after it was learned.
        DivergedError: if training left the range of numbers.
        KeyError: if there is no such task.
        DamagedFileError: for a damaged task, record or data file.
        OSError: if something cannot be written; what was learned before stays.
    """
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

    Raises ValueError where the directory was begun with fewer.
    """
    if METHODS[job.method].looks_ahead and (run.path / JOB).exists():
        known = run.job()["tasks"]
        if run.learned() and known != list(job.tasks):
            raise ValueError(
                f"{run.path} was begun for tasks {known}, among which {job.method} shares its network out; "
                f"take another directory for tasks {list(job.tasks)}"
            )


class Sequence:
    """The state of one run: the method, the records so far, and the evaluation matrix."""

    def __init__(self, job: Job, run: RunDirectory, report: Report, checkpoint_seconds: float) -> None:
        self.job, self.run = job, run
        self.log = EventLog(run.path / EVENTS, report)
        self.checkpoints = Checkpoints(run.path, checkpoint_seconds)
        self.method: Method = rebuilt_method(run.job())
        self.trainer = Trainer(job.train, job.seed, self.log, self.checkpoints, job.device)
        self.records: dict[int, Record] = {}
        self.previous: str | None = None
        self.stored_bytes = 0
        self.given_weights = (0, 0)
        """Allocated and used weights of the run that this one starts from, which are not its own."""

    def learn(self) -> dict[str, Any]:
        """All tasks, then the certificate in a fresh process, then the result."""
        if self.job.start is not None:
            self._start_from(RunDirectory(self.job.start))
        if self.method.steps_by_torch:
            load_optimizers()
        for number in self.job.tasks:
            if self.run.has(number):
                self._restore(number)
            else:
                self._learn(number)
        certificate.verify_in_fresh_process(self.run.path)
        return self._finish()

    def _start_from(self, run: RunDirectory) -> None:
        for task in run.job()["tasks"]:
            restore_task(self.method, run, task)
        self.given_weights = self.method.weights()

    def _own_weights(self) -> tuple[int, int]:
        (allocated, used), (given, given_used) = self.method.weights(), self.given_weights
        return allocated - given, used - given_used

    def _restore(self, number: int) -> None:
        self._count(restore_task(self.method, self.run, number))
        self._note(number, self.run.record(number))
        self.trainer.global_epoch += sum(stage["epochs"] for stage in self.records[number]["stages"])

    def _count(self, tensors: Mapping[str, Tensor]) -> None:
        """Add up the bytes of the task files; the newest one of a method that forgets replaces all others."""
        before = 0 if self.method.forgets else self.stored_bytes
        self.stored_bytes = before + stored_bytes(tensors)

    def _note(self, number: int, record: Record) -> None:
        self.records[number] = record
        self.previous = digest.of_file(self.run.record_path(number))

    def _learn(self, number: int) -> None:
        started = time.perf_counter()
        task = load_task(self.job.source, number)
        self.trainer.begin_task(number, max(self.records, default=None))
        self.method.remaining = len(self.job.tasks) - 1 - self.job.tasks.index(number)
        lesson = self.method.learn(task, self.job.goals.get(number), self.trainer)
        for earlier in () if self.method.forgets else self.records:
            certificate.check_network(earlier, self.method.network(earlier), self.records[earlier])
        record = self._written(task, lesson)
        self.log.append({"event": "task", **record})
        training = sum(log.seconds for log in self.trainer.logs)
        self.run.add_seconds(number, max(training, time.perf_counter() - started))
        self.run.write_record(number, record)
        self._note(number, record)
        self.checkpoints.clear()

    def _written(self, task: Task, lesson: Lesson) -> Record:
        """Write the task's tensors; its record, evaluated and fingerprinted."""
        network, shape = self.method.network(task.number), self.method.architecture.image_shape
        logits = certificate.probe_logits(network, shape)
        if not bool(logits.isfinite().all()):  # losses are those before each step: none tells of the last
            raise DivergedError(f"training diverged in the last step of task {task.number}; {GENTLER}")
        tensors = self.method.tensors(task.number) | {PROBE: logits}
        self._count(tensors)
        split = DECISION_SPLIT[self.job.protocol]
        accuracies = evaluation.accuracies(self.method.network(task.number), task, self.job.device)
        record: Record = {
            "format": FORMAT,
            "task": task.number,
            "name": task.name,
            "classes": list(task.classes),
            "pixels": {"mean": list(task.mean), "std": list(task.std)},
            "method": self.job.method,
            "protocol": self.job.protocol,
            "seed": self.job.seed,
            "accuracy": accuracies,
            "row": {**self._row(), str(task.number): accuracies["test"]},
            "goal": self.job.goals.get(task.number),
            "decisions": lesson.decisions,
            "reason": lesson.reason,
            "stages": [self._stage(log.stage, vars(log), lesson, split) for log in self.trainer.logs],
            "growth": lesson.growth,
            "size": asdict(self._size()),
            "cost": self._cost(tensors),
            "digest": self.run.write_tensors(task.number, tensors),
            "previous": self.previous,
        }
        return record | certificate.fingerprint(network, logits)

    def _row(self) -> dict[str, float]:
        """Test accuracy of each earlier task, measured now."""
        row = {}
        for number in self.records:
            task = load_task(self.job.source, number)
            network = self.method.network(number)
            row[str(number)] = evaluation.accuracy(network, task, task.test, self.job.device)
        return row

    def _stage(self, number: int, log: Mapping[str, Any], lesson: Lesson, split: str) -> dict[str, Any]:
        kept, dropped = lesson.stage_gates.get(number, (0, 0))
        told = {name: value for name, value in log.items() if name != "seconds"}
        return told | {
            "accuracy": {split: lesson.stage_accuracy.get(number)},
            "gates_opened": kept,
            "gates_closed": dropped,
        }

    def _size(self) -> Size:
        architecture = self.method.architecture
        dense = architecture.weights(architecture.streams)
        allocated, used = self._own_weights()
        return Size(allocated / dense, used / dense, self.stored_bytes / (FLOAT_BYTES * dense))

    def _cost(self, tensors: Mapping[str, Any]) -> dict[str, int]:
        return {
            "parameters": self._own_weights()[0],
            "stored_bytes": stored_bytes(tensors),
            "macs": sum(log.macs for log in self.trainer.logs),
            "steps": sum(log.steps for log in self.trainer.logs),
        }

    def _finish(self) -> dict[str, Any]:
        matrix = {
            after: {int(t): value for t, value in r["row"].items()} for after, r in self.records.items()
        }
        result = {
            "format": FORMAT,
            "tasks": list(self.job.tasks),
            "matrix": {str(after): record["row"] for after, record in self.records.items()},
            "average": evaluation.average(matrix),
            "forgetting": evaluation.forgetting(matrix),
            "backward_transfer": evaluation.backward_transfer(matrix),
            LAST_RECORD: self.previous,
            "certificate": {"tasks": len(self.records), "verified": not self.method.forgets},
        }
        write_json(self.run.path / RESULT, result)
        return result
