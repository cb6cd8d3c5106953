"""What each method came to, as a point: accuracy against what it took."""

from collections.abc import Mapping

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from pipeline.report.frames import Frames
from pipeline.report.statistics import estimate, means, totals
from pipeline.report.style import lines

MACS = "billions of multiply-accumulates"
FEW = 4
"""Most numbers at an axis that is too short for its powers of ten."""


def timed(frames: Frames) -> pd.DataFrame:
    """Means over seeds of every total, a row a method of which all seconds are known."""
    return means(frames).dropna(subset="seconds")


def untimed(frames: Frames, shown: pd.DataFrame) -> str:
    """Says which methods `shown`, which is `timed(frames)`, leaves out."""
    missing = [method for method in frames.methods if method not in shown.index]
    return f"Not shown, as their seconds are not known: {', '.join(missing)}. " if missing else ""


def halves(frames: Frames) -> dict[str, float]:
    """Half the interval of each method's average, 0 where its seeds agree; nothing for one seed."""
    if len(frames.seeds) < 2:
        return {}
    groups = totals(frames).groupby("method")["average"]
    return {str(method): estimate(values).half or 0.0 for method, values in groups}


def scatter(axes: Axes, table: pd.DataFrame, x: str, y: str, errors: Mapping[str, float]) -> None:
    """A marker a method, in its look; `errors`: half the interval upwards and downwards."""
    looks = lines(map(str, table.index))
    for (method, style), left, up in zip(looks.items(), table[x], table[y], strict=True):
        look = style.options() | {"linestyle": "none", "markersize": 8.5}
        axes.errorbar(left, up, yerr=errors.get(method), capsize=2.5, elinewidth=1, **look)
    axes.grid(True, axis="both")


def log_axis(axis: Axis) -> None:
    """A logarithmic axis with plain numbers at 1, 2, 5, 10, ..., or over less than a decade at a few."""
    low, high = axis.get_view_interval()
    axis.set_major_locator(LogLocator(10, (1, 2, 5)) if high >= 10 * low else MaxNLocator(FEW))
    axis.set_major_formatter(
        FuncFormatter(lambda value, _: f"{value:,.0f}" if value >= 100 else f"{value:.3g}")
    )
    axis.set_minor_formatter(NullFormatter())


def device(frames: Frames) -> str:
    """What the seconds were spent on."""
    kinds = {str(unit.content.get("numerics", {}).get("device", "cpu")) for unit in frames.units}
    return "CPU-seconds" if kinds == {"cpu"} else "GPU-seconds" if "cpu" not in kinds else "seconds"
