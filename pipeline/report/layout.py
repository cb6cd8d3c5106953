"""The tables, laid out once for Markdown, page and terminal: cells with a text and a value to sort by."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from math import log10
from typing import Any

import pandas as pd

from pipeline.report.frames import Frames
from pipeline.report.statistics import TIE, Estimate, estimate, totals

NOTHING = "\N{EN DASH}"
_LARGE = ("", " k", " M", " G", " T", " P")


@dataclass(frozen=True)
class Cell:
    """What a table shows, the number or word that its column is sorted by, and the task that it is of."""

    text: str
    value: float | str
    task: int | None = None


@dataclass(frozen=True)
class Row:
    """`units`: the unit directories that the row's numbers come from."""

    cells: tuple[Cell, ...]
    units: tuple[str, ...]


@dataclass(frozen=True)
class Table:
    """A table and what it is called."""

    name: str
    title: str
    caption: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]

    def texts(self) -> list[list[str]]:
        """What the rows show."""
        return [[cell.text for cell in row.cells] for row in self.rows]

    def aligned(self) -> list[str]:
        """How each column stands: words left, numbers right."""
        return ["left" if isinstance(cell.value, str) else "right" for cell in self.rows[0].cells]


def summary_table(frames: Frames) -> Table:
    """A row a method: what it reached and what it took."""
    shown: dict[str, Callable[[Estimate], Cell]] = {
        "average": percent,
        "forgetting": percent,
        "forward_transfer": percent,
        "size": times,
        "steps": count,
        "macs": big,
        "seconds": count,
    }
    table = totals(frames)
    rows = [
        Row(
            (word(method), *(show(estimate(_of(table, method)[name])) for name, show in shown.items())),
            _units(_of(frames.cost, method)),
        )
        for method in frames.methods
    ]
    columns = ("Method", "Average %", "Forgetting", "Transfer", "Size", "Steps", "MACs", "Seconds")
    caption = (
        f"Average test accuracy over all {len(frames.tasks)} tasks after the last one; forgetting in "
        "percentage points: the mean fall from a task's best earlier accuracy; transfer: how much "
        "better tasks after the first were learned than by Scratch; size: allocated weights over the dense "
        "1x network's; steps, multiply-accumulates and seconds of training, all tasks, and a dash where "
        "seconds are unknown or of different machines. "
        f"{conditions(frames)}"
    )
    return Table("summary", "Summary", caption, columns, tuple(rows))


def accuracy_table(frames: Frames) -> Table:
    """A row a method, a column a task, as the paper's Table 4."""
    last = frames.accuracy[frames.accuracy["after_task"] == len(frames.tasks)]
    table = totals(frames)
    rows = [
        Row(
            (
                word(method),
                *(_over_tasks(_of(last, method), "accuracy", percent)),
                percent(estimate(_of(table, method)["average"])),
                times(estimate(_of(table, method)["size"])),
            ),
            _units(_of(last, method)),
        )
        for method in frames.methods
    ]
    columns = ("Method", *map(str, frames.tasks), "Avg", "Model size")
    caption = f"Test accuracy in % of each task after the last one. {conditions(frames)}"
    return Table("accuracy", "Accuracy", caption, columns, tuple(rows))


def size_table(frames: Frames) -> Table:
    """A row a method, a column a task, as the paper's Table 5."""
    rows = [
        Row(
            (word(method), *_over_tasks(_of(frames.size, method), "allocated", times)),
            _units(_of(frames.size, method)),
        )
        for method in frames.methods
    ]
    caption = (
        "Allocated weights after each task over those of the dense 1x network; scratch and fine-tune keep "
        f"one network a task. {conditions(frames)}"
    )
    return Table("size", "Model size", caption, ("Method", *map(str, frames.tasks)), tuple(rows))


def growth_table(frames: Frames) -> Table:
    """A row a (method, seed, task) of CL-LSG and its parts: what each stage reached, and what grew."""
    rows = [
        Row(
            (
                word(str(row.method)),
                *(number(row.seed), task_number(row.task)),
                *(share(row.goal), share(row.stage_1), share(row.stage_2)),
                *(number(row.gates_opened), number(row.gates_closed)),
                share(row.released_share),
                word(words(row.reason)),
            ),
            (str(row.unit),),
        )
        for row in frames.growth.itertuples()
    ]
    stages = ("Goal %", "Stage 1 %", "Stage 2 %", "Opened", "Closed", "Free %", "Outcome")
    caption = (
        f"Accuracy on the {frames.decision_split} split after stage 1 (pick and reuse) and stage 2 (grow); "
        "candidate channels that stage 2 opened and closed; share of the allocated weights that no task owns "
        f"yet. Task 1 only grows. Protocol {frames.protocol}."
    )
    return Table("growth", "Growth", caption, ("Method", "Seed", "Task", *stages), tuple(rows))


