"""Which trial to take: the smallest network that is about as good as the best, on validation images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.sweep.trials import Outcome, Point, Trial

ROUNDING = 1e-9


@dataclass(frozen=True)
class Row:
    """A trial and where it stands."""

    trial: Trial
    outcome: Outcome

    @property
    def last(self) -> Point | None:
        """The trial's last point; None before its first task."""
        return self.outcome.points[-1] if self.outcome.points else None


def rule(within: float) -> str:
    """The rule of `choose`, in words."""
    return (
        "the smallest network among the finished trials whose validation accuracy is at most "
        f"{100 * within:g} points below the best one's"
    )


def choose(rows: Sequence[Row], within: float) -> Row | None:
    """The trial to take by the rule; of equal ones the more accurate. None if none finished."""
    finished = [(row, row.last) for row in rows if row.outcome.finished and row.last]
    if not finished:
        return None
    best = max(last.validation_accuracy for _, last in finished)
    near = [(row, last) for row, last in finished if last.validation_accuracy >= best - within - ROUNDING]
    return min(near, key=lambda each: (each[1].size, -each[1].validation_accuracy, each[0].trial.number))[0]


def front(rows: Sequence[Row]) -> list[Row]:
    """The finished trials that no other is both smaller and more accurate than, the smallest first."""
    finished = [(row, row.last) for row in rows if row.outcome.finished and row.last]
    kept: list[Row] = []
    best = -1.0
    for row, last in sorted(finished, key=lambda each: (each[1].size, -each[1].validation_accuracy)):
        if last.validation_accuracy > best:
            best = last.validation_accuracy
            kept.append(row)
    return kept
