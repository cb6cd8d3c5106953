"""Progress is shown with a live bar where there is one, and by lines where there is none."""

from __future__ import annotations

import io
import sys

import pytest

from pipeline.execution.progress import Progress
from tests.pipeline.tiny_experiment import tiny_plan


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def shown(stream: io.StringIO) -> str:
    """What is seen when one unit learns its one task."""
    unit = tiny_plan().units("targets")[0]
    progress = Progress("targets digits", [unit], stream)
    progress.started(unit)
    epoch = {"event": "epoch", "task": 1, "stage": 1, "epoch": 1, "epochs": 1, "steps": unit.steps}
    progress.event(unit, epoch)
    progress.event(unit, {"event": "task", "task": 1, "reason": "trained", "accuracy": {"test": 0.5}})
    progress.ended(unit, None)
    progress.close()
    return stream.getvalue()


def test_a_terminal_has_a_bar_and_a_file_has_lines() -> None:
    line = "scratch seed1-task01: task 1 trained, test accuracy 0.500"
    bar, plain = shown(Terminal()), shown(io.StringIO())
    assert "targets digits 100%" in bar
    assert line in bar
    assert f"{line} (units 0/1, tasks 1/1;" in plain
    assert "%|" not in plain


def test_a_terminal_without_tqdm_has_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tqdm", None)
    assert "task 1 trained, test accuracy 0.500 (units 0/1, tasks 1/1;" in shown(Terminal())


def test_a_task_that_needed_fewer_steps_than_planned_is_counted_in_full() -> None:
    """After a third of the plan in a minute two minutes are left, however few steps it took."""
    unit = tiny_plan("methods=[cl-lsg]", tasks=2).units("learn", {1: {1: 1.0, 2: 1.0}})[0]
    assert unit.task_steps[1] == 2 * unit.task_steps[0] > 2
    stream = io.StringIO()
    progress = Progress("learn digits", [unit], stream)
    progress._begun -= 60
    progress.started(unit)
    progress.event(unit, {"event": "epoch", "task": 1, "stage": 1, "epoch": 1, "epochs": 1, "steps": 1})
    progress.event(unit, {"event": "task", "task": 1, "reason": "trained", "accuracy": {}})
    assert "tasks 1/2; 1 min 0 s, 2 min 0 s left)" in stream.getvalue()


def test_what_was_done_before_took_none_of_the_time() -> None:
    """A third of the first unit was done before; its rest takes a minute, so the other one takes 1.5."""
    goals = {seed: {1: 1.0, 2: 1.0} for seed in (1, 2)}
    units = tiny_plan("methods=[cl-lsg]", "seeds=[1,2]", tasks=2).units("learn", goals)
    first, second = units[0].task_steps
    assert (first, second) == (units[0].steps // 3, 2 * first)
    stream = io.StringIO()
    progress = Progress("learn digits", units, stream)
    progress._begun -= 60
    progress.started(units[0])
    epoch = {"event": "epoch", "task": 1, "stage": 2, "epoch": 1, "epochs": 1, "steps": first}
    progress.resumed(units[0], [epoch, {"event": "task", "task": 1}])
    assert stream.getvalue() == "cl-lsg seed1: goes on after task 1\n"
    progress.event(units[0], {"event": "task", "task": 2, "reason": "grew"})
    # Two thirds of a unit took a minute; a whole one is left.
    assert "task 2 grew (units 0/2, tasks 2/4; 1 min 0 s, 1 min 30 s left)" in stream.getvalue()


def test_a_bar_starts_where_a_resumed_unit_stands() -> None:
    unit = tiny_plan().units("targets")[0]
    progress = Progress("targets digits", [unit], Terminal())
    progress.started(unit)
    epoch = {"event": "epoch", "task": 1, "stage": 1, "epoch": 1, "epochs": 2, "steps": 1}
    progress.resumed(unit, [epoch])
    assert (progress._bar.n, progress._bar.initial) == (1, 1)
    progress.close()
