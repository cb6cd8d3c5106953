"""A line a method over the tasks: the accuracy of each task, and the size after each."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pipeline.report.figures.plot import TIMES, WIDTH, Plot, accuracy_axis, legend, ticks
from pipeline.report.frames import Frames
from pipeline.report.layout import conditions
from pipeline.report.material import Material
from pipeline.report.statistics import estimate
from pipeline.report.style import lines


def accuracy(material: Material) -> Plot:
    """Test accuracy of each task after the last one."""
    frames = material.frames
    last = frames.accuracy[frames.accuracy["after_task"] == len(frames.tasks)]
    figure, axes = _by_task(frames, last, "accuracy")
    accuracy_axis(axes, "test accuracy")
    return Plot("Test accuracy of each task after the last one, by method", conditions(frames), figure)


def size(material: Material) -> Plot:
    """Allocated weights after each task."""
    figure, axes = _by_task(material.frames, material.frames.size, "allocated")
    axes.set_yscale("log", base=2)
    axes.yaxis.set_major_formatter(TIMES)
    axes.set_ylabel("size over the dense 1x network")
    note = "Allocated weights over those of the dense 1x network, on a scale of doublings."
    return Plot("Model size after each task, by method", note, figure)


def _by_task(frames: Frames, table: pd.DataFrame, column: str) -> tuple[Figure, Axes]:
    """A line a method over the tasks, with intervals where there are seeds to tell them."""
    figure = Figure(figsize=(WIDTH, 4.4), layout="constrained")
    axes = figure.add_subplot()
    styles = lines(frames.methods)
    offsets = np.linspace(-0.12, 0.12, len(styles)) if len(styles) > 1 else [0.0]
    for (method, style), offset in zip(styles.items(), offsets, strict=True):
        rows = table[table["method"] == method]
        found = [estimate(group[column]) for _, group in rows.groupby("task", sort=True)]
        axes.errorbar(
            [task + offset for task in frames.tasks],
            [value.mean for value in found],
            yerr=[value.half or 0.0 for value in found] if len(frames.seeds) > 1 else None,
            elinewidth=1,
            capsize=2.5,
            **style.options(),
        )
    axes.set_xlabel("task")
    axes.set_xticks(ticks(len(frames.tasks)))
    axes.set_xlim(0.5, len(frames.tasks) + 0.5)
    legend(figure, frames.methods)
    return figure, axes
