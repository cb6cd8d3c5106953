"""The result in a few sentences, for those who read nothing else."""

from collections.abc import Iterator

import pandas as pd

from pipeline.report.frames import Frames
from pipeline.report.layout import percent, times
from pipeline.report.statistics import REFERENCE, SUBJECT, estimate, totals


def lead(frames: Frames) -> list[str]:
    """Best average, smallest size, and CL-LSG against Scratch; means over seeds."""
    table = totals(frames)
    return list(_sentences(frames, table))


def _sentences(frames: Frames, table: pd.DataFrame) -> Iterator[str]:
    means = table.drop(columns="seed").groupby("method", sort=False).mean().loc[frames.methods]
    best, smallest = str(means["average"].idxmax()), str(means["size"].idxmin())
    yield f"Highest average accuracy: {best}, {_reached(table, best)}."
    yield f"Smallest: {smallest}, {_reached(table, smallest)}."
    if SUBJECT in means.index:
        one, other = means.loc[SUBJECT], means.loc[REFERENCE]
        points = 100 * (one["average"] - other["average"])
        side = "above" if points >= 0 else "below"
        yield (
            f"{SUBJECT}: {_reached(table, SUBJECT)}; {abs(points):.1f} points {side} "
            f"{REFERENCE} with {100 * one['size'] / other['size']:.3g} % of its weights and "
            f"{one['macs'] / other['macs']:.2f} times its operations. "
            f"It forgets {100 * one['forgetting']:.1f} points."
        )


def _reached(table: pd.DataFrame, method: str) -> str:
    rows = table[table["method"] == method]
    return f"{percent(estimate(rows['average'])).text} % at {times(estimate(rows['size'])).text}"
