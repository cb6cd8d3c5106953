"""Runs units in one of two ways with the same results: `ray`, many at a time, or `local`, one by one here."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import lsg
from pipeline.errors import first_line
from pipeline.machine import Machine
from pipeline.records import Tail
from pipeline.runs import RunStore, run_unit
from pipeline.units import Unit

if TYPE_CHECKING:
    from lsg.data import TaskSource

Event = dict[str, Any]
TICK_SECONDS = 0.5
LISTED_FAILURES = 5


class Watcher(Protocol):
    """Hears what happens while units run, in the process that runs the stage."""

    def started(self, unit: Unit, directory: Path) -> None: ...
    def resumed(self, unit: Unit, events: Sequence[Event]) -> None: ...
    def event(self, unit: Unit, event: Event) -> None: ...
    def ended(self, unit: Unit, fault: str | None) -> None: ...
    def note(self, text: str) -> None: ...
    def tick(self) -> None: ...


class UnitsFailed(Exception):
    """Some units failed; all others are finished. The message names them, their directories and faults."""


class Board:
    """The units still to do: which may go next, which run, which failed and why."""

    def __init__(self, units: Iterable[Unit], store: RunStore, watcher: Watcher) -> None:
        self.store, self.watcher = store, watcher
        self._waiting = sorted(units, key=lambda unit: -unit.macs)
        self._open = {unit.key for unit in self._waiting}
        self._followed: dict[str, _Followed] = {}
        self._faults: dict[str, str] = {}
        self._total = len(self._waiting)

    def next(self) -> Unit | None:
        """The unit with the most work that waits for no other; None if there is none at the moment."""
        for unit in list(self._waiting):
            if unit.start is None or unit.start.key not in self._open:
                self._waiting.remove(unit)
                if unit.start is None or unit.start.key not in self._faults:
                    return unit
                self._start(unit)
                self.end(unit, f"not started, because {unit.start.name} failed")
        return None

    def begin(self, unit: Unit) -> None:
        """The unit goes to work now."""
        if self.store.locked(unit):
            self.watcher.note(
                f"{unit.name}: another process works on {self.store.directory(unit)}; waiting for it"
            )
        self._start(unit)

    def poll(self) -> None:
        """Hand on what running units wrote since the last poll."""
        for followed in list(self._followed.values()):
            for event in followed.fresh():
                self.watcher.event(followed.unit, event)
        self.watcher.tick()

    def end(self, unit: Unit, fault: str | None = None, warnings: Iterable[str] = ()) -> None:
        """The unit is finished, or failed with `fault`."""
        for warning in warnings:
            self.watcher.note(f"{unit.name}: {warning}")
        for event in self._followed.pop(unit.key).fresh():
            self.watcher.event(unit, event)
        self._open.discard(unit.key)
        if fault is not None:
            self._faults[unit.key] = f"{unit.name} ({self.store.directory(unit)}): {fault}"
        self.watcher.ended(unit, fault)

    def raise_faults(self) -> None:
        """Raise UnitsFailed if any unit failed."""
        faults = list(self._faults.values())
        if faults:
            more = f"; and {len(faults) - LISTED_FAILURES} more" if len(faults) > LISTED_FAILURES else ""
            listed = "; ".join(faults[:LISTED_FAILURES])
            raise UnitsFailed(f"{len(faults)} of {self._total} units failed: {listed}{more}")

    def _start(self, unit: Unit) -> None:
        directory = self.store.directory(unit)
        self._followed[unit.key] = _Followed(unit, directory / "events.jsonl")
        self.watcher.started(unit, directory)
        if before := self._followed[unit.key].fresh():
            self.watcher.resumed(unit, before)


class _Followed:
    """A running unit's new events; a resumed unit repeats lines, which are handed on once."""

    def __init__(self, unit: Unit, path: Path) -> None:
        self.unit, self._tail = unit, Tail(path)
        self._seen: set[tuple[Any, ...]] = set()

    def fresh(self) -> list[Event]:
        found = []
        for event in self._tail.read():
            place = tuple(event.get(key) for key in ("event", "task", "stage", "epoch"))
            if place not in self._seen:
                self._seen.add(place)
                found.append(event)
        return found


def run(units: Iterable[Unit], store: RunStore, machine: Machine, watcher: Watcher) -> None:
    """Learn the unfinished ones of `units`. A unit that fails does not stop the others.

    Raises UnitsFailed at the end; UserError at once for a machine that cannot run them.
    """
    todo = [unit for unit in units if not store.finished(unit)]
    if not todo:
        return
    board = Board(todo, store, watcher)
    if machine.executor == "local":
        _run_here(board, machine)
    else:
        from pipeline.on_ray import run_on_ray

        run_on_ray(board, machine, todo)
    board.raise_faults()


def learn_and_listen(
    unit: Unit,
    store: RunStore,
    report: Callable[[Event], None],
    checkpoint_seconds: float,
    tasks: TaskSource | None = None,
) -> list[str]:
    """Learn the unit like `run_unit` and return what the library warned of, such as a damaged checkpoint."""
    ear, logger = _Ear(), logging.getLogger(lsg.__name__)
    logger.addHandler(ear)
    try:
        run_unit(unit, store, report, checkpoint_seconds, tasks)
    finally:
        logger.removeHandler(ear)
    return ear.heard


class _Ear(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.heard: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.heard.append(record.getMessage())


def _run_here(board: Board, machine: Machine) -> None:
    last = time.monotonic()

    def report(_event: Event) -> None:
        nonlocal last
        if time.monotonic() - last >= TICK_SECONDS:
            last = time.monotonic()
            board.poll()

    while unit := board.next():
        board.begin(unit)
        try:
            warnings = learn_and_listen(unit, board.store, report, machine.checkpoint_seconds)
        except Exception as error:
            board.end(unit, first_line(error))
        else:
            board.end(unit, warnings=warnings)
