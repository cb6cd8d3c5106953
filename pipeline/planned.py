"""What a run is going to learn: data/planned/<benchmark>.json, written before its units begin.

The stages' own files are written when all units are finished. This one says at any time which units belong to
the run, so that what is finished of it can be recorded, here or after it came from another machine.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from lsg.files import write_json
from pipeline.errors import UserError
from pipeline.execution.hardware import describe
from pipeline.stage import Bench
from pipeline.units.plan import BASELINES, Plan
from pipeline.units.records import DEFINITION, UnitDirectory, open_unit
from pipeline.units.unit import Unit, data_digest

FOLDER = "planned"


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class PlannedUnit(_Strict):
    """A unit by what tables group it by. `place`: its directory below the store."""

    method: str
    seed: int
    place: str


class Planned(_Strict):
    """The file's content.

    units: by name, as far as they are known. waiting: names of those that have to wait for goals or sizes.
    machine: what they are learned on. data: by the digest that units cover, how their tasks were cut.
    """

    format: Literal[1]
    benchmark: str
    machine: dict[str, Any]
    units: dict[str, PlannedUnit]
    waiting: tuple[str, ...]
    data: dict[str, Any] = {}


@dataclass(frozen=True)
class Standing:
    """The finished units of a run, its whole (method, seed), and a phrase for each unit that is missing."""

    finished: list[UnitDirectory]
    complete: set[tuple[str, int]]
    missing: list[str]


def planned_file(data: Path, benchmark: str) -> Path:
    return data / FOLDER / f"{benchmark}.json"


def write_planned(bench: Bench, plan: Plan, units: Iterable[Unit]) -> None:
    """Write which units the plan comes to, as far as they are known."""
    experiment, units = plan.experiment, list(units)
    known = {(unit.method, unit.seed) for unit in units}
    later = [name for name in experiment.methods if name not in BASELINES]
    content = Planned(
        format=1,
        benchmark=experiment.benchmark,
        machine=describe(plan.numerics),
        units={
            unit.name: PlannedUnit(method=unit.method, seed=unit.seed, place=bench.store.relative(unit))
            for unit in units
        },
        waiting=tuple(
            f"{name} seed{seed}" for name in later for seed in experiment.seeds if (name, seed) not in known
        ),
        data={data_digest(plan.manifest): plan.manifest["settings"]},
    )
    write_json(planned_file(bench.data, experiment.benchmark), content.model_dump())


def read_planned(path: Path, benchmark: str) -> Planned:
    """Raises UserError when the file is missing, damaged or the plan of another benchmark."""
    if not path.is_file():
        raise UserError(f"{path} is not there; `cl-lsg run`, `targets` and `learn` write it when they begin")
    try:
        planned = Planned.model_validate_json(path.read_bytes())
    except ValidationError as error:
        wrong = error.errors()[0]
        where = ".".join(map(str, wrong["loc"]))
        raise UserError(
            f"{path} is no plan of a run ({where + ': ' if where else ''}{wrong['msg']}); give the file "
            f"{FOLDER}/{benchmark}.json of the run's data folder; the run's command writes it anew"
        ) from error
    if planned.benchmark != benchmark:
        raise UserError(f"{path} plans {planned.benchmark} and not {benchmark}; give the plan of {benchmark}")
    return planned


def standing(planned: Planned, runs: Path) -> Standing:
    """How far the planned units below `runs` have come. Raises UserError for a damaged unit.json."""
    finished, missing, cut = [], [], set()
    for name, told in planned.units.items():
        state, directory = "not begun", runs / told.place
        if (directory / DEFINITION).exists():
            unit = open_unit(directory)
            if unit.finished:
                finished.append(unit)
                continue
            state = f"{len(unit.learned())} of {len(unit.definition.tasks)} tasks learned"
        missing.append(f"{name} ({state})")
        cut.add((told.method, told.seed))
    missing += [f"{name} (waits for goals or sizes)" for name in planned.waiting]
    complete = {(unit.definition.method, unit.definition.seed) for unit in finished} - cut
    return Standing(finished, complete, missing)
