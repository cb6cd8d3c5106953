"""The figures, as SVG and PNG. A new one is a function in a file of this package, and one line here."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl

from pipeline.folders import leave_only
from pipeline.report.figures.by_task import accuracy, size
from pipeline.report.figures.cost import cost
from pipeline.report.figures.curves import curves
from pipeline.report.figures.growth import growth
from pipeline.report.figures.matrix import matrix
from pipeline.report.figures.owners import owners
from pipeline.report.figures.pareto import pareto
from pipeline.report.figures.plot import Draw, save
from pipeline.report.figures.reuse import reuse
from pipeline.report.material import Material
from pipeline.report.style import SHEET

FIGURES: Mapping[str, tuple[str, Draw]] = {
    "cost": ("summary", cost),
    "pareto": ("summary", pareto),
    "accuracy": ("accuracy", accuracy),
    "matrix": ("accuracy", matrix),
    "size": ("size", size),
    "growth": ("size", growth),
    "owners": ("size", owners),
    "reuse": ("size", reuse),
    "curves": ("growth", curves),
}
"""For each figure the table that it stands beside, and what draws it."""


@dataclass(frozen=True)
class Drawn:
    """A figure as the page shows it."""

    name: str
    beside: str
    title: str
    note: str
    svg: str


def draw(material: Material, folder: Path) -> list[Drawn]:
    """Writes <name>.svg and <name>.png of every figure that the experiment has the material for.

    `folder` holds no others then, such as of an experiment that had more.
    """
    folder.mkdir(exist_ok=True)
    found = [_drawn(name, beside, make, material, folder) for name, (beside, make) in FIGURES.items()]
    figures = [drawn for drawn in found if drawn]
    leave_only(folder, [drawn.name for drawn in figures])
    return figures


def _drawn(name: str, beside: str, make: Draw, material: Material, folder: Path) -> Drawn | None:
    with mpl.rc_context(SHEET | {"svg.hashsalt": name}):
        plot = make(material)
        if plot is None:
            return None
        svg = save(plot.figure, folder / name)
    return Drawn(name, beside, plot.title, plot.note, svg)
