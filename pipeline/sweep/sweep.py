"""A whole sweep: run the trials, show them as they come on, and leave what a person needs to choose."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from pipeline.execution.board import UnitsFailed
from pipeline.locks import held
from pipeline.sweep.choice import Row, choose
from pipeline.sweep.settings import Sweep
from pipeline.sweep.space import as_text
from pipeline.sweep.trials import Outcome, Trial
from pipeline.sweep.view import SweepView
from pipeline.wording import counted


def run_sweep(sweep: Sweep, uri: str | None, reports: Path) -> list[Row]:
    """Run the sweep, or the rest of it, tracked in the store at `uri` (None: nowhere); returns its trials.

    Raises UserError for bad input, and UnitsFailed when a baseline fails or no trial finishes.
    """
    sweep.check()
    with held(sweep.lock, "the same sweep runs already; waiting for it"):
        return _run(sweep, uri, reports)


def _run(sweep: Sweep, uri: str | None, reports: Path) -> list[Row]:
    from pipeline.sweep.outputs import command_to_run, lines_to_set, write_outputs
    from pipeline.sweep.tuning import run_trials

    view = SweepView(sweep, uri)
    run_trials(sweep, Display(sweep, view))
    rows = [Row(trial, trial.outcome()) for trial in sweep.trials()]
    view.close(rows)
    written = write_outputs(sweep, rows, reports)
    chosen = choose(rows, sweep.within)
    if chosen is None:
        raise UnitsFailed(f"no trial of {len(rows)} finished{_faults(rows)}; see {written[0]}")
    print(lines_to_set(sweep, rows, chosen))
    print(f"to learn with them: {command_to_run(sweep, chosen)}")
    print("\n".join(map(str, written)))
    return rows


class Display:
    """A line a learned task, and the view of the trials in MLflow."""

    def __init__(self, sweep: Sweep, view: SweepView) -> None:
        self._sweep, self._view = sweep, view

    def heard(self, trial: Trial, reached: Outcome, over: bool) -> None:
        row = Row(trial, reached)
        print(self._line(row, over), file=sys.stderr, flush=True)
        self._view.show(row, over)

    def _line(self, row: Row, over: bool) -> str:
        names = self._sweep.names
        values = ", ".join(f"{names[key]} {as_text(value)}" for key, value in row.trial.values.items())
        title = f"trial {row.trial.number}/{self._sweep.count} ({values})"
        if row.outcome.fault and over:
            return f"{title}: FAILED: {row.outcome.fault}"
        if row.last is None:
            return f"{title}: begins"
        where = f"validation accuracy {row.last.validation_accuracy:.3f}, size {row.last.size:.3g}x"
        tasks = f"{row.last.learned} of {counted(self._sweep.tasks_a_trial, 'task')}"
        return f"{title}: {row.outcome.state + ' after ' if over else ''}{tasks}, {where}"


def _faults(rows: Sequence[Row]) -> str:
    faults = dict.fromkeys(row.outcome.fault for row in rows if row.outcome.fault)
    return f": {'; '.join(str(fault) for fault in faults)}" if faults else ""
