"""Stage learn: the methods that learn towards the goals of stage targets."""

from __future__ import annotations

from pathlib import Path

from pipeline.params import Params
from pipeline.stage import Bench, read_goals, work, write_units


def learn(params: Params, benchmark: str, bench: Bench, tasks: int | None = None) -> Path:
    """Run the units of the methods beyond the baselines and write data/learned/<benchmark>.json.

    Returns its path. Raises UserError for bad input or missing goals and UnitsFailed when a unit fails.
    """
    plan = bench.plan(params, benchmark, tasks)
    goals = read_goals(bench.file("targets", benchmark), plan, bench.store)
    units = plan.units("learn", goals)
    work("learn", benchmark, units, bench)
    path = bench.file("learned", benchmark)
    write_units(path, units, bench.store, {})
    return path
