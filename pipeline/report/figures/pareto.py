"""Accuracy, size and what training took, at once: which methods no other beats in all three."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator
from numpy.typing import NDArray

from pipeline.report.figures.plot import TIMES, WIDTH, Plot, accuracy_axis, legend
from pipeline.report.figures.points import MACS, device, halves, log_axis, scatter
from pipeline.report.frames import Frames
from pipeline.report.material import Material
from pipeline.report.statistics import means
from pipeline.report.style import MUTED, TEXT

BETTER = {"average": 1, "size": -1, "work": -1}
"""Whether more is better (1) or less (-1)."""


def pareto(material: Material) -> Plot | None:
    """Size against accuracy and size against work; the methods that none beats in all three are ringed."""
    frames = material.frames
    table = means(frames)
    if len(table) < 2:
        return None
    table["work"], unit, called = _work(frames, table)
    figure = Figure(figsize=(WIDTH, 3.9), layout="constrained")
    left, right = figure.subplots(1, 2)
    unbeaten = table[front(table, list(BETTER))]
    for axes, column, errors in ((left, "average", halves(frames)), (right, "work", {})):
        _edge(axes, table[front(table, ["size", column])].sort_values("size"), column)
        scatter(axes, table, "size", column, errors)
        axes.plot(unbeaten["size"], unbeaten[column], "o", markersize=15, fillstyle="none", color=TEXT.light)
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_locator(LogLocator(2, numticks=5))
        axes.xaxis.set_major_formatter(TIMES)
        axes.set_xlabel("size over the dense 1x network")
    accuracy_axis(left, "average test accuracy")
    right.set_yscale("log")
    log_axis(right.yaxis)
    right.set_ylabel(f"{unit} of training")
    legend(figure, table.index)
    note = (
        "Means over seeds; bars: 95 % intervals of the average accuracy, where there are several seeds. "
        f"Ringed: methods that no other beats or equals in the means of accuracy, size and {called} at once. "
        "The line joins those that none beats in the two measures of its panel."
    )
    return Plot("Accuracy, model size and training against each other, by method", note, figure)


def _work(frames: Frames, table: pd.DataFrame) -> tuple[pd.Series, str, str]:
    """What training took, its unit, and its name: multiply-accumulates unless all seconds are known."""
    if table["seconds"].isna().any():
        return table["macs"] / 1e9, MACS, "multiply-accumulates"
    return table["seconds"], device(frames), "seconds"


def front(table: pd.DataFrame, columns: list[str]) -> NDArray[np.bool_]:
    """Which rows no other row beats: as good in every column, and better in one."""
    values = np.stack([BETTER[column] * table[column].to_numpy(float) for column in columns], axis=1)
    one, other = values[:, None], values[None]
    beats: NDArray[np.bool_] = np.all(other >= one, axis=2) & np.any(other > one, axis=2)
    unbeaten: NDArray[np.bool_] = ~np.any(beats, axis=1)
    return unbeaten


def _edge(axes: Axes, rows: pd.DataFrame, column: str) -> None:
    axes.plot(rows["size"], rows[column], color=MUTED.light, linewidth=1, drawstyle="steps-post", zorder=1)
