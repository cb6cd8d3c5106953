"""The board of a stage's units: which may go next, which are at work, which failed, and who hears of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol

from lsg.records import EVENTS
from pipeline.units.store import FAULT, RunStore
from pipeline.units.tail import Tail
from pipeline.units.unit import Unit
from pipeline.wording import counted

Event = dict[str, Any]
TICK_SECONDS = 0.5
"""Between two looks at what running units wrote."""
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
    """Some units failed; all others are sound. The message names them, their directories and faults."""


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
            directory = self.store.directory(unit)
            told = f", traceback in {FAULT}" if (directory / FAULT).exists() else ""
            self._faults[unit.key] = f"{unit.name} ({directory}{told}): {fault}"
        self.watcher.ended(unit, fault)

    def raise_faults(self) -> None:
        """Raise UnitsFailed if any unit failed."""
        faults = list(self._faults.values())
        if faults:
            more = f"; and {len(faults) - LISTED_FAILURES} more" if len(faults) > LISTED_FAILURES else ""
            listed = "; ".join(faults[:LISTED_FAILURES])
            raise UnitsFailed(f"{len(faults)} of {counted(self._total, 'unit')} failed: {listed}{more}")

    def _start(self, unit: Unit) -> None:
        directory = self.store.directory(unit)
        self._followed[unit.key] = _Followed(unit, directory / EVENTS)
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
