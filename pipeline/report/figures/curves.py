"""One task's training, learnable growth against learnable sparse growth: the paper's figure 5."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from lsg.methods.cl_lsg import GROW
from pipeline.report.figures.plot import PERCENT, WIDTH, Plot, first_seed, legend
from pipeline.report.material import Material
from pipeline.report.style import MUTED, lines

GROWTH = ("grow-target", "grow")
SPARSE = ("cl-lsg", "grow+sel+lsg")
"""Methods of either kind; the first that the experiment has is drawn."""
UNLOGGED = "Test accuracy after each epoch is logged, and then shown instead, where train.curves is on. "
_MARKERS = 8


def curves(material: Material) -> Plot | None:
    """Accuracy, loss and share of candidates on, over the epochs of a task at which both grow."""
    frames = material.frames
    chosen = [method for kind in (GROWTH, SPARSE) if (method := _first(kind, frames.methods))]
    epochs = material.epochs[
        (material.epochs["seed"] == frames.seeds[0]) & material.epochs["method"].isin(chosen)
    ]
    task = common_task(epochs, chosen)
    if len(chosen) < 2 or task is None:
        return None
    epochs = epochs[epochs["task"] == task]
    logged = bool(epochs["test_accuracy"].notna().all())
    figure = Figure(figsize=(WIDTH, 3.3), layout="constrained")
    panels = figure.subplots(1, 3)
    for method, style in lines(chosen).items():
        rows = epochs[epochs["method"] == method]
        _draw(panels, rows, "test_accuracy" if logged else "train_accuracy", style.options())
        if not logged:
            reached = frames.runs[method, frames.seeds[0]][task - 1].row[task]
            panels[0].plot(len(rows), reached, **style.options() | {"markersize": 11, "marker": "*"})
    split = "test" if logged else "training"
    _label(panels, (f"{split} accuracy", "training loss", "candidates on"))
    legend(figure, chosen)
    star = "" if logged else f"Star: test accuracy of the learned task. {UNLOGGED}"
    note = (
        f"Task {task}. Left: accuracy on the {split} images in each epoch. {star}Middle: cross entropy on "
        "the training images. Right: share of the candidate channels whose gate is on. An upright line: "
        f"growing begins. {first_seed(frames.seeds)}"
    )
    return Plot("Learnable growth against learnable sparse growth while a task is learned", note, figure)


def common_task(epochs: pd.DataFrame, methods: Iterable[str]) -> int | None:
    """The first task after task 1 at which all grow, else task 1, which always grows; None without epochs."""
    growing = epochs[epochs["stage"] == GROW]
    grown = [set(growing[growing["method"] == method]["task"]) for method in methods]
    common = sorted(set.intersection(*grown)) if grown else []
    return next((task for task in common if task > 1), common[0] if common else None)


def _first(kind: Sequence[str], methods: Iterable[str]) -> str | None:
    return next((method for method in kind if method in methods), None)


def _draw(panels: Sequence[Axes], rows: pd.DataFrame, accuracy: str, look: dict[str, Any]) -> None:
    """One method's three lines, and an upright one between its stages, where it has two."""
    number = np.arange(1, len(rows) + 1)
    offered = rows["candidates"].astype(float)
    on = rows["gates_on"].astype(float) / offered.where(offered > 0)
    before = int((rows["stage"] < GROW).sum())
    for axes, values in zip(panels, (rows[accuracy], rows["train_loss"], on), strict=True):
        spread = {"markevery": -(-len(rows) // _MARKERS), "markersize": 4}
        axes.plot(number, values.astype(float), **look | spread)
        if 0 < before < len(rows):
            axes.axvline(before + 0.5, color=MUTED.light, linewidth=1)


def _label(panels: Sequence[Axes], titles: Iterable[str]) -> None:
    for axes, title in zip(panels, titles, strict=True):
        axes.set_title(title)
        axes.set_xlabel("epoch of the task")
        axes.set_xlim(panels[0].get_xlim())
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    for axes in (panels[0], panels[2]):
        axes.yaxis.set_major_formatter(PERCENT)
