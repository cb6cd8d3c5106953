"""The figure of a sweep: validation accuracy over size, the trials none beats in both, and the chosen one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pipeline.report.figures.plot import PERCENT, TIMES, save
from pipeline.report.style import MUTED, SHEET, TEXT, lines
from pipeline.sweep.choice import Row, front
from pipeline.sweep.settings import Sweep
from pipeline.sweep.space import as_text


def draw(sweep: Sweep, rows: Sequence[Row], chosen: Row, path: Path) -> list[Path]:
    """Write `path` with .svg and .png behind it; returns both."""
    with mpl.rc_context(SHEET | {"axes.grid.axis": "both", "svg.hashsalt": "sweep"}):
        save(_figure(sweep, rows, chosen), path)
    return [path.with_name(f"{path.name}.{kind}") for kind in ("svg", "png")]


def _figure(sweep: Sweep, rows: Sequence[Row], chosen: Row) -> Figure:
    figure = Figure(figsize=(7.2, 4.0), layout="constrained")
    axes = figure.add_subplot()
    style = lines([sweep.study.method])[sweep.study.method]
    colour = style.ink.light
    finished = [row for row in rows if row.outcome.finished]
    stopped = [row for row in rows if not row.outcome.finished and row.last]
    _scatter(axes, stopped, marker="x", color=MUTED.light, label="not finished, accuracy so far")
    _scatter(axes, finished, marker=style.marker, facecolors=style.face, edgecolors=colour, label="finished")
    edge = [row.last for row in front(rows) if row.last]
    axes.plot(
        [point.size for point in edge],
        [point.validation_accuracy for point in edge],
        color=colour,
        linewidth=1.2,
        drawstyle="steps-post",
        label="none is smaller and better",
    )
    _mark(axes, sweep, chosen)
    axes.xaxis.set_major_formatter(TIMES)
    axes.yaxis.set_major_formatter(PERCENT)
    axes.set_xlabel("size over the dense 1x network")
    axes.set_ylabel("validation accuracy")
    figure.legend(loc="outside upper left", ncols=2)
    return figure


def _scatter(axes: Axes, rows: Sequence[Row], **options: Any) -> None:
    points = [row.last for row in rows if row.last]
    if points:
        sizes = [point.size for point in points]
        axes.scatter(sizes, [point.validation_accuracy for point in points], s=26, **options)


def _mark(axes: Axes, sweep: Sweep, chosen: Row) -> None:
    """A ring around the chosen trial, with its values beside it in the legend."""
    last = chosen.last
    assert last is not None
    values = ", ".join(f"{sweep.names[key]} {as_text(value)}" for key, value in chosen.trial.values.items())
    axes.scatter(
        [last.size],
        [last.validation_accuracy],
        s=150,
        facecolors="none",
        edgecolors=TEXT.light,
        linewidths=1.4,
        label=f"chosen: {values}",
        zorder=3,
    )
