"""Tables 2 to 7: accuracy and model size of one benchmark, ours below what the paper prints."""

from collections.abc import Iterable, Sequence

import pandas as pd

from pipeline.report.frames import Frames
from pipeline.report.paper import measured
from pipeline.report.paper.lines import (
    LEARNED,
    NO_RUN,
    PRINTED,
    RUN,
    Entry,
    Line,
    PaperTable,
    accuracy,
    copied,
    stated,
    times,
)
from pipeline.report.paper.printed import OURS, PaperBenchmark, Printed, PrintedRow, by_method
from pipeline.report.statistics import Estimate, estimate

MEAN, AVERAGE, SIZE = "Mean", "Printed avg", "Model size"
_NAMED = f"{OURS} is what the paper calls Ours; methods after the paper's are our own additions."


def accuracy_table(frames: Frames, paper: PaperBenchmark) -> PaperTable:
    """Accuracy of each task, mean and final size (tables 2, 4, 6)."""
    printed, sizes = by_method(paper.accuracy), by_method(paper.size)
    lines: list[Line] = []
    for method in _methods(frames, printed):
        if method in printed:
            size = sizes.get(method)
            lines.append(_printed_accuracy(frames, paper, method, printed[method], size))
        lines += _measured_accuracy(frames, method)
    caption = (
        f"Test accuracy in % of each task after the last one; methods that forget have a second line, "
        f"{LEARNED}. Source {PRINTED}: the paper's table "
        f"{paper.accuracy}, where {MEAN} is recomputed from the cells and {AVERAGE} is what it prints. "
        f"{_NAMED} Size: allocated weights over the dense 1x network's. {stated(frames, paper.tasks)}"
    )
    title = f"Table {paper.accuracy}: accuracy on {paper.title}, beside the paper's"
    columns = (*map(str, frames.tasks), MEAN, AVERAGE, SIZE)
    return PaperTable(paper.accuracy, title, caption, columns, tuple(lines))


def size_table(frames: Frames, paper: PaperBenchmark) -> PaperTable:
    """Model size after each task (tables 3, 5, 7)."""
    printed = by_method(paper.size)
    finals = by_method(paper.accuracy)
    lines: list[Line] = []
    for method in _methods(frames, printed):
        if method in printed:
            entries = {str(task): copied(cell, "x") for task, cell in printed[method].cells.items()}
            final = printed[method].final or finals[method].final
            lines.append(Line(method, PRINTED, entries | _optional(SIZE, final, "x")))
        lines.append(_measured_size(frames, paper, method))
    caption = (
        "Allocated weights after each task over those of the dense 1x network. "
        f"Source {PRINTED}: the paper's table {paper.size}; {SIZE}: after all {paper.tasks} tasks. "
        f"Of CPG the paper prints the first cells only. {_NAMED} {stated(frames, paper.tasks)}"
    )
    title = f"Table {paper.size}: model size on {paper.title}, beside the paper's"
    return PaperTable(paper.size, title, caption, (*map(str, frames.tasks), SIZE), tuple(lines))


def _methods(frames: Frames, printed: Iterable[str]) -> list[str]:
    """The paper's methods in its order, then our further ones."""
    return list(dict.fromkeys([*printed, *frames.methods]))


def _printed_accuracy(
    frames: Frames, paper: PaperBenchmark, method: str, row: PrintedRow, sizes: PrintedRow | None
) -> Line:
    entries = {str(task): copied(cell) for task, cell in row.cells.items()}
    entries[MEAN] = accuracy(Estimate(row.mean(frames.tasks)), 2)
    entries |= _optional(AVERAGE, row.average)
    last = len(frames.tasks)
    size = row.final if last == paper.tasks else sizes.cells.get(last) if sizes else None
    return Line(method, PRINTED, entries | _optional(SIZE, size, "x"))


def _measured_accuracy(frames: Frames, method: str) -> list[Line]:
    reached, learned = measured.accuracy(frames, method), measured.learned(frames, method)
    if reached is None or learned is None:
        return [Line(method, NO_RUN, {})]
    lines = [_accuracies(frames, method, RUN, reached)]
    if measured.forgets(frames, method):
        lines.append(_accuracies(frames, method, LEARNED, learned))
    return lines


def _accuracies(frames: Frames, method: str, source: str, reached: pd.DataFrame) -> Line:
    sizes = measured.size(frames, method)
    assert sizes is not None
    entries = {str(task): accuracy(estimate(reached[task])) for task in reached}
    entries[MEAN] = accuracy(estimate(reached.mean(axis=1)), 2)
    entries[SIZE] = times(_last(sizes))
    return Line(method, source, entries, measured.units(frames, method))


def _measured_size(frames: Frames, paper: PaperBenchmark, method: str) -> Line:
    sizes = measured.size(frames, method)
    if sizes is None:
        return Line(method, NO_RUN, {})
    entries = {str(task): times(estimate(sizes[task])) for task in sizes}
    if len(frames.tasks) == paper.tasks:
        entries[SIZE] = times(_last(sizes))
    return Line(method, RUN, entries, measured.units(frames, method))


def _last(sizes: pd.DataFrame) -> Estimate:
    return estimate(sizes.iloc[:, -1])


def _optional(column: str, number: Printed | None, unit: str = "") -> dict[str, Entry]:
    return {column: copied(number, unit)} if number else {}


def benchmark_tables(frames: Frames, paper: PaperBenchmark) -> Sequence[PaperTable]:
    """Both tables of the benchmark."""
    return accuracy_table(frames, paper), size_table(frames, paper)
