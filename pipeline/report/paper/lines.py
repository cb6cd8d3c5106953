"""A table of the paper, line by line: what it prints, and below it what our runs came to."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import nan

import pandas as pd

from pipeline.report.frames import Frames
from pipeline.report.layout import NOTHING, Cell, Row, Table, conditions, with_half, word
from pipeline.report.paper.printed import Printed
from pipeline.report.statistics import Estimate

PRINTED, RUN, LEARNED, NO_RUN = "printed", "run", "run, as learned", "no run"


@dataclass(frozen=True)
class Entry:
    """One number as it is shown and as it is; `half`: half of its 95 % interval over seeds."""

    text: str
    mean: float
    half: float | None = None


@dataclass(frozen=True)
class Line:
    """One line.

    `source`: PRINTED, RUN, LEARNED (a run's numbers right after each task) or NO_RUN; `entries` by column;
    `units`: of a run's numbers.
    """

    method: str
    source: str
    entries: Mapping[str, Entry]
    units: tuple[str, ...] = ()
    step: str = ""


@dataclass(frozen=True)
class PaperTable:
    """A table with the paper's number. A column that a line has no entry for shows a dash, or nothing in a
    line without a run."""

    number: int
    title: str
    caption: str
    columns: tuple[str, ...]
    lines: tuple[Line, ...]

    @property
    def name(self) -> str:
        """Of its files and of its place on the page."""
        return f"table_{self.number}"

    def laid(self) -> Table:
        """For page, Markdown and LaTeX."""
        steps = any(line.step for line in self.lines)
        heads = ("Method", *(["Step"] if steps else []), "Source")
        rows = []
        for line in self.lines:
            named = [line.method, *([line.step] if steps else []), line.source]
            cells = [_cell(line, column) for column in self.columns]
            rows.append(Row((*map(word, named), *cells), line.units))
        return Table(self.name, self.title, self.caption, (*heads, *self.columns), tuple(rows))

    def frame(self, frames: Frames) -> pd.DataFrame:
        """For a CSV file: each column as a number, and `<column> half` for half its interval."""
        rows = []
        for line in self.lines:
            run = line.source in (RUN, LEARNED)
            row: dict[str, object] = {
                "method": line.method,
                "step": line.step,
                "source": line.source,
                "protocol": frames.protocol if run else "",
                "seeds": len(frames.seeds) if run else nan,
            }
            for column in self.columns:
                entry = line.entries.get(column)
                row[column] = round(entry.mean, 6) if entry else nan
                row[f"{column} half"] = nan if entry is None or entry.half is None else round(entry.half, 6)
            rows.append(row)
        return pd.DataFrame(rows).astype({"seeds": "Int64"})


def copied(number: Printed, unit: str = "") -> Entry:
    """A printed number, with its digits as printed."""
    return Entry(f"{number.text}{unit}", number.value)


def accuracy(value: Estimate, digits: int = 1) -> Entry:
    """An accuracy, which is in % already."""
    return _entry(value, f".{digits}f")


def points(value: Estimate, digits: int = 1) -> Entry:
    """A difference of accuracies, with its sign."""
    sign = "+" if value.mean >= 0 else "\N{MINUS SIGN}"
    text = with_half(replace(value, mean=abs(value.mean)), lambda number: f"{number:.{digits}f}")
    return Entry(f"{sign}{text}", value.mean, value.half)


def times(value: Estimate) -> Entry:
    """A size over the dense 1x network's."""
    return _entry(value, ".2f", "x")


def stated(frames: Frames, tasks: int | None) -> str:
    """What a caption must say: how much of the paper's `tasks` was run, protocol, splits and seeds."""
    ran = len(frames.tasks)
    partial = (
        f"Only tasks 1 to {ran} of the paper's {tasks} were run: means, the paper's too, are over these; "
        f"what it prints of all {tasks} is not the comparison. "
        if tasks is not None and ran < tasks
        else ""
    )
    return f"{partial}{conditions(frames)}"


def _entry(value: Estimate, form: str, unit: str = "") -> Entry:
    return Entry(with_half(value, lambda number: format(number, form), unit), value.mean, value.half)


def _cell(line: Line, column: str) -> Cell:
    entry = line.entries.get(column)
    if entry is None:
        return Cell("" if line.source == NO_RUN else NOTHING, -1.0)
    return Cell(entry.text, entry.mean)
