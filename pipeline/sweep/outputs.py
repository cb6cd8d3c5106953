"""What a sweep leaves for a person, in reports/<benchmark>/: every trial, a figure, and the lines to set."""

from __future__ import annotations

from collections.abc import Sequence
from io import StringIO
from pathlib import Path
from typing import Any

import pandas as pd
from ruamel.yaml import YAML

from lsg.files import write_bytes
from pipeline.errors import UserError
from pipeline.sweep.choice import Row, choose, rule
from pipeline.sweep.pareto import draw
from pipeline.sweep.settings import Sweep
from pipeline.sweep.space import nested, overrides

TABLE = "sweep.csv"
COLUMNS = (
    "sweep",
    "method",
    "trial",
    "state",
    "chosen",
    "validation_accuracy",
    "tasks_learned",
    "size",
    "steps",
    "seconds",
    "units",
)


def write_outputs(sweep: Sweep, rows: Sequence[Row], reports: Path) -> list[Path]:
    """Write sweep.csv, with the trials of the benchmark's other sweeps kept, and this sweep's figure and
    lines; returns what was written.
    """
    folder = reports / sweep.study.benchmark
    chosen = choose(rows, sweep.within)
    name = f"sweep-{sweep.study.method}"
    table = _merged(folder / TABLE, trials_table(sweep, rows))
    write_bytes(folder / TABLE, table.to_csv(index=False, lineterminator="\n").encode())
    written = [folder / TABLE]
    if chosen is not None:
        write_bytes(folder / f"{name}.yaml", lines_to_set(sweep, rows, chosen).encode())
        written += [folder / f"{name}.yaml", *draw(sweep, rows, chosen, folder / name)]
    return written


def trials_table(sweep: Sweep, rows: Sequence[Row]) -> pd.DataFrame:
    """One row a trial; after the common columns one for each varied value, named as in params.yaml."""
    chosen = choose(rows, sweep.within)
    table = pd.DataFrame([_cells(sweep, row) | {"chosen": row is chosen} for row in rows])
    return table[[*COLUMNS, *(domain.key for domain in sweep.space)]]


def lines_to_set(sweep: Sweep, rows: Sequence[Row], chosen: Row) -> str:
    """The chosen values as lines of params.yaml, below a comment that says how they were found."""
    text = StringIO()
    YAML().dump(nested(chosen.trial.values), text)
    return "".join(f"# {line}\n" for line in summary(sweep, rows, chosen)) + text.getvalue()


def summary(sweep: Sweep, rows: Sequence[Row], chosen: Row) -> list[str]:
    """What was tried, and what was chosen by which rule."""
    study, last = sweep.study, chosen.last
    assert last is not None
    states = [row.outcome.state for row in rows]
    counted = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
    varied = "; ".join(f"{domain.key} {domain.text}" for domain in sweep.space)
    changes = f"; with {', '.join(study.changes)}" if study.changes else ""
    tasks = f"first {study.tasks} tasks" if study.tasks else "all tasks"
    return [
        f"{study.method} on {study.benchmark}, {tasks}{changes}",
        f"{len(rows)} trials ({counted}), search {sweep.search}, scheduler {sweep.scheduler}; {varied}",
        f"chosen: {rule(sweep.within)}",
        f"trial {chosen.trial.number}: validation accuracy {last.validation_accuracy:.4f}, size "
        f"{last.size:.3g}x, {last.steps:,} steps; {' '.join(chosen.outcome.places)}",
    ]


def command_to_run(sweep: Sweep, chosen: Row) -> str:
    """The command that learns the chosen trial's units, or finds them learned."""
    study = sweep.study
    options = [*study.changes, f"methods=[{study.method}]", *overrides(chosen.trial.values)]
    tasks = f" --tasks {study.tasks}" if study.tasks else ""
    return f"cl-lsg run --benchmark {study.benchmark}{tasks} {' '.join(f'-S {o!r}' for o in options)}"


def _cells(sweep: Sweep, row: Row) -> dict[str, Any]:
    last = row.last
    measured = {
        "validation_accuracy": round(last.validation_accuracy, 6) if last else None,
        "tasks_learned": last.learned if last else 0,
        "size": round(last.size, 6) if last else None,
        "steps": last.steps if last else 0,
        "seconds": round(last.seconds, 1) if last else 0.0,
    }
    return {
        "sweep": sweep.identity[:12],
        "method": sweep.study.method,
        "trial": row.trial.number,
        "state": row.outcome.state,
        **measured,
        "units": " ".join(row.outcome.places),
        **row.trial.values,
    }


def _merged(path: Path, fresh: pd.DataFrame) -> pd.DataFrame:
    """The table at `path` with `fresh` in place of the same sweep's rows."""
    if not path.exists():
        return fresh
    try:
        old = pd.read_csv(path, dtype={"sweep": str})
        others = old[~old["sweep"].isin(set(fresh["sweep"]))]
    except (ValueError, KeyError) as error:
        raise UserError(f"{path} is damaged ({error}); move it away and run the sweep again") from error
    return pd.concat([others, fresh], ignore_index=True) if len(others) else fresh
