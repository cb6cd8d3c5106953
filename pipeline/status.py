"""Where an experiment stands: units finished, running, interrupted, damaged or waiting; and what is stale."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lsg.records import EVENTS, RESULT
from pipeline.errors import UserError
from pipeline.params.experiment import Params
from pipeline.stage import Bench, known_units
from pipeline.units.records import DEFINITION
from pipeline.units.store import FAULT, RunStore
from pipeline.units.tail import Tail
from pipeline.units.unit import Unit
from pipeline.wording import counted


def status(params: Params, bench: Bench, tasks: int | None = None) -> None:
    """Print the state of every unit that params.yaml asks for, of all tasks or of the first `tasks`.

    Raises UserError, when all else is printed, for prepared benchmarks that cannot be planned.
    """
    unplanned: list[str] = []
    for benchmark in params.benchmarks:
        try:
            plan = bench.plan(params, benchmark, tasks)
        except UserError as error:
            if bench.prepared(benchmark).exists():
                unplanned.append(str(error))
            else:
                print(error)
            continue
        units, waiting = known_units(plan, bench)
        for unit in units:
            print(f"{benchmark}  {unit.name:28} {state_of(unit, bench.store)}")
        if waiting:
            print(f"{benchmark}  {waiting}")
        known = {unit.method for unit in units}
        later = [name for name in plan.experiment.methods if waiting and name not in known]
        stale = stale_directories(units, bench.store, benchmark, later)
        if stale:
            print(
                f"{benchmark}  {counted(len(stale), 'unit')} that this does not ask for, such as {stale[0]}"
            )
    if unplanned:
        raise UserError("; ".join(unplanned))


def state_of(unit: Unit, store: RunStore) -> str:
    """One unit's state in words, with the task and epoch it is in, or the damage and its remedy."""
    directory = store.directory(unit)
    if not any((directory / name).exists() for name in (DEFINITION, RESULT)):
        return "waiting"
    try:
        if store.finished(unit):
            return f"finished, {directory}"
    except UserError as damage:
        return f"damaged: {damage}"
    position = _position(directory, unit.tasks)
    if store.locked(unit):
        return f"running, {position}"
    return f"{'failed' if (directory / FAULT).exists() else 'interrupted'}, {position}, {directory}"


def stale_directories(
    units: Iterable[Unit], store: RunStore, benchmark: str, later: Collection[str]
) -> list[Path]:
    """The benchmark's units on disk that nothing asks for; not those of methods whose units come `later`."""
    asked = {store.directory(unit) for unit in units}
    found = (path.parent for path in (store.root / benchmark).glob(f"*/*/{DEFINITION}"))
    return sorted(path for path in found if path not in asked and path.parent.name not in later)


def _position(directory: Path, tasks: Sequence[int]) -> str:
    events = [event for event in Tail(directory / EVENTS).read() if _tells_place(event)]
    if not events:
        return "at the start"
    last = events[-1]
    if last["event"] == "task":
        return f"after task {tasks.index(last['task']) + 1} of {len(tasks)}"
    return f"task {last['task']}, stage {last['stage']}, epoch {last['epoch']} of {last['epochs']}"


def _tells_place(event: Mapping[str, Any]) -> bool:
    """Whether it is an event of a task or an epoch as this version writes them."""
    kind = event.get("event")
    if kind == "task":
        return "task" in event
    return kind == "epoch" and {"task", "stage", "epoch", "epochs"} <= set(event)
