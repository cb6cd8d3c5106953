"""Records joined into one: units that were learned at other times and on other machines, in the same tables.

A record keeps its units' own JSON files, by which tables are made, so records can be joined long after the
store of units is gone. A unit is taken once however many records hold it. Of a record some methods may be
taken, so that what is learned anew stands beside what was learned before.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipeline.errors import UserError
from pipeline.recorded import KEPT, RESULTS, UNITS, Recording, recording_of
from pipeline.report.agreement import require_one_experiment
from pipeline.report.frames import complete_runs
from pipeline.units.records import DEFINITION, UnitDirectory, open_unit, read_json
from pipeline.units.unit import short


def joined(benchmark: str, names: Sequence[str], results: Path = RESULTS) -> Recording:
    """What the records `results/<benchmark>/<name>/` hold, as one; of `<name>:<method>,...` these methods.

    Raises UserError for a record that is missing, damaged, lacks a method that is asked for or keeps no
    units' files, and for units that were learned from different data, in different networks, with different
    training, by one method with different settings, under one seed towards different goals, within other
    sizes than those of the joined unit, or from the network of a unit that is not joined.
    """
    units: dict[str, UnitDirectory] = {}
    described: dict[str, Any] = {}
    data: dict[str, Any] = {}
    missing: list[str] = []
    for text in names:
        name, _, methods = text.partition(":")
        folder, chosen = results / benchmark / name, _chosen(methods)
        told = _told(folder)
        data |= told.get("data", {})
        missing += [phrase for phrase in told.get("missing", []) if _is_of(phrase.split()[0], chosen)]
        for unit in _units(folder, chosen):
            units.setdefault(unit.name, unit)
            described.setdefault(unit.name, _described(told, unit, folder, name))
    found = list(units.values())
    require_one_experiment(found)
    lacking = _still_missing(missing, found)
    recording = recording_of(benchmark, found, complete_runs(found), {}, lacking, data, described)
    _require_starts(found)
    return recording


def _chosen(methods: str) -> list[str]:
    """The methods behind a record's name; none are named where all are taken."""
    return [method for method in methods.split(",") if method]


def _require_starts(units: Sequence[UnitDirectory]) -> None:
    """Raise UserError for a unit that starts from one that is not among them: its size counts on top."""
    keys = {unit.key for unit in units}
    for unit in units:
        if unit.definition.start is not None and unit.definition.start not in keys:
            raise UserError(
                f"{unit.path} starts from unit {short(unit.definition.start)}, which is not joined; join "
                "the method of that one too"
            )


def _is_of(method: str, chosen: Sequence[str]) -> bool:
    return not chosen or method in chosen


def _still_missing(missing: Sequence[str], found: Sequence[UnitDirectory]) -> list[str]:
    """The phrases, such as `cl-lsg seed1 (3 of 10 tasks learned)`, of units that no record has finished."""
    names = {f"{unit.definition.method} {unit.path.name.rpartition('-')[0]}" for unit in found}
    return [phrase for phrase in dict.fromkeys(missing) if phrase.partition(" (")[0] not in names]


def _told(folder: Path) -> dict[str, Any]:
    if not (folder / UNITS).is_file():
        raise UserError(f"{folder} is no record; `cl-lsg record` makes one")
    told: dict[str, Any] = read_json(folder / UNITS)
    kinds = {"units": dict, "missing": list, "data": dict}
    there = {"missing": [], "data": {}, **told} if isinstance(told, dict) else {}
    if not all(isinstance(there.get(name), kind) for name, kind in kinds.items()):
        raise UserError(f"{folder / UNITS} is damaged: it describes no units; record the run again")
    return told


def _units(folder: Path, chosen: Sequence[str]) -> list[UnitDirectory]:
    found = [open_unit(path.parent) for path in sorted((folder / KEPT).glob(f"*/*/{DEFINITION}"))]
    if not found:
        raise UserError(
            f"{folder} keeps no files of its units, as records of an older version; record the run again"
        )
    there = sorted({unit.definition.method for unit in found})
    if strange := [method for method in chosen if method not in there]:
        raise UserError(f"{folder} holds nothing of {', '.join(strange)}; its methods: {', '.join(there)}")
    return [unit for unit in found if _is_of(unit.definition.method, chosen)]


def _described(told: dict[str, Any], unit: UnitDirectory, folder: Path, name: str) -> dict[str, Any]:
    """The unit's description in its record, with the machine that learned it and the record it is from."""
    try:
        own = told["units"][unit.name]
        if own["key"] != unit.key:
            raise UserError(f"{unit.path / DEFINITION} is damaged: its digest is not the one in {UNITS}")
        return {"machine": told["machine"], "record": name, **own}
    except (KeyError, TypeError):
        raise UserError(f"{folder / UNITS} is damaged: it does not describe {unit.name}") from None
