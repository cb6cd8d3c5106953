"""The growth map: which task each kernel of each layer belongs to."""

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import BoundaryNorm
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from pipeline.report.figures.plot import FEW_TASKS, Plot, colour_bar, first_seed, panels, ticks
from pipeline.report.figures.shown import FREE, shown_method, task_colours
from pipeline.report.kernels import MAP
from pipeline.report.material import Material
from pipeline.report.style import MUTED

ACROSS = 4


def owners(material: Material) -> Plot | None:
    """A panel a layer: a row an output, a column an input channel, in the colour of the kernel's owner."""
    if not material.maps:
        return None
    frames, method = material.frames, shown_method(material.maps)
    tasks = len(frames.tasks)
    colours, scale = task_colours(tasks), BoundaryNorm(np.arange(tasks + 1) + 0.5, tasks)
    figure, axes_of = panels(len(material.maps[method]), ACROSS, 2.3, 2.3)
    for place, (axes, layer) in enumerate(zip(axes_of, material.maps[method], strict=True)):
        outputs, inputs = layer.shape
        picture = np.ma.masked_equal(layer.owners, 0)
        whole = (0.0, float(inputs), float(outputs), 0.0)
        axes.add_patch(Rectangle((0, 0), inputs, outputs, **FREE, zorder=-1))
        shown = axes.imshow(picture, colours, scale, interpolation="none", aspect="auto", extent=whole)
        shown.set_gid(f"map-{layer.name}")  # else two equal pictures would have one id
        for edge in sorted(set(layer.outputs) - {outputs}):
            axes.axhline(edge, color=MUTED.light, linewidth=0.7)
        axes.grid(False)
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(MaxNLocator(4, integer=True))
        axes.set_title(layer.name)
        if place + ACROSS >= len(axes_of):
            axes.set_xlabel("input channel")
        if place % ACROSS == 0:
            axes.set_ylabel("output channel")
    key = ScalarMappable(scale, colours)
    colour_bar(figure, axes_of, key, ticks=ticks(tasks, FEW_TASKS)).set_label("owner: task")
    note = (
        f"{method} after the last task. Hatched: released, nobody's. Lines: where the layer ended after an "
        f"earlier task. Of layers with more than {MAP} rows or columns so many, evenly spread, are shown. "
        f"{first_seed(frames.seeds)}"
    )
    return Plot("Which task each kernel belongs to, layer by layer", note, figure)
