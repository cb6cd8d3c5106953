"""The figures, as SVG and PNG: accuracy by task, size by task, accuracy of every task after every task."""

from collections.abc import Callable, Mapping
from io import StringIO
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from pipeline.report.frames import Frames
from pipeline.report.statistics import estimate
from pipeline.report.style import GROUND, MUTED, RULE, TEXT, lines

TITLES = {
    "accuracy": "Test accuracy of each task after the last one, by method",
    "size": "Model size after each task, by method",
    "matrix": "Test accuracy of every task after every task, by method",
}
"""What each figure shows, for captions and for readers who do not see it."""

_STYLE: dict[Any, Any] = {
    "axes.edgecolor": MUTED.light,
    "axes.facecolor": GROUND.light,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.labelcolor": TEXT.light,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.axisbelow": True,
    "figure.facecolor": GROUND.light,
    "font.family": "DejaVu Sans",
    "font.size": 9.5,
    "grid.color": RULE.light,
    "legend.frameon": False,
    "savefig.dpi": 160,
    "svg.fonttype": "none",
    "text.color": TEXT.light,
    "xtick.color": MUTED.light,
    "ytick.color": MUTED.light,
}
_NO_METADATA = dict.fromkeys(("Creator", "Date", "Format", "Type"))  # equal data, equal bytes
_PANELS_ACROSS = 4
_FEW_TASKS = 10  # so many fit with a number in each cell


def draw(frames: Frames, folder: Path) -> dict[str, str]:
    """Writes <name>.svg and <name>.png of every figure; returns the SVG texts by name."""
    makers: Mapping[str, Callable[[Frames], Figure]] = {
        "accuracy": _accuracy,
        "size": _size,
        "matrix": _matrix,
    }
    texts = {}
    for name, make in makers.items():
        with mpl.rc_context(_STYLE | {"svg.hashsalt": name}):
            figure = make(frames)
            figure.savefig(folder / f"{name}.png")
            text = StringIO()
            figure.savefig(text, format="svg", metadata=_NO_METADATA)
        (folder / f"{name}.svg").write_text(text.getvalue(), encoding="utf-8")
        texts[name] = text.getvalue()
    return texts


def _accuracy(frames: Frames) -> Figure:
    last = frames.accuracy[frames.accuracy["after_task"] == len(frames.tasks)]
    figure, axes = _by_task(frames, last, "accuracy")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g} %"))
    axes.set_ylabel("test accuracy")
    bottom, top = axes.get_ylim()
    axes.set_ylim(max(bottom, 0.0), min(top, 1.02))
    return figure


def _size(frames: Frames) -> Figure:
    figure, axes = _by_task(frames, frames.size, "allocated")
    axes.set_yscale("log", base=2)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}x"))
    axes.set_ylabel("size over the dense 1x network")
    return figure


def _by_task(frames: Frames, table: pd.DataFrame, column: str) -> tuple[Figure, Axes]:
    """A line a method over the tasks, with intervals where there are seeds to tell them."""
    figure = Figure(figsize=(7.2, 3.6), layout="constrained")
    axes = figure.add_subplot()
    styles = lines(frames.methods)
    offsets = np.linspace(-0.08, 0.08, len(styles)) if len(styles) > 1 else [0.0]
    for (method, style), offset in zip(styles.items(), offsets, strict=True):
        rows = table[table["method"] == method]
        found = [estimate(group[column]) for _, group in rows.groupby("task", sort=True)]
        axes.errorbar(
            [task + offset for task in frames.tasks],
            [value.mean for value in found],
            yerr=[value.half or 0.0 for value in found] if len(frames.seeds) > 1 else None,
            label=method,
            color=style.ink.light,
            linestyle=style.dash,
            marker=style.marker,
            markersize=5,
            linewidth=1.6,
            elinewidth=1,
            capsize=2.5,
        )
    axes.set_xlabel("task")
    axes.set_xticks(_ticks(len(frames.tasks), 20))
    axes.set_xlim(0.5, len(frames.tasks) + 0.5)
    figure.legend(loc="outside upper left", ncols=4)
    return figure, axes


def _matrix(frames: Frames) -> Figure:
    """A panel a method: rows are the task after which, columns the task of which accuracy is shown."""
    methods, tasks = frames.methods, len(frames.tasks)
    across = min(len(methods), _PANELS_ACROSS)
    down = -(-len(methods) // across)
    figure = Figure(figsize=(0.9 + 2.5 * across, 2.9 * down), layout="constrained")
    panels = figure.subplots(down, across, squeeze=False).flatten()
    grids = {method: _grid(frames, method) for method in methods}
    colours = mpl.colormaps["cividis"].resampled(32)  # few enough for the bar to be drawn as shapes
    low = min(float(np.nanmin(grid)) for grid in grids.values())
    high = max(float(np.nanmax(grid)) for grid in grids.values())
    for unused in panels[len(methods) :]:
        unused.remove()
    for axes, (method, grid) in zip(panels, grids.items(), strict=False):
        edges = np.arange(tasks + 1) + 0.5
        mesh = axes.pcolormesh(edges, edges, grid, cmap=colours, vmin=low, vmax=high)
        mesh.set_edgecolor("face")  # no seams between the cells
        axes.grid(False)
        axes.set_title(method, fontsize=9.5)
        axes.set_xlabel("accuracy of task")
        axes.set_aspect("equal")
        axes.invert_yaxis()
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_ticks(_ticks(tasks, _FEW_TASKS))
        if tasks <= _FEW_TASKS:
            _number(axes, grid, (low + high) / 2)
    for axes in panels[: len(methods) : across]:
        axes.set_ylabel("after task")
    bar = figure.colorbar(
        mesh, ax=panels[: len(methods)], format=FuncFormatter(lambda value, _: f"{100 * value:.0f} %")
    )
    bar.outline.set_visible(False)
    return figure


def _grid(frames: Frames, method: str) -> np.ndarray:
    """Mean accuracies over seeds, [after task, task]; NaN before a task is learned."""
    rows = frames.accuracy[frames.accuracy["method"] == method]
    means = rows.groupby(["after_task", "task"])["accuracy"].mean()
    return means.unstack().to_numpy(dtype=float)


def _ticks(tasks: int, most: int) -> list[int]:
    """Tasks to name on an axis, from 1 on, `most` of them at most."""
    return list(range(1, tasks + 1, -(-tasks // most)))


def _number(axes: Axes, grid: np.ndarray, middle: float) -> None:
    """Writes each cell's percentage, dark on light cells and light on dark ones."""
    for (after, task), value in np.ndenumerate(grid):
        if not np.isnan(value):
            axes.text(
                task + 1,
                after + 1,
                f"{100 * value:.0f}",
                ha="center",
                va="center",
                fontsize=8,
                color="#000000" if value > middle else "#ffffff",
            )
