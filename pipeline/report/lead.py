"""The result in a few sentences, for those who read nothing else."""

import math
from collections.abc import Iterator

import pandas as pd

from pipeline.report.frames import Frames
from pipeline.report.layout import percent, times
from pipeline.report.statistics import (
    CONFIDENCE,
    REFERENCE,
    SUBJECT,
    TIE,
    Estimate,
    estimate,
    means,
    totals,
)

EVIDENT = 0.05
"""A difference that counts where all seeds have the same. Accuracies are counts of images, so a few seeds
often happen to have the same small one, which says nothing of their spread."""


def lead(frames: Frames) -> list[str]:
    """Best average and what is level with it, smallest size, CL-LSG against Scratch; means over seeds."""
    return list(_sentences(totals(frames), means(frames)))


def _sentences(table: pd.DataFrame, by_method: pd.DataFrame) -> Iterator[str]:
    best = str(by_method["average"].idxmax())
    yield f"Highest average accuracy: {best}, {_reached(table, best)}{level_with(table, best)}."
    smallest = by_method.index[by_method["size"] <= by_method["size"].min() + TIE]
    yield f"Smallest: {'; '.join(f'{name}, {_reached(table, name)}' for name in smallest)}."
    if SUBJECT in by_method.index:
        one, other = by_method.loc[SUBJECT], by_method.loc[REFERENCE]
        yield (
            f"{SUBJECT}: {_reached(table, SUBJECT)}; {beside_reference(table)}, "
            f"with {100 * one['size'] / other['size']:.3g} % of its weights and "
            f"{one['macs'] / other['macs']:.2f} times its operations. "
            f"It forgets {100 * one['forgetting']:.1f} points."
        )


def beside_reference(table: pd.DataFrame) -> str:
    """How far CL-LSG lies from Scratch, seed by seed, and whether several seeds tell the two apart."""
    gain = _gain(table, SUBJECT, REFERENCE)
    side = "above" if gain.mean >= 0 else "below"
    words = f"{percent(Estimate(abs(gain.mean), gain.half)).text} points {side} {REFERENCE}"
    return words if _told_apart(gain) else f"{words}, so not told apart"


def level_with(table: pd.DataFrame, best: str) -> str:
    """The methods that several seeds do not tell apart from the best one.

    Which one is best is seen in the same numbers, so the level is divided by the number of all pairs
    (Bonferroni): where all methods are alike, one is told apart in at most 5 % of the experiments.
    """
    others = [other for other in table["method"].unique() if other != best]
    confidence = 1 - (1 - CONFIDENCE) / max(1, math.comb(len(others) + 1, 2))
    level = [other for other in others if not _told_apart(_gain(table, best, other, confidence))]
    return f", not told apart from {', '.join(level)}" if level else ""


def _gain(table: pd.DataFrame, method: str, other: str, confidence: float = CONFIDENCE) -> Estimate:
    """How far a method's average lies above another's, seed by seed."""
    average = table.pivot(index="seed", columns="method", values="average")
    return estimate(average[method] - average[other], confidence)


def _told_apart(gain: Estimate) -> bool:
    """Whether the seeds decide between two methods; one seed has no interval that could say no."""
    if gain.half is None:
        return abs(gain.mean) > TIE
    return abs(gain.mean) > (gain.half if gain.half > TIE else EVIDENT)


def _reached(table: pd.DataFrame, method: str) -> str:
    rows = table[table["method"] == method]
    return f"{percent(estimate(rows['average'])).text} % at {times(estimate(rows['size'])).text}"