def decisions_table(frames: Frames) -> Table:
    """A row a decision."""
    rows = [
        Row(
            (
                word(str(row.method)),
                *(number(row.seed), task_number(row.task)),
                *(word(words(row.question)), word(answer(row.answer))),
                *(share(row.value), share(row.goal)),
                *(word(str(row.split)), word(words(row.reason))),
            ),
            (str(row.unit),),
        )
        for row in frames.decisions.itertuples()
    ]
    columns = ("Method", "Seed", "Task", "Question", "Answer", "Value %", "Goal %", "Split", "Reason")
    caption = f"What a method asked itself, and the accuracies that answered. Protocol {frames.protocol}."
    return Table("decisions", "Decisions", caption, columns, tuple(rows))


def conditions(frames: Frames) -> str:
    """What a reader must know of every number: protocol, splits and seeds."""
    seeds = len(frames.seeds)
    spread = (
        f"mean ± 95 % interval over {seeds} seeds (Student's t; none where all agree)"
        if seeds > 1
        else "1 seed, hence no interval"
    )
    return (
        f"Protocol {frames.protocol}: decisions on the {frames.decision_split} split, numbers on the test "
        f"split; {spread}."
    )


def percent(value: Estimate) -> Cell:
    """A fraction as a percentage. What rounds to zero has no sign."""
    return Cell(with_half(value, lambda number: f"{round(100 * number, 1) + 0.0:.1f}"), value.mean)


def times(value: Estimate) -> Cell:
    """A size as a multiple."""
    return Cell(with_half(value, lambda number: f"{number:.2f}", "x"), value.mean)


def count(value: Estimate) -> Cell:
    """A number of things, with thousands apart; a dash where it is not known."""
    if pd.isna(value.mean):
        return Cell(NOTHING, -1.0)
    return Cell(with_half(value, lambda number: f"{number:,.0f}"), value.mean)


def big(value: Estimate) -> Cell:
    """A large number with three digits and a unit."""
    rounded = float(f"{value.mean:.3g}")  # before the unit is chosen: 999.6 million are 1.00 G
    power = min(int(log10(max(rounded, 1)) // 3), len(_LARGE) - 1)
    scale = 1000**power
    decimals = max(2 - int(log10(rounded / scale)), 0) if power else 0
    return Cell(with_half(value, lambda number: f"{number / scale:.{decimals}f}", _LARGE[power]), value.mean)


def share(value: Any) -> Cell:
    """One fraction as a percentage; a dash where there is none."""
    return Cell(NOTHING, -1.0) if pd.isna(value) else percent(Estimate(float(value)))


def number(value: Any) -> Cell:
    return Cell(str(int(value)), float(value))


def task_number(value: Any) -> Cell:
    """A task's number, which leads to what was decided there."""
    return replace(number(value), task=int(value))


def word(text: str) -> Cell:
    return Cell(text, text)


def words(name: Any) -> str:
    """A field's value as words: below_target is `below target`."""
    return str(name).replace("_", " ")


def answer(given: Any) -> str:
    """A decision's answer: yes, no, or the number or word that it is; a table of pandas has them as text."""
    return {"True": "yes", "False": "no"}.get(str(given), str(given))


def with_half(value: Estimate, show: Callable[[float], str], unit: str = "") -> str:
    """The mean and half its interval, which is left out where all seeds agree."""
    agree = value.half is None or value.half <= TIE * abs(value.mean)
    return f"{show(value.mean)}{unit}" if agree else f"{show(value.mean)}{unit} ± {show(value.half or 0.0)}"


def _of(table: pd.DataFrame, method: str) -> pd.DataFrame:
    return table[table["method"] == method]


def _over_tasks(table: pd.DataFrame, column: str, show: Callable[[Estimate], Cell]) -> list[Cell]:
    groups = table.groupby("task", sort=True)
    return [replace(show(estimate(rows[column])), task=int(str(task))) for task, rows in groups]


def _units(table: pd.DataFrame) -> tuple[str, ...]:
    return tuple(dict.fromkeys(table["unit"]))


def all_tables(frames: Frames) -> Sequence[Table]:
    """Every table that has rows, in reading order."""
    makers: Iterable[Callable[[Frames], Table]] = (
        summary_table,
        accuracy_table,
        size_table,
        growth_table,
        decisions_table,
    )
    return [table for maker in makers if (table := maker(frames)).rows]
