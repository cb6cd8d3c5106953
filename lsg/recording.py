"""What a run has learned, in numbers: each task's tensors and record, and at the end the result.

A record has what the task cost and how large the network is, accuracies of all tasks so far, and a
fingerprint of the task's network. Each names the record before it by its digest, so they are a chain.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from torch import Tensor

from lsg import certificate, digest, evaluation
from lsg.cost import FLOAT_BYTES, Size, stored_bytes
from lsg.data import Task, load_task
from lsg.files import write_json
from lsg.job import Job
from lsg.methods.method import Lesson, Method
from lsg.protocol import DECISION_SPLIT
from lsg.reading import PROBE
from lsg.records import FORMAT, LAST_RECORD, RESULT, Record, RunDirectory
from lsg.training import GENTLER, DivergedError, StageLog


class Recorder:
    """The records of one run so far, and what the next one is made of.

    given_weights: allocated and used weights of the run that this one starts from, which are not its own.
    """

    def __init__(self, job: Job, run: RunDirectory, method: Method, given_weights: tuple[int, int]) -> None:
        self.job, self.run, self.method, self.given_weights = job, run, method, given_weights
        self.records: dict[int, Record] = {}
        self.previous: str | None = None
        self.stored_bytes = 0

    def record(self, task: Task, lesson: Lesson, logs: Sequence[StageLog]) -> Record:
        """Write the tensors of a task that was just learned; its record, evaluated and fingerprinted.

        Raises DivergedError where its network's outputs are not numbers.
        """
        network, shape = self.method.network(task.number), self.method.architecture.image_shape
        logits = certificate.probe_logits(network, shape)
        if not bool(logits.isfinite().all()):  # losses are those before each step: none tells of the last
            raise DivergedError(f"training diverged in the last step of task {task.number}; {GENTLER}")
        tensors = self.method.tensors(task.number) | {PROBE: logits}
        self._count(tensors)
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
            "stages": [self._stage(log, lesson) for log in logs],
            "growth": lesson.growth,
            "size": asdict(self._size()),
            "cost": self._cost(tensors, logs),
            "digest": self.run.write_tensors(task.number, tensors),
            "previous": self.previous,
        }
        return record | certificate.fingerprint(network, logits)

    def note(self, task: int, record: Record) -> None:
        """Take up a record that is in the directory."""
        self.records[task] = record
        self.previous = digest.of_file(self.run.record_path(task))

    def restore(self, task: int, tensors: Mapping[str, Tensor]) -> Record:
        """Take up a task that was learned before, with what its file holds; its record."""
        self._count(tensors)
        record = self.run.record(task)
        self.note(task, record)
        return record

    def check_earlier(self) -> None:
        """Raise ForgettingError where the network of a task in the records is not what it was."""
        for task, record in self.records.items():
            certificate.check_network(task, self.method.network(task), record)

    def write_result(self) -> dict[str, Any]:
        """The run's result, from its records."""
        matrix = {after: {int(t): v for t, v in r["row"].items()} for after, r in self.records.items()}
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

    def _count(self, tensors: Mapping[str, Tensor]) -> None:
        """Add up the bytes of the task files; the newest one of a method that forgets replaces all others."""
        before = 0 if self.method.forgets else self.stored_bytes
        self.stored_bytes = before + stored_bytes(tensors)

    def _row(self) -> dict[str, float]:
        """Test accuracy of each earlier task, measured now."""
        row = {}
        for number in self.records:
            task = load_task(self.job.source, number)
            network = self.method.network(number)
            row[str(number)] = evaluation.accuracy(network, task, task.test, self.job.device)
        return row

    def _stage(self, log: StageLog, lesson: Lesson) -> dict[str, Any]:
        opened, closed = lesson.stage_gates.get(log.stage, (0, 0))
        told = {name: value for name, value in vars(log).items() if name != "seconds"}
        return told | {
            "accuracy": {DECISION_SPLIT[self.job.protocol]: lesson.stage_accuracy.get(log.stage)},
            "gates_opened": opened,
            "gates_closed": closed,
        }

    def _own_weights(self) -> tuple[int, int]:
        (allocated, used), (given, given_used) = self.method.weights(), self.given_weights
        return allocated - given, used - given_used

    def _size(self) -> Size:
        architecture = self.method.architecture
        dense = architecture.weights(architecture.streams)
        allocated, used = self._own_weights()
        return Size(allocated / dense, used / dense, self.stored_bytes / (FLOAT_BYTES * dense))

    def _cost(self, tensors: Mapping[str, Tensor], logs: Sequence[StageLog]) -> dict[str, int]:
        return {
            "parameters": self._own_weights()[0],
            "stored_bytes": stored_bytes(tensors),
            "macs": sum(log.macs for log in logs),
            "steps": sum(log.steps for log in logs),
        }
