"""What every figure is made of: its place, its words, and the few marks that several figures share."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colorbar import Colorbar
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter

from lsg.files import write_bytes
from pipeline.report.material import Material
from pipeline.report.style import lines

PERCENT = FuncFormatter(lambda value, _: f"{100 * value:g} %")
TIMES = FuncFormatter(lambda value, _: f"{value:g}x")
WIDTH = 7.6  # inches of a figure that fills the page
FEW_TASKS = 10  # so many fit with a number in each cell of a grid
_LEGEND_COLUMNS = 5
_NO_METADATA = dict.fromkeys(("Creator", "Date", "Format", "Type"))  # equal data, equal bytes


@dataclass(frozen=True)
class Plot:
    """A figure, its title, which tells those who do not see it what it shows, and how to read it."""

    title: str
    note: str
    figure: Figure


Draw = Callable[[Material], Plot | None]
"""Draws one figure; None where the experiment lacks what it shows."""


def save(figure: Figure, path: Path) -> str:
    """Writes <path>.png and <path>.svg, each whole or not at all; returns the SVG's text."""
    image, text = BytesIO(), StringIO()
    figure.savefig(image, format="png")
    figure.savefig(text, format="svg", metadata=_NO_METADATA)
    write_bytes(path.with_name(f"{path.name}.png"), image.getvalue())
    write_bytes(path.with_name(f"{path.name}.svg"), text.getvalue().encode())
    return text.getvalue()


def ticks(tasks: int, most: int = 20) -> list[int]:
    """Tasks to name on an axis, from 1 on, `most` of them at most."""
    return list(range(1, tasks + 1, -(-tasks // most)))


def accuracy_axis(axes: Axes, label: str) -> None:
    """Accuracies upwards, in %: no bar of an interval leads to where no accuracy is."""
    axes.yaxis.set_major_formatter(PERCENT)
    axes.set_ylabel(label)
    bottom, top = axes.get_ylim()
    axes.set_ylim(max(bottom, 0.0), min(top, 1.02))


def legend(figure: Figure, methods: Iterable[str]) -> None:
    """Names the methods above the figure, with the line and the marker of each."""
    handles = [Line2D([], [], label=method, **line.options()) for method, line in lines(methods).items()]
    figure.legend(handles=handles, loc="outside upper left", ncols=min(_LEGEND_COLUMNS, len(handles)))


def panels(count: int, across: int, width: float, height: float) -> tuple[Figure, list[Axes]]:
    """`count` panels of so many inches, in rows of at most `across`."""
    across = min(across, count)
    down = -(-count // across)
    figure = Figure(figsize=(width * across, height * down), layout="constrained")
    axes = list(figure.subplots(down, across, squeeze=False).flatten())
    for unused in axes[count:]:
        unused.remove()
    return figure, axes[:count]


def colour_bar(figure: Figure, axes_of: Sequence[Axes], shown: ScalarMappable, **options: Any) -> Colorbar:
    """A slim bar beside the panels that says what their colours stand for."""
    bar = figure.colorbar(
        shown, ax=list(axes_of), fraction=0.04, pad=0.02, aspect=18 * _rows(axes_of), **options
    )
    bar.outline.set_visible(False)
    return bar


def _rows(axes_of: Sequence[Axes]) -> int:
    place = axes_of[0].get_subplotspec()
    return place.get_gridspec().nrows if place else 1


def first_seed(seeds: Sequence[int]) -> str:
    """Says which seed a figure of one seed shows."""
    return f"Seed {seeds[0]}." if len(seeds) == 1 else f"Seed {seeds[0]} of {len(seeds)}."
