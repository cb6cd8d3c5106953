"""What a person sees while units run: a live bar in a terminal, otherwise a line a finished task and unit."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Sequence
from typing import Any, TextIO

from pipeline.units.unit import Unit

REST = -1
"""In place of a stage: the planned steps that a finished task did not need."""


class Progress:
    """Counts optimiser steps of a stage's units. A task that needed fewer than planned is counted in full.

    Plans hold the most steps that a method may need; where tasks take fewer, the time left would be too long
    to the end without that. What a resumed unit had done before is counted too, but took none of the time
    since then. Accuracies are shown on `split`.
    """

    def __init__(
        self, title: str, units: Iterable[Unit], stream: TextIO | None = None, split: str = "test"
    ) -> None:
        self._out, self._split = stream or sys.stderr, split
        units = list(units)
        self._units, self._tasks = len(units), sum(len(unit.tasks) for unit in units)
        self._units_done = self._tasks_done = 0
        self._running: dict[str, dict[tuple[int, int], int]] = {}
        self._begun = time.monotonic()
        self._steps, self._steps_done = sum(unit.steps for unit in units), 0
        self._steps_before = 0
        self._bar = _bar(title, self._steps, self._out)

    def started(self, unit: Unit) -> None:
        self._running[unit.key] = {}

    def resumed(self, unit: Unit, events: Sequence[dict[str, Any]]) -> None:
        """What a unit that has just started had done before."""
        counted = self._steps_done
        for event in events:
            self._count(unit, event)
        self._steps_before += self._steps_done - counted
        if self._bar is not None:
            self._bar.initial += self._steps_done - counted
        last = events[-1]
        epoch = f", epoch {last['epoch']}/{last['epochs']}" if "epoch" in last else ""
        self.note(f"{unit.name}: goes on after task {last['task']}{epoch}")

    def event(self, unit: Unit, event: dict[str, Any]) -> None:
        """An epoch moves the bar; a task of a sequence is a line."""
        self._count(unit, event)
        if event.get("event") == "epoch":
            self._show(f"{unit.name}: task {event['task']}, epoch {event['epoch']}/{event['epochs']}")
        elif event.get("event") == "task":
            accuracy = event.get("accuracy", {}).get(self._split)
            shown = "" if accuracy is None else f", {self._split} accuracy {accuracy:.3f}"
            self._line(f"{unit.name}: task {event['task']} {event.get('reason', 'done')}{shown}")

    def _count(self, unit: Unit, event: dict[str, Any]) -> None:
        if event.get("event") == "epoch":
            stages = self._running[unit.key]
            before = stages.get((event["task"], event["stage"]), 0)
            stages[event["task"], event["stage"]] = event["steps"]
            self._advance(event["steps"] - before)
        elif event.get("event") == "task":
            self._tasks_done += 1
            self._count_in_full(unit, event["task"])

    def _count_in_full(self, unit: Unit, task: int) -> None:
        stages = self._running[unit.key]
        taken = sum(steps for (of_task, _), steps in stages.items() if of_task == task)
        stages[task, REST] = unit.task_steps[unit.tasks.index(task)] - taken
        self._advance(stages[task, REST])

    def ended(self, unit: Unit, fault: str | None) -> None:
        self._units_done += 1
        self._advance(unit.steps - sum(self._running.pop(unit.key).values()))
        if fault is not None:
            self._line(f"{unit.name} FAILED: {fault}")
        elif len(unit.tasks) > 1:
            self._line(f"{unit.name}: finished")

    def note(self, text: str) -> None:
        """A sentence above the bar."""
        if self._bar is not None:
            self._bar.write(text, file=self._out)
        else:
            print(text, file=self._out, flush=True)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()

    def _advance(self, steps: int) -> None:
        self._steps_done += steps
        if self._bar is not None:
            self._bar.update(steps)

    def _counts(self) -> str:
        return f"units {self._units_done}/{self._units}, tasks {self._tasks_done}/{self._tasks}"

    def _show(self, text: str) -> None:
        if self._bar is not None:
            self._bar.set_postfix_str(f"{self._counts()}; {text}")

    def _line(self, text: str) -> None:
        seconds, steps = time.monotonic() - self._begun, self._steps_done - self._steps_before
        left = seconds * (self._steps - self._steps_done) / steps if steps else 0
        ending = "" if self._bar is not None else f" ({self._counts()}; {clock(seconds)}, {clock(left)} left)"
        self.note(text + ending)


def _bar(title: str, steps: int, out: TextIO) -> Any:
    """tqdm's live bar; None where nobody would see it move, or tqdm is not installed."""
    if not out.isatty():
        return None
    try:
        from tqdm import tqdm
    except ImportError:
        return None
    form = "{desc} {percentage:3.0f}%|{bar}| {elapsed}<{remaining}{postfix}"
    return tqdm(total=steps, desc=title, bar_format=form, file=out, dynamic_ncols=True)


def clock(seconds: float) -> str:
    """Seconds as a person reads them: 42 s, 3 min 5 s, 2 h 10 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
