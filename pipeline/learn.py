"""Stage learn: the methods that learn towards the goals of stage targets."""

from __future__ import annotations

from pathlib import Path

from pipeline.params.experiment import Params
from pipeline.planned import write_planned
from pipeline.stage import Bench, read_goals, sized_units, work, write_units
from pipeline.units.kept import keep


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
