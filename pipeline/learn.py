"""Stage learn: the methods that learn towards the goals of stage targets."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from pipeline.params import Params
from pipeline.planned import write_planned
from pipeline.stage import Bench, read_goals, work, write_units
from pipeline.units.kept import keep
from pipeline.units.records import open_unit
from pipeline.units.store import RunStore
from pipeline.units.unit import Goals, Plan, Sizes, Unit


def learn(params: Params, benchmark: str, bench: Bench, tasks: int | None = None) -> Path:
    """Run the units of the methods beyond the baselines and write data/learned/<benchmark>.json.

    Returns its path. Raises UserError for bad input or missing goals and UnitsFailed when a unit fails.
    """
    plan = bench.plan(params, benchmark, tasks)
    goals = read_goals(bench.file("targets", benchmark), plan, bench.store)
    baselines, units = plan.units("targets"), plan.units("learn", goals)
    write_planned(bench, plan, [*baselines, *units])
    work("learn", benchmark, units, bench)
    sized = sized_units(plan, goals, units, bench.store)
    if sized:
        write_planned(bench, plan, [*baselines, *units, *sized])
        work("learn, within the sizes of others,", benchmark, sized, bench)
    path = bench.file("learned", benchmark)
    write_units(path, [*units, *sized], bench.store, {})
    keep(bench.data, "learn", benchmark, [*units, *sized], bench.store)
    return path


def sized_units(plan: Plan, goals: Goals, finished: Iterable[Unit], store: RunStore) -> list[Unit]:
    """Units of methods that stay within the sizes of finished ones. Raises UserError for a damaged record."""
    return plan.units("sized", goals, _sizes(finished, store)) if plan.units("sized", goals) else []


def _sizes(units: Iterable[Unit], store: RunStore) -> Sizes:
    """What the units allocate after each of their tasks."""
    sizes = {}
    for unit in units:
        learned = open_unit(store.directory(unit))
        sizes[unit.method, unit.seed] = tuple(learned.record(task).size.allocated for task in unit.tasks)
    return sizes
