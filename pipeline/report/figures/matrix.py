"""The accuracy of every task after every task, as a heat map a method: forgetting at a glance."""

import matplotlib as mpl
import numpy as np

from pipeline.report.figures.grids import number
from pipeline.report.figures.plot import FEW_TASKS, PERCENT, Plot, colour_bar, panels, ticks
from pipeline.report.frames import Frames
from pipeline.report.material import Material
from pipeline.report.style import SCALE

ACROSS = 5


def matrix(material: Material) -> Plot:
    """A panel a method: rows are the task after which, columns the task of which accuracy is shown."""
    frames = material.frames
    methods, tasks = frames.methods, len(frames.tasks)
    figure, axes_of = panels(len(methods), ACROSS, 2.0, 2.2)
    grids = {method: _grid(frames, method) for method in methods}
    colours = mpl.colormaps[SCALE].resampled(32)  # few enough for the bar to be drawn as shapes
    low = min(float(np.nanmin(grid)) for grid in grids.values())
    high = max(float(np.nanmax(grid)) for grid in grids.values())
    edges = np.arange(tasks + 1) + 0.5
    for place, (axes, (method, grid)) in enumerate(zip(axes_of, grids.items(), strict=True)):
        mesh = axes.pcolormesh(edges, edges, grid, cmap=colours, vmin=low, vmax=high)
        mesh.set_edgecolor("face")  # no seams between the cells
        axes.grid(False)
        axes.set_title(method)
        axes.set_aspect("equal")
        axes.invert_yaxis()
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_ticks(ticks(tasks, FEW_TASKS))
        if tasks <= FEW_TASKS:
            number(axes, grid, (low + high) / 2)
        if place + ACROSS >= len(methods):
            axes.set_xlabel("accuracy of task")
        if place % ACROSS == 0:
            axes.set_ylabel("after task")
    colour_bar(figure, axes_of, mesh, format=PERCENT)
    note = "Mean over seeds. A column that darkens downwards is a task that is being forgotten."
    return Plot("Test accuracy of every task after every task, by method", note, figure)


def _grid(frames: Frames, method: str) -> np.ndarray:
    """Mean accuracies over seeds, [after task, task]; NaN before a task is learned."""
    rows = frames.accuracy[frames.accuracy["method"] == method]
    means = rows.groupby(["after_task", "task"])["accuracy"].mean()
    return means.unstack().to_numpy(dtype=float)
