"""Accuracy, size and seconds at once: which methods no other beats in all three."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator
from numpy.typing import NDArray

from pipeline.report.figures.plot import TIMES, WIDTH, Plot, accuracy_axis, legend
from pipeline.report.figures.points import device, halves, log_axis, scatter, timed, untimed
from pipeline.report.material import Material
from pipeline.report.style import MUTED, TEXT

BETTER = {"average": 1, "size": -1, "seconds": -1}
"""Whether more is better (1) or less (-1)."""


def pareto(material: Material) -> Plot | None:
    """Size against accuracy and size against seconds; the methods that none beats in all three are ringed."""
    frames = material.frames
    table = timed(frames)
    if len(table) < 2:
        return None
    figure = Figure(figsize=(WIDTH, 3.9), layout="constrained")
    left, right = figure.subplots(1, 2)
    unbeaten = table[front(table, list(BETTER))]
    for axes, column, errors in ((left, "average", halves(frames)), (right, "seconds", {})):
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
    right.set_ylabel(f"{device(frames)} of training")
    legend(figure, table.index)
    note = (
        "Means over seeds; bars: 95 % intervals of the average accuracy, where there are several seeds. "
        "Ringed: methods that no other beats or equals in the means of accuracy, size and seconds at once. "
        f"The line joins those that none beats in the two measures of its panel. {untimed(frames, table)}"
    )
    return Plot("Accuracy, model size and training time against each other, by method", note, figure)


def front(table: pd.DataFrame, columns: list[str]) -> NDArray[np.bool_]:
    """Which rows no other row beats: as good in every column, and better in one."""
    values = np.stack([BETTER[column] * table[column].to_numpy(float) for column in columns], axis=1)
    one, other = values[:, None], values[None]
    beats: NDArray[np.bool_] = np.all(other >= one, axis=2) & np.any(other > one, axis=2)
    unbeaten: NDArray[np.bool_] = ~np.any(beats, axis=1)
    return unbeaten


def _edge(axes: Axes, rows: pd.DataFrame, column: str) -> None:
    axes.plot(rows["size"], rows[column], color=MUTED.light, linewidth=1, drawstyle="steps-post", zorder=1)
