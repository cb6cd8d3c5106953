"""What the stages `targets` and `learn` share: which units there are, running, showing and tracking them."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lsg.files import write_json
from pipeline.benchmarks.settings import DataSettings
from pipeline.errors import UserError
from pipeline.execution import executors
from pipeline.execution.machine import Machine
from pipeline.execution.progress import Progress
from pipeline.params import resolve
from pipeline.params.experiment import Params
from pipeline.tracking.tracker import Tracker, open_tracker
from pipeline.units.plan import BASELINES, Goals, Plan, Sizes, read_manifest
from pipeline.units.records import open_unit
from pipeline.units.store import RunStore
from pipeline.units.unit import DATA, Unit
from pipeline.wording import counted


@dataclass(frozen=True)
class Bench:
    """A stage's surroundings: where tasks, units and the stages' files lie, and how units run."""

    machine: Machine
    store: RunStore
    data: Path = DATA
    tracking: str | None = None

    def plan(self, params: Params, benchmark: str, tasks: int | None = None) -> Plan:
        """The benchmark's plan over its prepared tasks, or over the first `tasks` of them.

        Raises UserError, like `Plan`, and where the tasks were prepared by other settings.
        """
        experiment = resolve(params, benchmark)
        prepared = self.prepared(benchmark).absolute()
        manifest = read_manifest(prepared)
        _require_settings(manifest["settings"], experiment.data, prepared)
        return Plan(experiment, manifest, prepared, self.machine.numerics(), tasks)

    def prepared(self, benchmark: str) -> Path:
        """Where the benchmark's prepared tasks lie: data/tasks/<benchmark>."""
        return self.data / "tasks" / benchmark

    def file(self, stage: str, benchmark: str) -> Path:
        """Where a stage writes what it came to, for example data/targets/<benchmark>.json."""
        return self.data / stage / f"{benchmark}.json"


def _require_settings(prepared_by: dict[str, Any] | None, asked: DataSettings, prepared: Path) -> None:
    wanted = asked.cut()
    other = [name for name, value in wanted.items() if (prepared_by or wanted).get(name) != value]
    if other:
        told = ", ".join(
            f"{name} {(prepared_by or {}).get(name)} instead of {wanted[name]}" for name in other
        )
        raise UserError(
            f"{prepared} was prepared with {told}; run `cl-lsg prepare {prepared.name}`, or give the same -S"
        )


def known_units(plan: Plan, bench: Bench) -> tuple[list[Unit], str]:
    """The units known so far, and a sentence where goals or sizes have to be learned before the rest is.

    A damaged unit counts as one that is not learned.
    """
    units, path = plan.units("targets"), bench.file("targets", plan.experiment.benchmark)
    try:
        goals = read_goals(path, plan, bench.store)
    except UserError as error:
        others = [name for name in plan.experiment.methods if name not in BASELINES]
        why = f" ({error})" if path.exists() else ""
        return units, f"{', '.join(others)}: waiting for goals{why}" if others else ""
    learned, sized = plan.units("learn", goals), plan.units("sized", goals)
    try:
        if all(bench.store.finished(unit) for unit in learned):
            return units + learned + sized_units(plan, goals, learned, bench.store), ""
    except UserError:
        pass  # the unit's own line, or the stage that takes it for finished, tells what is damaged
    names = ", ".join(unit.name for unit in sized)
    return units + learned, f"{names}: waiting for sizes" if sized else ""


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


def work(title: str, benchmark: str, units: Sequence[Unit], bench: Bench, split: str = "test") -> None:
    """Learn the unfinished units, shown on the terminal with their accuracies on `split`.

    All of them are tracked: a driver that was killed may have left the runs of finished ones incomplete.
    Raises like `executors.run`.
    """
    todo = [unit for unit in units if not bench.store.finished(unit)]
    print(
        f"{title} {benchmark}: {counted(len(units), 'unit')}, {len(units) - len(todo)} reused, "
        f"{len(todo)} to run",
        file=sys.stderr,
        flush=True,
    )
    tracker = open_tracker(bench.tracking, benchmark)
    for unit in units:
        tracker.follow(bench.store.directory(unit))
    watch = _Watch(Progress(f"{title} {benchmark}", todo, split=split), tracker)
    try:
        executors.run(todo, bench.store, bench.machine, watch)
    finally:
        watch.close()


def write_units(path: Path, units: Iterable[Unit], store: RunStore, content: dict[str, Any]) -> None:
    """Write a stage's file: `content` and where each unit lies."""
    write_json(path, {"format": 1, **content, "units": places(units, store)})


def read_goals(path: Path, plan: Plan, store: RunStore) -> Goals:
    """Goals by seed and task from the file that the stage `targets` wrote.

    Raises UserError when it is missing, damaged, or was made by other units than the plan's.
    """
    remedy = f"run `cl-lsg targets {plan.experiment.benchmark}`"
    try:
        content = json.loads(path.read_bytes())
        made = (content["units"], content["rule"], content["protocol"])
        goals = {
            int(seed): {int(task): float(goal) for task, goal in by_task.items()}
            for seed, by_task in content["goals"].items()
        }
    except FileNotFoundError:
        raise UserError(f"{path} is not there; {remedy}") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise UserError(f"{path} is damaged; delete it and {remedy}") from None
    asked = places(plan.units("targets"), store), plan.experiment.rule, plan.experiment.protocol
    if made != asked:
        raise UserError(f"{path} holds the goals of other settings, data or code; {remedy} with the same -S")
    return goals


def places(units: Iterable[Unit], store: RunStore) -> dict[str, str]:
    """Where each unit lies, relative to the store."""
    return {unit.name: store.relative(unit) for unit in units}


@dataclass
class _Watch:
    """Hands events to the progress display and the tracker."""

    progress: Progress
    tracker: Tracker
    failed: list[Path] = field(default_factory=list)
    directories: dict[str, Path] = field(default_factory=dict)

    def started(self, unit: Unit, directory: Path) -> None:
        self.directories[unit.key] = directory
        self.progress.started(unit)

    def resumed(self, unit: Unit, events: Sequence[dict[str, Any]]) -> None:
        self.progress.resumed(unit, events)

    def event(self, unit: Unit, event: dict[str, Any]) -> None:
        self.progress.event(unit, event)

    def ended(self, unit: Unit, fault: str | None) -> None:
        if fault is not None:
            self.failed.append(self.directories[unit.key])
        self.progress.ended(unit, fault)

    def note(self, text: str) -> None:
        self.progress.note(text)

    def tick(self) -> None:
        self.tracker.poll()

    def close(self) -> None:
        self.progress.close()
        self.tracker.close(self.failed)
