"""The store of units: runs/<benchmark>/<method>/<label>-<key>.

A finished unit is never repeated, an unfinished one resumes, and one process at a time works on a unit.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lsg
from lsg import sequence
from lsg.data import TaskFolder, TaskSource
from lsg.events import Report
from lsg.files import DamagedFileError, read_json, write_bytes
from lsg.job import Job
from lsg.records import RESULT, RunDirectory
from pipeline.errors import UserError
from pipeline.locks import try_lock
from pipeline.units.code import method_digest
from pipeline.units.records import DEFINITION, damage_named
from pipeline.units.unit import Unit, data_digest, short

FAULT, LOCK = "error.txt", ".lock"


@dataclass(frozen=True)
class RunStore:
    """Unit directories below `root`."""

    root: Path

    @classmethod
    def from_environment(cls) -> RunStore:
        """The store at CL_LSG_RUNS, or `runs` of the checkout. Raises UserError if a file is in the way."""
        root = Path(os.environ.get("CL_LSG_RUNS") or checkout() / "runs").absolute()
        there = next(path for path in (root, *root.parents) if path.exists())
        if not there.is_dir():
            raise UserError(f"units cannot lie in {root}: {there} is a file; set CL_LSG_RUNS to a folder")
        return cls(root)

    def directory(self, unit: Unit) -> Path:
        return self.root / unit.benchmark / unit.method / f"{unit.label}-{short(unit.key)}"

    def relative(self, unit: Unit) -> str:
        """The unit's directory as written in tables: relative to the store, with forward slashes."""
        return self.directory(unit).relative_to(self.root).as_posix()

    def finished(self, unit: Unit) -> bool:
        """Whether the result is there. Raises UserError when it or a record is damaged or another unit's."""
        return self.result(unit) is not None

    def result(self, unit: Unit) -> dict[str, Any] | None:
        """result.json's content, None before it is written. Raises UserError like `finished`.

        The unit's records are checked, from the digest in the result on; its tensors where they are read.
        """
        directory = self.directory(unit)
        if not (directory / RESULT).exists():
            return None
        with damage_named():
            run = RunDirectory(directory)
            result = run.result()
            _require_same(directory / DEFINITION, unit)
            run.check_records()
        return result

    def locked(self, unit: Unit) -> bool:
        """Whether another process works on the unit right now."""
        path = self.directory(unit) / LOCK
        if not path.exists():
            return False
        with path.open("a") as file:
            return not try_lock(file)

    @contextmanager
    def lock(self, unit: Unit) -> Iterator[Path]:
        """Hold the unit's directory; waits while another process does. A process's death frees it."""
        directory = self.directory(unit)
        try:
            directory.mkdir(parents=True, exist_ok=True)
            file = (directory / LOCK).open("a")
        except OSError as error:
            raise UserError(
                f"{directory} cannot be written ({error.strerror}); free it, or set CL_LSG_RUNS"
            ) from error
        with file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield directory


def checkout() -> Path:
    """The folder of the project. DVC runs queued experiments in copies below its `.dvc/tmp`; those share the
    original's units and its MLflow.
    """
    return Path(str(Path.cwd()).partition("/.dvc/tmp/")[0])


def run_unit(
    unit: Unit,
    store: RunStore,
    report: Report,
    checkpoint_seconds: float = 20.0,
    tasks: TaskSource | None = None,
) -> dict[str, Any]:
    """Learn the unit, from where its directory stands, and return its result; a finished unit is only read.

    `report` gets each event; `tasks` come by default from the unit's prepared folder. A failure leaves its
    traceback in the unit's error.txt and is raised again.
    """
    with store.lock(unit) as directory:
        result = store.result(unit)
        if result is not None:
            return result
        _require_same_code(unit)
        _define(directory, unit)
        try:
            return sequence.learn_sequence(job_of(unit, store, tasks), directory, report, checkpoint_seconds)
        except Exception:
            with suppress(OSError):  # a full disk must not hide what failed
                (directory / FAULT).write_text(traceback.format_exc(), encoding="utf-8")
            raise


def learn_and_listen(
    unit: Unit,
    store: RunStore,
    report: Report,
    checkpoint_seconds: float,
    tasks: TaskSource | None = None,
) -> list[str]:
    """Learn the unit like `run_unit` and return what the library warned of, such as a damaged checkpoint."""
    ear, logger = _Ear(), logging.getLogger(lsg.__name__)
    logger.addHandler(ear)
    try:
        run_unit(unit, store, report, checkpoint_seconds, tasks)
    finally:
        logger.removeHandler(ear)
    return ear.heard


class _Ear(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.heard: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.heard.append(record.getMessage())


def job_of(unit: Unit, store: RunStore, tasks: TaskSource | None = None) -> Job:
    """The unit as the library takes it. `tasks` are its data, else those of its folder.

    Raises UserError where they are not the ones that the unit's key covers.
    """
    source = tasks or TaskFolder(unit.prepared)
    if data_digest(source.manifest()) != unit.data:
        raise UserError(
            f"{unit.prepared} does not hold the tasks that {unit.name} was planned for: another command has "
            "prepared them anew since; give this command again, or use another checkout for other data"
        )
    return Job(
        benchmark=unit.benchmark,
        method=unit.method,
        protocol=unit.protocol,
        seed=unit.seed,
        tasks=unit.tasks,
        data=source,
        network=unit.network,
        train=unit.train,
        settings=unit.settings,
        goals=unit.goals,
        start=store.directory(unit.start) if unit.start else None,
        threads=unit.numerics.threads,
        device=unit.numerics.device,
    )


def _require_same_code(unit: Unit) -> None:
    """A worker that starts later than its driver imports what lies in the files then."""
    if method_digest(unit.method, unit.network["name"]) != unit.code:
        raise UserError(
            f"{unit.name} was planned with other code than its worker has: files of the library have been "
            "changed since; give this command again"
        )


def _define(directory: Path, unit: Unit) -> None:
    """Write unit.json where there is none, or check that the directory is this unit's."""
    (directory / FAULT).unlink(missing_ok=True)
    if (directory / DEFINITION).exists():
        with damage_named():
            _require_same(directory / DEFINITION, unit)
    else:
        write_bytes(directory / DEFINITION, unit.text.encode())


def _require_same(path: Path, unit: Unit) -> None:
    """Raises FileNotFoundError and DamagedFileError."""
    if read_json(path) != json.loads(unit.text):
        raise DamagedFileError(path, "it does not describe the unit that its directory's name stands for")
