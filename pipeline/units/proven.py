"""Units held against their own files: what each is for, that none is lost, and that networks are as learned.

Every fault is one error that names the file and the remedy.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lsg import certificate
from lsg.files import DamagedFileError
from lsg.reading import UnknownRunError, empty_method, read_job
from lsg.records import EVENTS, JOB, RunDirectory
from pipeline.errors import UserError, first_line
from pipeline.folders import is_leftover
from pipeline.units.records import DEFINITION, damage_named, open_unit

SHARED = ("benchmark", "method", "protocol", "seed", "tasks", "network", "train", "settings", "goals")
"""What unit.json and job.json both say; with two numbers of unit.json's `numerics`."""
NUMERICS = ("threads", "device")
MARKS = (JOB, EVENTS)
"""Either tells a unit's directory, also where the other is lost. A record in results/ keeps neither."""
KEYED = re.compile(r"seed\d+(-task\d+)?-[0-9a-f]{12}")
"""A directory's name in a store: its unit.json tells the rest of the key."""


def units_below(folder: Path) -> list[Path]:
    """The unit directories in the folder, itself among them; none that a process had begun to bring."""
    found = {path.parent for mark in MARKS for path in folder.rglob(mark)}
    return sorted(path for path in found if not is_leftover(path.relative_to(folder)))


def prove(directory: Path) -> certificate.Report:
    """Rebuild every network of a unit and compare. Raises UserError, and ForgettingError for what moved."""
    with _faults_named(directory):
        _require_job(directory)
        _require_no_gap(RunDirectory(directory))
        return certificate.verify(directory)


def require_whole(directory: Path) -> None:
    """Check a unit's job and records, not its networks. Raises UserError."""
    if not any((directory / mark).is_file() for mark in MARKS):
        told = "is a record, which holds no networks" if (directory / DEFINITION).is_file() else "is no unit"
        raise UserError(f"{directory} {told}; give a unit's directory: runs/BENCH/METHOD/SEED-KEY")
    with _faults_named(directory):
        _require_job(directory)
        _require_no_gap(RunDirectory(directory))
        RunDirectory(directory).check_records()


def require_unchanged(directory: Path) -> None:
    """Check all files of a unit's records against their digests, without rebuilding. Raises UserError."""
    require_whole(directory)
    run = RunDirectory(directory)
    with _faults_named(directory):
        for task in run.learned():
            run.check_tensors(task)


def _require_job(directory: Path) -> None:
    """job.json is what networks are rebuilt from; unit.json is what the key covers."""
    run = RunDirectory(directory)
    job = read_job(run)
    if KEYED.fullmatch(directory.name) and not (directory / DEFINITION).exists():
        raise DamagedFileError(directory / DEFINITION, "it is missing")
    if (directory / DEFINITION).exists():  # the library alone writes none
        told = open_unit(directory).content
        told |= told["numerics"]
        strange = [name for name in (*SHARED, *NUMERICS) if job.get(name) != told[name]]
        if strange:
            raise DamagedFileError(directory / JOB, f"it differs from {DEFINITION} in {', '.join(strange)}")
    empty_method(run)


def _require_no_gap(run: RunDirectory) -> None:
    """A task is learned after all before it, so a record that is missing before another was there."""
    learned, tasks = run.learned(), run.job()["tasks"]
    for task in tasks[: tasks.index(learned[-1])] if learned else ():
        if task not in learned:
            raise DamagedFileError(run.record_path(task), "it is missing though a later task's is there")


@contextmanager
def _faults_named(directory: Path) -> Iterator[None]:
    """Turns every fault of a unit's files into a UserError."""
    try:
        with damage_named():
            yield
    except UnknownRunError as error:
        raise UserError(str(error)) from error
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(
            f"{directory} cannot be rebuilt ({first_line(error)}); use the checkout that learned it, or "
            "delete it to compute it again"
        ) from error
