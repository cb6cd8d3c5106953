"""The numbers that the paper prints, cell by cell (`paper_tables.csv`), and which table shows what.

The file's columns: `table`; `method` as printed; `task`, a number, `avg` or `final` (the model size); `value`
with the printed digits, without the "x" of sizes and the "+" of increments; `note`, where the print is odd.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from statistics import fmean

import pandas as pd

from pipeline.benchmarks.superclasses import CLASS_NAMES, SUPERCLASSES
from pipeline.report.frames import Frames

ABLATION = 8
OURS = "cl-lsg"
NAMES: Mapping[str, str] = {
    "Scratch": "scratch",
    "Fine-tune": "fine-tune",
    "PNN": "pnn",
    "Grow": "grow",
    "Grow only": "grow",
    "DEN": "den",
    "CPG": "cpg",
    "APD": "apd",
    "Ours": OURS,
}
"""Our name of each row of tables 2 to 7."""


@dataclass(frozen=True)
class PaperBenchmark:
    """The tables of a benchmark, by number, and how many tasks they show."""

    accuracy: int
    size: int
    tasks: int
    title: str


BENCHMARKS: Mapping[str, PaperBenchmark] = {
    "cifar100-superclass": PaperBenchmark(2, 3, 20, "CIFAR-100 Superclass"),
    "cifar100-split": PaperBenchmark(4, 5, 10, "CIFAR-100 Split"),
    "miniimagenet": PaperBenchmark(6, 7, 20, "MiniImageNet Split"),
}
TASK_NAMES: Mapping[str, tuple[str, ...]] = {
    "cifar100-superclass": tuple(SUPERCLASSES),
    "cifar100-split": tuple(f"{CLASS_NAMES[first]}-{CLASS_NAMES[first + 9]}" for first in range(0, 100, 10)),
}
"""The tasks in their usual order, which the paper's tables are read in; MiniImageNet's is not known."""
ABLATED = "cifar100-superclass"
"""The benchmark of table 8."""


@dataclass(frozen=True)
class Printed:
    """One printed number: % for accuracies, points for increments, multiples of the 1x network for sizes."""

    text: str
    value: float


@dataclass(frozen=True)
class PrintedRow:
    """One row. `cells` by task, where printed; `average` and `final` (model size) as the paper gives them."""

    name: str
    cells: Mapping[int, Printed]
    average: Printed | None
    final: Printed | None

    def mean(self, tasks: Iterable[int] | None = None) -> float:
        """The mean of the printed cells, of all or of some tasks."""
        return fmean(self.cells[task].value for task in (tasks or self.cells))

    def values(self) -> dict[int, float]:
        return {task: cell.value for task, cell in self.cells.items()}


def paper_benchmark(frames: Frames) -> PaperBenchmark | None:
    """The paper's benchmark that these results are of.

    None for others, for more tasks than it has, and where its classes make other tasks or its tasks were
    learned in another order: a column of the paper's tables is a task.
    """
    found = BENCHMARKS.get(frames.benchmark)
    return found if found and len(frames.tasks) <= found.tasks and not _other_tasks(frames) else None


def has_ablation(frames: Frames) -> bool:
    """Whether the paper's table 8, and what it says of its benchmark alone, are of these results."""
    return paper_benchmark(frames) is BENCHMARKS[ABLATED]


def _other_tasks(frames: Frames) -> bool:
    """Whether CIFAR-100's classes make some task that is not the paper's at its place.

    Names of others' making, as of a folder that numbers its classes, say nothing about what they are.
    """
    names = TASK_NAMES.get(frames.benchmark, ())
    telling = {task: name for task, name in frames.tasks.items() if name in names or _of_classes(name)}
    return bool(names) and any(names[task - 1] != name for task, name in telling.items())


def _of_classes(name: str) -> bool:
    """Whether a task is named by its first and last class, and these are CIFAR-100's."""
    return set(name.split("-")) <= set(CLASS_NAMES)


@cache
def printed_cells() -> pd.DataFrame:
    """All printed numbers: table (number), method, task, value (as printed), note."""
    with files("pipeline.report.paper").joinpath("paper_tables.csv").open() as file:
        types = {"table": int, "method": str, "task": str, "value": str, "note": str}
        return pd.read_csv(file, dtype=types, keep_default_na=False)


def printed_table(number: int) -> dict[str, PrintedRow]:
    """The rows of a table by their printed names, in the paper's order."""
    cells = printed_cells()
    of_table = cells[cells["table"] == number]
    return {name: _row(name, of_table) for name in dict.fromkeys(of_table["method"])}


def by_method(number: int) -> dict[str, PrintedRow]:
    """The rows of one of tables 2 to 7 by our names, in the paper's order."""
    return {NAMES[name]: row for name, row in printed_table(number).items()}


def _row(name: str, cells: pd.DataFrame) -> PrintedRow:
    own = cells[cells["method"] == name]
    numbers = {task: Printed(text, float(text)) for task, text in zip(own["task"], own["value"], strict=True)}
    by_task = {int(task): number for task, number in numbers.items() if task.isdigit()}
    return PrintedRow(name, by_task, numbers.get("avg"), numbers.get("final"))
