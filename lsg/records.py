"""A run directory: what it is for (`job.json`), and one record and one tensor file for each task.

    job.json                what was asked for: enough to rebuild every network
    task_01.safetensors     the task's tensors; written once
    task_01.json            the task's record: accuracy, decisions, sizes, digests; written once
    events.jsonl            epochs and tasks as they happen
    checkpoint_01_1.safetensors   of a stage under way
    seconds.json            working time of each task
    result.json             written last

Only `seconds.json` differs between two equal runs.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from torch import Tensor

from lsg import digest
from lsg.events import EventLog
from lsg.files import DamagedFileError, read_json, read_tensors, write_json, write_tensors

FORMAT = 1
JOB, EVENTS, SECONDS, RESULT = "job.json", "events.jsonl", "seconds.json", "result.json"
LAST_RECORD = "last_record"
"""Key of the result: digest of the last task's record, where the chain of records ends."""
Record = dict[str, Any]


def _goes_on(name: str, known: Any, asked: Any) -> bool:
    """Whether a job with one value of `job.json` can go on where one with the other stopped."""
    if name == "tasks":
        return bool(asked[: len(known)] == known)
    return bool(known.items() <= asked.items() if name == "goals" else known == asked)


class RunDirectory:
    """Paths, reading and writing of one run's files."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def remove_leftovers(self) -> None:
        """Undo what a killed process had begun and not ended. The caller is the directory's only writer.

        Raises DamagedFileError for a damaged log.
        """
        for path in self.path.glob(".*.part"):
            path.unlink()
        for path in self.path.glob("checkpoint_*.safetensors"):
            if self.has(int(path.stem.split("_")[1])):
                path.unlink()
        EventLog(self.path / EVENTS).drop_unrecorded(self.has)

    def record_path(self, task: int) -> Path:
        return self.path / f"task_{task:02d}.json"

    def tensors_path(self, task: int) -> Path:
        return self.path / f"task_{task:02d}.safetensors"

    def has(self, task: int) -> bool:
        """Whether the task is learned: its record is the last of its files to be written."""
        return self.record_path(task).exists()

    def record(self, task: int) -> Record:
        """The task's record. Raises FileNotFoundError or DamagedFileError."""
        record = read_json(self.record_path(task))
        if record.get("format") != FORMAT:
            raise DamagedFileError(self.record_path(task), f"format {record.get('format')}, not {FORMAT}")
        return record

    def end_of_chain(self) -> str:
        """The digest of the last record, which the digests of all records before lead to."""
        return digest.of_file(self.record_path(self.learned()[-1]))

    def learned(self) -> list[int]:
        """The tasks whose records are there, in the order of learning."""
        return [task for task in self.job()["tasks"] if self.has(task)]

    def check_records(self) -> None:
        """Check that each record is the one whose digest the next one holds, or for the last one the result.

        The last record of an unfinished run, or of one finished before results held its digest, is taken as
        it is. Raises DamagedFileError, which names the record, or FileNotFoundError.
        """
        result = self.result() if (self.path / RESULT).exists() else {"tasks": self.learned()}
        tasks = result["tasks"]
        found = [None, *(digest.of_file(self.record_path(task)) for task in tasks)]
        held = [*(self.record(task).get("previous") for task in tasks), result.get(LAST_RECORD, found[-1])]
        for place in reversed(range(len(found))):
            if found[place] != held[place]:
                changed = self.record_path(tasks[max(place - 1, 0)])
                raise DamagedFileError(changed, "it was changed after it was written")

    def check_job(self) -> None:
        """Raise DamagedFileError where `job.json` asks for other tasks than those of the result."""
        if not (self.path / RESULT).exists():
            return
        asked, told = self.job()["tasks"], self.result()["tasks"]
        if asked != told:
            raise DamagedFileError(self.path / JOB, f"its tasks are {asked}, the result's {told}")

    def tensors(self, task: int) -> dict[str, Tensor]:
        """The task's tensors, checked against its record's digest. Raises DamagedFileError."""
        self.check_tensors(task)
        return read_tensors(self.tensors_path(task))

    def check_tensors(self, task: int) -> None:
        """Raise DamagedFileError where the file of the task's tensors is not the one of its record."""
        path = self.tensors_path(task)
        if not path.exists():
            raise DamagedFileError(path, "it is missing though its record is there")
        if digest.of_file(path) != self.record(task)["digest"]:
            raise DamagedFileError(path, "its digest is not the record's")

    def write_tensors(self, task: int, tensors: dict[str, Tensor]) -> str:
        """Write the task's tensors and return their file's digest."""
        write_tensors(self.tensors_path(task), tensors)
        return digest.of_file(self.tensors_path(task))

    def write_record(self, task: int, record: Record) -> None:
        """Write the task's record, after which the task counts as learned."""
        write_json(self.record_path(task), record)

    def take(self, job: Record) -> None:
        """Make the directory this job's, which may be the one it has had with more tasks and their goals.

        The result of fewer tasks is dropped, once the records it closes are checked: the run goes on.
        Raises ValueError, which names a difference, if it is another's, and like `check_records`.
        """
        path, asked = self.path / JOB, json.loads(json.dumps(job))
        for name, known in self.job().items() if path.exists() else ():
            if not _goes_on(name, known, asked.get(name)):
                raise ValueError(
                    f"{self.path} is the directory of another job, with {name} {known!r} and not "
                    f"{asked.get(name)!r}; take another directory, or delete this one"
                )
        if (self.path / RESULT).exists() and self.result()["tasks"] != asked["tasks"]:
            self.check_records()
            (self.path / RESULT).unlink()
        write_json(path, job)

    def job(self) -> dict[str, Any]:
        """What the directory is for. Raises FileNotFoundError or DamagedFileError."""
        return read_json(self.path / JOB)

    def result(self) -> dict[str, Any]:
        """What the finished run came to: at least its tasks and their matrix of accuracies.

        Raises FileNotFoundError while it is not finished, and DamagedFileError.
        """
        result = read_json(self.path / RESULT)
        if not {"tasks", "matrix"} <= result.keys():
            raise DamagedFileError(self.path / RESULT, "it holds no accuracy matrix")
        return result

    def seconds(self) -> dict[str, float]:
        """Working time of each task, by its number as text; empty before the first."""
        path = self.path / SECONDS
        return {task: float(str(value)) for task, value in read_json(path).items()} if path.exists() else {}

    def add_seconds(self, task: int, seconds: float) -> None:
        """Note the working time of one task."""
        write_json(self.path / SECONDS, self.seconds() | {str(task): round(seconds, 3)})
