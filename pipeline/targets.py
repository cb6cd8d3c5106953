"""Stage targets: learn the baselines; their accuracies give each task's goal for the other methods."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from lsg.protocol import DECISION_SPLIT
from pipeline.errors import UserError
from pipeline.params.experiment import Params
from pipeline.planned import write_planned
from pipeline.stage import Bench, known_units, work, write_units
from pipeline.units.kept import keep
from pipeline.units.plan import Plan
from pipeline.units.records import UnitDirectory, open_unit
from pipeline.units.store import RunStore
from pipeline.units.unit import Unit


def targets(params: Params, benchmark: str, bench: Bench, tasks: int | None = None) -> Path:
    """Run the baselines' units and write data/targets/<benchmark>.json; returns its path.

    Raises UserError for bad input and UnitsFailed when a unit fails.
    """
    plan = bench.plan(params, benchmark, tasks)
    units = plan.units("targets")
    if "fine-tune" in params.methods and not any(unit.method == "fine-tune" for unit in units):
        print(
            "fine-tune has nothing to learn: it starts from task 1 and learns the later ones", file=sys.stderr
        )
    write_planned(bench, plan, known_units(plan, bench)[0])
    work("targets", benchmark, units, bench)
    path = bench.file("targets", benchmark)
    write_units(path, units, bench.store, goals_of(plan, units, bench.store))
    write_planned(bench, plan, known_units(plan, bench)[0])
    keep(bench.data, "targets", benchmark, units, bench.store)
    return path


def goals_of(plan: Plan, units: list[Unit], store: RunStore) -> dict[str, Any]:
    """The goals by seed and task, measured on the split that the protocol decides on."""
    experiment = plan.experiment
    split = DECISION_SPLIT[experiment.protocol]
    counted = ("scratch",) if experiment.rule == "scratch" else ("scratch", "fine-tune")
    goals: dict[str, dict[str, float]] = {}
    for unit in units:
        if unit.method not in counted:
            continue
        by_task = goals.setdefault(str(unit.seed), {})
        for task in unit.tasks:
            reached = _accuracy(open_unit(store.directory(unit)), task, split)
            by_task[str(task)] = max(reached, by_task.get(str(task), 0.0))
    return {"rule": experiment.rule, "protocol": experiment.protocol, "split": split, "goals": goals}


def _accuracy(unit: UnitDirectory, task: int, split: str) -> float:
    value = unit.record(task).accuracy.get(split)
    if value is None:
        raise UserError(
            f"{unit.file(task, 'json')} has no {split} accuracy to be a goal; set the preset's data.{split} "
            "above 0"
        )
    return value
