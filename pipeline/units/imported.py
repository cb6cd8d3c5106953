"""Finished units that were learned elsewhere, brought into the store of this machine.

A unit proves itself: its directory's name carries the digest of unit.json, its job is what unit.json says,
its records are those in its log and its result, and its certificate is checked by rebuilding every network.
What does not hold together stays outside. Epochs in the log and seconds are taken as they are.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from lsg.bank import ForgettingError
from lsg.evaluation import average, backward_transfer, forgetting
from lsg.records import EVENTS, JOB, RESULT, SECONDS
from pipeline.archives import unpacked
from pipeline.errors import UserError, first_line
from pipeline.folders import aside, copy_file, is_leftover, rename_unless_there
from pipeline.units.proven import prove
from pipeline.units.records import DEFINITION, UnitDirectory, damage_named, open_unit, read_json
from pipeline.units.store import RunStore
from pipeline.units.tail import Tail
from pipeline.units.unit import label, short

_LEARN_AGAIN = re.compile("; (delete|move|give) .*")
"""The remedies of errors on a unit's files."""
ONCE = (DEFINITION, JOB, RESULT, EVENTS, SECONDS)
"""A finished unit's files beside two a task."""


@dataclass
class Brought:
    """Unit directories, relative to the store: brought in, there before, and not finished; faults by name."""

    new: list[str] = field(default_factory=list)
    known: list[str] = field(default_factory=list)
    unfinished: list[str] = field(default_factory=list)
    faults: dict[str, str] = field(default_factory=dict)


def bring(source: Path, store: RunStore) -> Brought:
    """Bring the finished units below the folder, or inside the tar file, `source` into the store.

    A unit that is finished in the store stays as it is, so the same call may be repeated; a faulty one stays
    outside while others come in. Raises UserError for a source that holds no unit or cannot be read.
    """
    if not source.exists():
        raise UserError(f"{source} is not there; give a folder runs/ of another machine, or its tar file")
    brought = Brought()
    with unpacked(source) as folder:
        top = folder.absolute()
        found = [path.parent for path in top.rglob(DEFINITION)]
        directories = [path for path in found if not is_leftover(path.relative_to(top))]
        if not directories:
            raise UserError(
                f"{source} holds no unit; give a folder runs/ of another machine, or its tar file"
            )
        for directory in sorted(directories, key=lambda path: (_starts_from_another(path), path)):
            _bring_one(directory, store, brought)
    return brought


def _starts_from_another(directory: Path) -> bool:
    """Units that start from others come after them. What cannot be read is found out later."""
    try:
        return open_unit(directory).definition.start is not None
    except UserError:
        return False


def _bring_one(directory: Path, store: RunStore, brought: Brought) -> None:
    name = "/".join(directory.parts[-3:])
    try:
        unit = _named_unit(directory)
        if not unit.finished:
            brought.unfinished.append(name)
        elif (store.root / name / RESULT).exists():
            brought.known.append(name)
        else:
            with damage_named():
                _check(unit, store)
                new = _copy(unit, store.root / name)
            (brought.new if new else brought.known).append(name)
    except (UserError, ForgettingError) as error:
        brought.faults[name] = _told(error, directory)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        brought.faults[name] = f"this version of the project cannot read it ({first_line(error)})"


def _told(error: Exception, directory: Path) -> str:
    """What is wrong, by the name of a file within the unit. What helps a damaged unit of the store, to learn
    it again, is no help here.
    """
    return _LEARN_AGAIN.sub("; bring it again, whole", str(error).replace(f"{directory}/", ""))


def _named_unit(directory: Path) -> UnitDirectory:
    """The unit, if its directory's name and place are those of its unit.json."""
    unit = open_unit(directory)
    definition = unit.definition
    name = f"{label(definition.seed, definition.tasks)}-{short(unit.key)}"
    own = (definition.benchmark, definition.method, name)
    if directory.parts[-3:] != own:
        raise UserError(f"its unit.json is that of {'/'.join(own)}; bring the directory as it was learned")
    return unit


def _check(unit: UnitDirectory, store: RunStore) -> None:
    """Raises UserError and ForgettingError for a unit that has no place or does not hold."""
    place = store.root / unit.place
    if place.exists():
        raise _begun(place)
    start = unit.definition.start
    if start and not list(place.parent.parent.glob(f"*/*-{short(start)}/{RESULT}")):
        raise UserError(f"it starts from unit {short(start)}, which is not here; bring that one with it")
    prove(unit.path)
    _check_records(unit)


def _check_records(unit: UnitDirectory) -> None:
    """Each record stands in the log too, and the result follows from the records."""
    log = Tail(unit.path / EVENTS).read()
    events = {event.get("task"): event for event in log if event.get("event") == "task"}
    matrix = {}
    for task in unit.definition.tasks:
        record = {"event": "task", **read_json(unit.file(task, "json"))}
        if events.get(task) != record:
            raise UserError(f"its record of task {task} is not the one in its {EVENTS}; bring it again")
        matrix[task] = unit.record(task).row
    result = read_json(unit.path / RESULT)
    told = {
        int(after): {int(task): value for task, value in row.items()}
        for after, row in result["matrix"].items()
    }
    means = (result["average"], result["forgetting"], result["backward_transfer"])
    if (told, means) != (matrix, (average(matrix), forgetting(matrix), backward_transfer(matrix))):
        raise UserError(f"its {RESULT} does not follow from its tasks' records; bring it again")


def _begun(place: Path) -> UserError:
    return UserError(f"{place} is begun here and not finished; finish it, or delete it to bring this one")


def _copy(unit: UnitDirectory, place: Path) -> bool:
    """Copy the unit's own files, times included; a kill leaves no part of a unit.

    False where another process has brought or finished the unit since. Raises UserError where one has begun
    it.
    """
    with aside(place) as partial:
        for file in _files(unit):
            copy_file(file, partial / file.name)
        if rename_unless_there(partial, place):
            return True
    if not (place / RESULT).exists():
        raise _begun(place)
    return False


def _files(unit: UnitDirectory) -> Iterator[Path]:
    yield from (unit.path / name for name in ONCE)
    for task in unit.definition.tasks:
        yield from (unit.file(task, suffix) for suffix in ("json", "safetensors"))
