"""Which tasks reuse which: the density of each task's mask on every owner's weights."""

import matplotlib as mpl
import numpy as np
import pandas as pd

from pipeline.report.figures.grids import number
from pipeline.report.figures.plot import FEW_TASKS, PERCENT, Plot, colour_bar, first_seed, panels, ticks
from pipeline.report.material import Material
from pipeline.report.style import GROUND, SCALE

ACROSS = 4


def reuse(material: Material) -> Plot | None:
    """A panel a method: rows are tasks, columns the owners of weights, cells the share that the task uses."""
    if not material.maps:
        return None
    tasks = len(material.frames.tasks)
    figure, axes_of = panels(len(material.maps), ACROSS, 2.4, 2.4)
    edges = np.arange(tasks + 2) + 0.5
    for place, (axes, method) in enumerate(zip(axes_of, material.maps, strict=True)):
        grid = shares(material.kernels[material.kernels["method"] == method], tasks)
        mesh = axes.pcolormesh(
            edges, edges[:-1], grid, cmap=mpl.colormaps[SCALE].resampled(32), vmin=0, vmax=1
        )
        mesh.set_edgecolor("face")  # no seams between the cells
        axes.grid(False)
        axes.set_title(method)
        axes.set_aspect("equal")
        axes.invert_yaxis()
        named = ticks(tasks, FEW_TASKS)
        axes.yaxis.set_ticks(named)
        axes.xaxis.set_ticks([*named, tasks + 1], [*map(str, named), "all"])
        if tasks <= FEW_TASKS:
            number(axes, grid, 0.5)
        if place + ACROSS >= len(axes_of):
            axes.set_xlabel("weights owned by task")
        if place % ACROSS == 0:
            axes.set_ylabel("used by task")
        axes.axvline(tasks + 0.5, color=GROUND.light, linewidth=5)
    colour_bar(figure, axes_of, mesh, format=PERCENT)
    note = (
        "Share of the weights that a task owns which another task's mask lets through. Column all: the "
        "mask's density, over all weights allocated when the task was learned. "
        f"{first_seed(material.frames.seeds)}"
    )
    return Plot("Which tasks use whose weights, by method", note, figure)


def shares(rows: pd.DataFrame, tasks: int) -> np.ndarray:
    """Used over owned weights, [task, owner]; NaN where the owner has none. The last column is over all."""
    summed = rows.groupby(["task", "owner"])[["weights", "used"]].sum()
    by_owner = (summed["used"] / summed["weights"]).unstack()
    grid = by_owner.reindex(index=range(1, tasks + 1), columns=range(1, tasks + 1)).to_numpy(dtype=float)
    allocated = summed.groupby("task").sum()
    density = (allocated["used"] / allocated["weights"]).to_numpy(dtype=float)
    return np.column_stack([grid, density])
