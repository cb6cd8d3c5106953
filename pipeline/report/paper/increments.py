"""Table 8: what each part of CL-LSG adds to the row before, under the same seeds and tasks."""

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from pipeline.report.frames import Frames
from pipeline.report.paired import Paired, paired
from pipeline.report.paper import measured
from pipeline.report.paper.benchmark_tables import AVERAGE, MEAN
from pipeline.report.paper.lines import (
    NO_RUN,
    PRINTED,
    RUN,
    Entry,
    Line,
    PaperTable,
    accuracy,
    copied,
    points,
    stated,
)
from pipeline.report.paper.printed import (
    ABLATED,
    ABLATION,
    BENCHMARKS,
    OURS,
    PrintedRow,
    has_ablation,
    printed_table,
)
from pipeline.report.statistics import Estimate, estimate


@dataclass(frozen=True)
class Step:
    """A row: the method that it is of, and the method of the row before, over which it is an increment."""

    name: str
    method: str
    over: str | None = None


STEPS = (
    Step("Grow only", "grow-target"),
    Step("+Sel-mask", "grow+sel", "grow-target"),
    Step("+LSG", "grow+sel+lsg", "grow+sel"),
    Step("+Re-train", OURS, "grow+sel+lsg"),
    Step("Ours", OURS),
)


def increments_table(frames: Frames) -> PaperTable | None:
    """Table 8; on benchmarks that the paper does not ablate, our increments alone, if there are any."""
    printed = printed_rows(frames)
    if not printed and all(increment(frames, step) is None for step in STEPS):
        return None
    lines: list[Line] = []
    for step in STEPS:
        if step.name in printed:
            lines.append(_printed(frames, step, printed[step.name]))
        lines.append(_measured(frames, step))
    tasks = BENCHMARKS[ABLATED].tasks if printed else None
    beside = (
        f"Source {PRINTED}: the paper's, where {MEAN} is recomputed from the cells and {AVERAGE} is what it "
        "prints. "
        if printed
        else f"The paper prints this table for {BENCHMARKS[ABLATED].title} only. "
    )
    caption = (
        "Test accuracy in % after the last task of growth alone (grow-target) and of all of CL-LSG; between "
        "them, in points, what selective masks, attentive masks (learnable sparse growth) and re-training of "
        f"released weights each add to the row before. {beside}{stated(frames, tasks)}"
    )
    title = "Table 8: what each part adds" + (", beside the paper's" if printed else "")
    columns = (*map(str, frames.tasks), MEAN, *([AVERAGE] if printed else []))
    return PaperTable(ABLATION, title, caption, columns, tuple(lines))


def printed_rows(frames: Frames) -> Mapping[str, PrintedRow]:
    """The printed rows by step; none where the paper has no ablation."""
    return printed_table(ABLATION) if has_ablation(frames) else {}


def increment(frames: Frames, step: Step) -> Paired | None:
    """Points that a step adds, by seed and task; None where one of its two methods was not run."""
    if step.over is None:
        return None
    with_it, without = measured.accuracy(frames, step.method), measured.accuracy(frames, step.over)
    return None if with_it is None or without is None else paired(with_it, without)


def _printed(frames: Frames, step: Step, row: PrintedRow) -> Line:
    mean = Estimate(row.mean(frames.tasks))
    if step.over is None:
        entries = {str(task): copied(cell) for task, cell in row.cells.items()}
        entries[MEAN] = accuracy(mean, 2)
    else:
        entries = {str(task): Entry(f"+{cell.text}", cell.value) for task, cell in row.cells.items()}
        entries[MEAN] = points(mean, 2)
    if row.average:
        sign = "+" if step.over else ""
        entries[AVERAGE] = Entry(f"{sign}{row.average.text}", row.average.value)
    return Line(step.method, PRINTED, entries, step=step.name)


def _measured(frames: Frames, step: Step) -> Line:
    table, show = _table(frames, step), accuracy if step.over is None else points
    if table is None:
        return Line(step.method, NO_RUN, {}, step=step.name)
    entries = {str(task): show(estimate(table[task])) for task in table}
    entries[MEAN] = show(estimate(table.mean(axis=1)), 2)
    return Line(step.method, RUN, entries, measured.units(frames, step.method), step.name)


def _table(frames: Frames, step: Step) -> pd.DataFrame | None:
    if step.over is None:
        return measured.accuracy(frames, step.method)
    found = increment(frames, step)
    return found.differences if found else None
