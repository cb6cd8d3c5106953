"""The result in a few sentences, for those who read nothing else."""

from collections.abc import Iterator

import pandas as pd

from pipeline.report.frames import Frames
from pipeline.report.layout import percent, times
from pipeline.report.statistics import REFERENCE, SUBJECT, Estimate, estimate, totals


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
        yield (
            f"{SUBJECT}: {_reached(table, SUBJECT)}; {beside_reference(table)}, "
            f"with {100 * one['size'] / other['size']:.3g} % of its weights and "
            f"{one['macs'] / other['macs']:.2f} times its operations. "
            f"It forgets {100 * one['forgetting']:.1f} points."
        )


def beside_reference(table: pd.DataFrame) -> str:
    """How far CL-LSG lies from Scratch, seed by seed, and whether several seeds tell the two apart."""
    average = table.pivot(index="seed", columns="method", values="average")
    gain = estimate(average[SUBJECT] - average[REFERENCE])
    side = "above" if gain.mean >= 0 else "below"
    words = f"{percent(Estimate(abs(gain.mean), gain.half)).text} points {side} {REFERENCE}"
    apart = gain.half is None or abs(gain.mean) > gain.half
    return words if apart else f"{words}, so not told apart"


def _reached(table: pd.DataFrame, method: str) -> str:
    rows = table[table["method"] == method]
    return f"{percent(estimate(rows['average'])).text} % at {times(estimate(rows['size'])).text}"
