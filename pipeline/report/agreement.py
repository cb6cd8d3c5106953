"""What units must agree in to stand in one table: one experiment, whoever learned them and whenever."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lsg.methods import METHODS
from pipeline.errors import UserError
from pipeline.units.records import Record, UnitDirectory

Goals = Mapping[tuple[int, int], float]
"""Goal accuracies by seed and task."""

SHARED = ("network", "train", "data")
"""Fields of a unit's definition that are the same for all."""
APART = "they cannot stand in one table"


def require_one_experiment(units: Sequence[UnitDirectory]) -> None:
    """Raise UserError, which names two of them, for units that were learned from different data, in different
    networks, with different training, by one method with different settings, under one seed towards different
    goals, or within other sizes than those of the unit that is among them.
    """
    _require_known(units)
    _require_alike(units)
    _require_one_goal(units)
    _require_sizes_of_these(units)


def require_these_goals(units: Sequence[UnitDirectory], goals: Goals) -> None:
    """Raise UserError for a unit that decided by another goal than the task has under its seed."""
    for unit in units:
        for task in unit.definition.tasks:
            goal = _goal_decided_by(unit.record(task))
            known = goals.get((unit.definition.seed, task), goal)
            if goal != known and goal is not None:
                told = f"{unit.path} learned task {task} towards {goal:g}"
                raise UserError(f"{told}, and its goal is {known:g}")


def _require_known(units: Sequence[UnitDirectory]) -> None:
    for unit in units:
        if unit.definition.method not in METHODS:
            raise UserError(
                f"{unit.path} is of a method that this checkout does not have, {unit.definition.method}; "
                "use a checkout that has it"
            )


def _require_alike(units: Sequence[UnitDirectory]) -> None:
    first: dict[str, UnitDirectory] = {}
    for unit in units:
        for other, names in (
            (units[0], SHARED),
            (first.setdefault(unit.definition.method, unit), ("settings",)),
        ):
            strange = [name for name in names if _compared(unit, name) != _compared(other, name)]
            if strange:
                raise UserError(f"{unit.path} and {other.path} differ in {', '.join(strange)}; {APART}")


def _require_one_goal(units: Sequence[UnitDirectory]) -> None:
    """Under one seed a task has one goal, for all methods that decided by it."""
    first: dict[tuple[int, int], tuple[float, UnitDirectory]] = {}
    for unit in units:
        for task in unit.definition.tasks:
            goal = _goal_decided_by(unit.record(task))
            if goal is None:
                continue
            known, other = first.setdefault((unit.definition.seed, task), (goal, unit))
            if goal != known:
                raise UserError(
                    f"{unit.path} learned task {task} towards {goal:g} and {other.path} towards {known:g}; "
                    f"{APART}"
                )


def _goal_decided_by(record: Record) -> float | None:
    """The task's goal, where some decision compared an accuracy with it."""
    return record.goal if record.goal in {step.goal for step in record.decisions} else None


def _require_sizes_of_these(units: Sequence[UnitDirectory]) -> None:
    """A unit within the sizes of another method's is beside that unit, or beside none of that method."""
    by_name = {(unit.definition.method, unit.definition.seed): unit for unit in units}
    for (method, seed), unit in by_name.items():
        other = by_name.get((METHODS[method].sized_by or "", seed))
        if other is None:
            continue
        sizes = [other.record(task).size.allocated for task in other.definition.tasks]
        if unit.definition.settings.get("sizes") != sizes:
            raise UserError(f"{unit.path} was learned within other sizes than those of {other.path}; {APART}")


def _compared(unit: UnitDirectory, name: str) -> Any:
    """A field of the unit's definition; its settings without sizes that it took from another method."""
    value = getattr(unit.definition, name)
    if name == "settings" and METHODS[unit.definition.method].sized_by:
        return {key: setting for key, setting in value.items() if key != "sizes"}
    return value
