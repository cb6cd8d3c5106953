"""Where the page's numbers come from: units with their parameters, tasks with their decisions."""

import json
from collections.abc import Iterator
from dataclasses import dataclass

from pipeline.report.frames import Frames
from pipeline.report.layout import Cell, answer, number, share, word, words
from pipeline.units.histories import Learned
from pipeline.units.records import Decision, Record, UnitDirectory


@dataclass(frozen=True)
class UnitLine:
    """A unit as the page lists it."""

    anchor: str
    place: str
    seed: int
    first: int
    tasks: str
    seconds: float | None
    parameters: str


@dataclass(frozen=True)
class TaskLine:
    """A learned task as the page lists it. `anchor`: where numbers of this task lead, for its first seed."""

    anchor: str
    unit: str
    cells: tuple[Cell, ...]


TASK_COLUMNS = ("Task", "Seed", "Test %", "Goal %", "Outcome", "Stages", "Decisions", "Seconds")


@dataclass(frozen=True)
class Origin:
    """All that one method learned."""

    method: str
    anchor: str
    units: tuple[UnitLine, ...]
    tasks: tuple[TaskLine, ...]


def origins(frames: Frames) -> list[Origin]:
    """Units and tasks of every method."""
    return [
        Origin(
            method,
            method_anchor(method),
            tuple(_unit(unit) for unit in frames.units if unit.definition.method == method),
            tuple(_tasks(frames, method)),
        )
        for method in frames.methods
    ]


def method_anchor(method: str) -> str:
    return f"units-{method}"


def task_anchor(method: str, task: int) -> str:
    return f"{method_anchor(method)}-task-{task}"


def unit_anchor(place: str) -> str:
    """`place`: <benchmark>/<method>/<label>-<key>."""
    return f"unit-{place.rpartition('-')[2]}"


def _unit(unit: UnitDirectory) -> UnitLine:
    tasks, seconds = unit.definition.tasks, unit.seconds()
    return UnitLine(
        anchor=unit_anchor(unit.place),
        place=unit.place,
        seed=unit.definition.seed,
        first=tasks[0],
        tasks=str(tasks[0]) if len(tasks) == 1 else f"{tasks[0]} to {tasks[-1]}",
        seconds=sum(seconds.values()) if seconds else None,
        parameters=json.dumps(unit.content, indent=2, sort_keys=True),
    )


def _tasks(frames: Frames, method: str) -> Iterator[TaskLine]:
    """Task by task, seed by seed."""
    for task in frames.tasks:
        for place, seed in enumerate(frames.seeds):
            step = frames.runs[method, seed][task - 1]
            anchor = task_anchor(method, task)
            yield TaskLine(
                anchor if place == 0 else f"{anchor}-seed-{seed}",
                unit_anchor(step.unit.place),
                _cells(step, seed),
            )


def _cells(step: Learned, seed: int) -> tuple[Cell, ...]:
    record = step.record
    return (
        *(number(record.task), number(seed), share(step.row[record.task]), share(record.goal)),
        *(word(words(record.reason)), word(_stages(record))),
        word("; ".join(map(_decision, record.decisions)) or "none"),
        word("not timed") if step.seconds is None else Cell(f"{step.seconds:,.1f}", step.seconds),
    )


def _stages(record: Record) -> str:
    """The stages with their epochs."""
    return ", ".join(f"{stage.stage}: {stage.epochs} epochs" for stage in record.stages)


def _decision(decision: Decision) -> str:
    """A decision as a sentence: grow: yes, 62.0 % on validation, goal 70.0 % (below target)."""
    value = f", {share(decision.value).text} % on {decision.split}" if decision.value is not None else ""
    goal = f", goal {share(decision.goal).text} %" if decision.goal is not None else ""
    return f"{words(decision.question)}: {answer(decision.answer)}{value}{goal} ({words(decision.reason)})"
