"""Recorded experiments: results/<benchmark>/<name>/, small enough to be committed.

The tables' CSV and Markdown files as the stage `tables` writes them, and `units.json`: for each unit what
its key covers, its accuracies, the digests of its tasks' files and networks, its seconds and its end; the
machine; how the tasks were cut; and, of a run that is under way or was stopped, what is missing. `units/`
keeps each unit's own JSON files, as they were written: what tables are made from, so that records can be
joined (`pipeline.joined`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType
from typing import Any

from lsg import digest
from lsg.files import write_bytes, write_json
from lsg.records import RESULT, SECONDS
from pipeline.errors import UserError
from pipeline.folders import aside, copy_file, put_in_place
from pipeline.planned import Planned, standing
from pipeline.report.frames import Frames, frames_of, read_frames
from pipeline.report.paper.writing import CLAIMS
from pipeline.report.part import Pair, comparable
from pipeline.tables import METRICS, TABLES, listings, write_facts, write_findings
from pipeline.units.records import DEFINITION, UnitDirectory, read_json
from pipeline.wording import counted

RESULTS = Path("results")
UNITS = "units.json"
KEPT = "units"
FINDINGS = (METRICS, TABLES, CLAIMS)
DIGESTS = ("digest", "network", "probe", "previous")
NOTHING: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True)
class Recording:
    """What goes into a record.

    facts: of every complete run, whose CSV files are written. compared: of those that tables may set side by
    side. Either is None where there are none. machine: what the units were learned on, as far as is known.
    missing: a phrase for each planned unit that is not finished. data: by the digest that units cover, how
    their tasks were cut, as far as known. described: by name, what a record that is joined says of its units.
    """

    units: Sequence[UnitDirectory]
    facts: Frames | None
    compared: Frames | None
    machine: dict[str, Any]
    missing: list[str] = field(default_factory=list)
    data: dict[str, Any] = field(default_factory=dict)
    described: dict[str, Any] = field(default_factory=dict)


def finished_run(
    benchmark: str, folder: Path, runs: Path, machine: dict[str, Any], data: Mapping[str, Any] = NOTHING
) -> Recording:
    """All units that the stages targets and learn listed in `folder`, learned on `machine` as far as known.

    Raises UserError like `read_frames`.
    """
    frames = read_frames(benchmark, listings(folder, benchmark), runs)
    return Recording(frames.units, frames, frames, machine, data=dict(data))


def part_of_run(planned: Planned, runs: Path) -> Recording:
    """Those units of a run that are finished. Raises UserError where none is, and for a damaged one."""
    state = standing(planned, runs)
    if not state.finished:
        raise UserError(f"no unit of {planned.benchmark} is finished below {runs}; record when some are")
    return recording_of(
        planned.benchmark, state.finished, state.complete, planned.machine, state.missing, planned.data
    )


def recording_of(
    benchmark: str,
    units: Sequence[UnitDirectory],
    complete: set[Pair],
    machine: dict[str, Any],
    missing: Sequence[str] = (),
    data: Mapping[str, Any] = NOTHING,
    described: Mapping[str, Any] = NOTHING,
) -> Recording:
    """Finished units, of which `complete` runs go into tables. Raises UserError like `frames_of`."""
    machines = {digest.of_json(told["machine"]) for told in described.values()}
    facts = _frames(benchmark, units, complete, len(machines) <= 1)
    compared = _frames(benchmark, units, comparable(complete), len(machines) <= 1)
    return Recording(units, facts, compared, machine, list(missing), dict(data), dict(described))


def record(recording: Recording, benchmark: str, name: str, results: Path = RESULTS) -> Path:
    """Write `results/<benchmark>/<name>/`, replacing it whole, and return it.

    Raises UserError for a name that is none of a folder, or that `--join` would take apart at its colon.
    """
    if name in ("", ".", "..") or Path(name).name != name or ":" in name:
        raise UserError(
            f"{name!r} is no name of a folder in {results / benchmark} (without colons); "
            "give a word, such as first"
        )
    with _replaced(results / benchmark / name) as folder:
        if recording.facts:
            write_facts(recording.facts, folder)
        if recording.compared:
            _write_findings(recording.compared, _note(recording), folder)
        for unit in recording.units:
            _keep(unit, folder / KEPT / unit.name)
        write_json(folder / UNITS, _told(recording))
    return results / benchmark / name


def incomplete(recording: Recording) -> str:
    """What is missing, in a sentence; nothing where nothing is."""
    if not recording.missing:
        return ""
    finished = counted(len(recording.units), "unit")
    return f"Incomplete, with {finished} finished; missing: {', '.join(recording.missing)}."


def described(unit: UnitDirectory) -> dict[str, Any]:
    """A unit's parameters, accuracies, digests, seconds and the time it was finished, as JSON values."""
    raw = {task: read_json(unit.file(task, "json")) for task in unit.learned()}
    return {
        "key": unit.key,
        "covers": unit.content,
        "accuracy": {str(task): record["accuracy"] for task, record in raw.items()},
        "tasks": {str(task): {name: record[name] for name in DIGESTS} for task, record in raw.items()},
        "seconds": {str(task): seconds for task, seconds in unit.seconds().items()},
        "finished": _utc((unit.path / RESULT).stat().st_mtime),
    }


def _told(recording: Recording) -> dict[str, Any]:
    covered = {unit.content["data"] for unit in recording.units}
    return {
        "format": 1,
        "recorded": _utc(datetime.now(UTC).timestamp()),
        "machine": recording.machine,
        "data": {name: cut for name, cut in recording.data.items() if name in covered},
        "units": {
            unit.name: recording.described.get(unit.name) or described(unit) for unit in recording.units
        },
        "missing": recording.missing,
    }


def _keep(unit: UnitDirectory, place: Path) -> None:
    """Copy the unit's JSON files, byte for byte."""
    place.mkdir(parents=True)
    own = [unit.path / name for name in (DEFINITION, RESULT, SECONDS)]
    for path in (*own, *(unit.file(task, "json") for task in unit.learned())):
        if path.is_file():
            copy_file(path, place / path.name)


def _frames(
    benchmark: str, units: Sequence[UnitDirectory], pairs: set[Pair], timed_alike: bool
) -> Frames | None:
    chosen = [unit for unit in units if (unit.definition.method, unit.definition.seed) in pairs]
    return frames_of(benchmark, chosen, timed_alike) if chosen else None


def _note(recording: Recording) -> str:
    """What tables of a part of what is recorded have to say first."""
    missing, frames = incomplete(recording), recording.compared
    if frames is None or (not missing and len(frames.units) == len(recording.units)):
        return ""
    seeds = ", ".join(map(str, frames.seeds))
    return f"{missing} Compared here: {', '.join(frames.methods)}, seeds {seeds}.".strip()


def _write_findings(frames: Frames, note: str, folder: Path) -> None:
    """Tables and audit, with the note below their titles."""
    with TemporaryDirectory() as scratch:
        write_findings(frames, Path(scratch))
        for name in FINDINGS:
            content = (Path(scratch) / name).read_text(encoding="utf-8")
            if note and name != METRICS:
                title, _, rest = content.partition("\n")
                content = f"{title}\n\n{note}\n{rest}"
            write_bytes(folder / name, content.encode())


@contextmanager
def _replaced(folder: Path) -> Iterator[Path]:
    """A new folder that takes the place of `folder` when it is whole."""
    with aside(folder) as partial:
        yield partial
        put_in_place(partial, folder)


def _utc(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
