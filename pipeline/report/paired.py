"""Two methods under the same seeds and tasks: their differences, and what can be concluded from them.

The exact sign-flip test: were both methods alike, each difference could as well have the other sign. Its p is
the share of all 2^n sign patterns whose mean lies as far from zero as the one that was seen.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from scipy.stats import binomtest, permutation_test

from pipeline.report.statistics import TIE, Estimate, estimate
from pipeline.wording import counted

Verdict = Literal["holds", "does not hold", "cannot be decided", "not run"]
LEVEL = 0.05
"""The two-sided p below which a difference counts."""
MOST_EXACT = 22
"""Differences up to which all sign patterns are tried: four million."""
_RANDOM = 99_999


@dataclass(frozen=True)
class SignFlip:
    """The test over `count` seeds or tasks. `p` is None where so few can never go below LEVEL."""

    over: Literal["seed", "task"]
    count: int
    p: float | None

    def __str__(self) -> str:
        named = counted(self.count, self.over)
        if self.p is None:
            return f"{named} cannot go below p = {smallest_p(self.count):.2g}"
        return f"over {named} p = {self.p:.2g}"


@dataclass(frozen=True)
class Score:
    """On how many tasks the first method is above, level with and below the second."""

    wins: int
    ties: int
    losses: int

    @property
    def tasks(self) -> int:
        return self.wins + self.ties + self.losses

    @property
    def p(self) -> float:
        """Two-sided sign test over the tasks that are not level."""
        decided = self.wins + self.losses
        return float(binomtest(self.wins, decided).pvalue) if decided else 1.0

    def __str__(self) -> str:
        return f"{self.wins} better, {self.ties} level, {self.losses} worse"


@dataclass(frozen=True)
class Paired:
    """`differences`: first method minus second, a row a seed and a column a task."""

    differences: pd.DataFrame

    @property
    def mean(self) -> Estimate:
        """Of the mean over tasks, over seeds."""
        return estimate(self.differences.mean(axis=1))

    @property
    def later(self) -> "Paired":
        """Without the first task."""
        return Paired(self.differences.iloc[:, 1:])

    @property
    def by_task(self) -> dict[int, float]:
        """The mean over seeds of each task."""
        return {int(str(task)): float(value) for task, value in self.differences.mean(axis=0).items()}

    @property
    def score(self) -> Score:
        """Of the tasks' means over seeds."""
        return score(self.by_task.values())

    def tests(self) -> tuple[SignFlip, SignFlip]:
        """Over seeds, of their means over tasks; and over tasks, of their means over seeds."""
        return (
            _sign_flips("seed", self.differences.mean(axis=1).tolist()),
            _sign_flips("task", list(self.by_task.values())),
        )


def paired(first: pd.DataFrame, second: pd.DataFrame) -> Paired:
    """From two tables with the same seeds (rows) and tasks (columns); raises ValueError where they differ."""
    if not (first.index.equals(second.index) and first.columns.equals(second.columns)):
        raise ValueError("the two methods have different seeds or tasks")
    return Paired(first - second)


def sign_flip(differences: Sequence[float]) -> float:
    """Two-sided p of the sign-flip test of the mean; exact up to MOST_EXACT differences, sampled beyond."""
    values = np.asarray(differences, dtype=float)
    if len(values) > MOST_EXACT:
        found = permutation_test(
            (values,), np.mean, permutation_type="samples", n_resamples=_RANDOM, rng=np.random.default_rng(0)
        )
        return float(found.pvalue)
    sums = np.zeros(1)
    for value in values:
        sums = np.concatenate([sums - value, sums + value])
    return float(np.mean(np.abs(sums) >= abs(values.sum()) - TIE * np.abs(values).sum()))


def smallest_p(count: int) -> float:
    """The least that the sign-flip test of so many differences can give."""
    return min(1.0, 2.0 ** (1 - count))


def score(differences: Iterable[float]) -> Score:
    """Wins, ties and losses of these differences, each as far from zero as rounding allows or further."""
    values = list(differences)
    wins = sum(value > TIE for value in values)
    losses = sum(value < -TIE for value in values)
    return Score(wins, len(values) - wins - losses, losses)


def direction(mean: Estimate, tests: Iterable[SignFlip]) -> Verdict:
    """Whether the mean is above zero: where every test that the numbers allow, and the interval, say so."""
    possible = [test.p for test in tests if test.p is not None]
    within = mean.half is not None and abs(mean.mean) <= mean.half
    if not possible or max(possible) >= LEVEL or within:
        return "cannot be decided"
    return "holds" if mean.mean > 0 else "does not hold"


def _sign_flips(over: Literal["seed", "task"], differences: Sequence[float]) -> SignFlip:
    count = len(differences)
    return SignFlip(over, count, sign_flip(differences) if smallest_p(count) < LEVEL else None)
