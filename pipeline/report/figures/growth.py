"""How each layer grew: whose its weights are after each task."""

import numpy as np
from matplotlib.ticker import EngFormatter

from pipeline.report.figures.plot import FEW_TASKS, Plot, first_seed, panels, ticks
from pipeline.report.figures.shown import FREE, shown_method, task_colours
from pipeline.report.material import Material

ACROSS = 4


def growth(material: Material) -> Plot | None:
    """A panel a layer: bars of the weights after each task, stacked by the task that owns them."""
    if not material.maps:
        return None
    frames, method = material.frames, shown_method(material.maps)
    rows = material.kernels[material.kernels["method"] == method]
    tasks = len(frames.tasks)
    colours = task_colours(tasks)
    figure, axes_of = panels(len(material.maps[method]), ACROSS, 2.3, 2.1)
    for place, (axes, layer) in enumerate(zip(axes_of, material.maps[method], strict=True)):
        table = rows[rows["layer"] == layer.name].pivot(index="task", columns="owner", values="weights")
        table = table.reindex(index=range(1, tasks + 1), columns=range(tasks + 1)).fillna(0)
        bottom = np.zeros(tasks)
        for owner in range(1, tasks + 1):
            axes.bar(table.index, table[owner], 0.8, bottom, color=colours(owner - 1))
            bottom += table[owner].to_numpy()
        axes.bar(table.index, table[0], 0.8, bottom, **FREE)
        axes.set_title(layer.name)
        axes.set_xticks(ticks(tasks, FEW_TASKS // 2))
        axes.yaxis.set_major_formatter(EngFormatter(sep=""))
        if place + ACROSS >= len(axes_of):
            axes.set_xlabel("after task")
        if place % ACROSS == 0:
            axes.set_ylabel("weights")
    note = (
        f"{method}. The darkest part of a bar belongs to task 1, the lightest to task {tasks}; hatched: "
        f"allocated, but released and nobody's. {first_seed(frames.seeds)}"
    )
    return Plot("Whose each layer's weights are after each task", note, figure)
