"""One claim of the paper and what it comes to: by the paper's own cells, and by our runs."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from pipeline.report.frames import Frames
from pipeline.report.layout import NOTHING
from pipeline.report.paired import Paired, Score, Verdict, paired
from pipeline.report.paper import measured
from pipeline.report.paper.printed import PrintedRow, by_method, paper_benchmark

Reached = Callable[[Frames, str], pd.DataFrame | None]
"""Accuracies of a method in %: `measured.accuracy`, after the last task, or `measured.learned`."""
RIVALS = ("pnn", "grow", "den", "cpg", "apd")
"""The methods of others that the paper compares with."""


@dataclass(frozen=True)
class PaperSide:
    """What the paper prints, what its cells give, and the verdict by its cells."""

    printed: str = NOTHING
    cells: str = NOTHING
    verdict: str = NOTHING


@dataclass(frozen=True)
class OurSide:
    """What our runs give, the verdict, and what it rests on."""

    found: str
    verdict: Verdict
    test: str


@dataclass(frozen=True)
class Finding:
    """A claim, shortly quoted, and the section or table that it stands in."""

    claim: str
    where: str
    paper: PaperSide
    ours: OurSide


@dataclass(frozen=True)
class Evidence:
    """What there is to judge by: our results, and the paper's rows of this benchmark, if it has any."""

    frames: Frames
    accuracy: Mapping[str, PrintedRow]
    size: Mapping[str, PrintedRow]
    tasks: int
    """How many tasks the claims are about: the paper's, elsewhere those of the run."""

    @property
    def partial(self) -> bool:
        return len(self.frames.tasks) < self.tasks

    @property
    def span(self) -> str:
        """Which tasks a number of a partial run is of; else nothing."""
        ran = len(self.frames.tasks)
        return f" ({'task 1' if ran == 1 else f'tasks 1 to {ran}'})" if self.partial else ""

    @property
    def others(self) -> Sequence[str]:
        """Methods that a sentence on all others is about: the paper's here, elsewhere all that it has."""
        return [method for method in RIVALS if method in self.accuracy] or RIVALS

    @property
    def rivals(self) -> Sequence[str]:
        """Methods that the paper compares with here; on other benchmarks those that were run."""
        return [method for method in self.others if method in (self.accuracy or self.frames.methods)]

    def compared(self, first: str, second: str, reached: Reached = measured.accuracy) -> Paired | None:
        """Accuracies in points, by seed and task; None where one of the two was not run."""
        one, other = reached(self.frames, first), reached(self.frames, second)
        return None if one is None or other is None else paired(one, other)

    def printed(self, first: str, second: str) -> Paired | None:
        """The same of the printed cells; None where the paper has not both."""
        if first not in self.accuracy or second not in self.accuracy:
            return None
        one, other = self.accuracy[first].values(), self.accuracy[second].values()
        return as_paired({task: one[task] - other[task] for task in one})

    def unrun(self, *methods: str) -> OurSide | None:
        """What to say when some of these methods have no run; None where all have."""
        missing = [method for method in methods if method not in self.frames.methods]
        return OurSide(f"no run of {', '.join(missing)}", "not run", NOTHING) if missing else None


def evidence(frames: Frames) -> Evidence:
    paper = paper_benchmark(frames)
    if paper is None:
        return Evidence(frames, {}, {}, len(frames.tasks))
    return Evidence(frames, by_method(paper.accuracy), by_method(paper.size), paper.tasks)


def as_paired(differences: Mapping[int, float]) -> Paired:
    """Printed differences by task: those of one, unnamed, seed."""
    return Paired(pd.DataFrame([differences]))


def on_all(score: Score, tasks: int) -> Verdict:
    """Better on every one of `tasks`, of which the score may have but some."""
    return _at_least(tasks, score, tasks)


def on_most(score: Score, tasks: int) -> Verdict:
    """Better on more than half of `tasks`."""
    return _at_least(tasks // 2 + 1, score, tasks)


def _at_least(needed: int, score: Score, tasks: int) -> Verdict:
    open_tasks = tasks - score.tasks
    if score.wins >= needed:
        return "holds"
    return "does not hold" if score.wins + open_tasks < needed else "cannot be decided"
