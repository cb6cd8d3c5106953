"""Progress is shown with a live bar where there is one, and by lines where there is none."""

from __future__ import annotations

import io
import sys

import pytest

from pipeline.progress import Progress
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
