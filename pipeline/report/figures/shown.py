"""Which method the maps of kernels show, and the colours of tasks as owners."""

from collections.abc import Mapping
from typing import Any

import matplotlib as mpl
from matplotlib.colors import ListedColormap

from pipeline.report.statistics import SUBJECT
from pipeline.report.style import MUTED, SCALE, STRIPE

DARKEST = 0.12  # where on the scale task 1 stands, so that it stands out from dark ground too
FREE: dict[str, Any] = {
    "facecolor": STRIPE.light,
    "edgecolor": MUTED.light,
    "linewidth": 0.6,
    "hatch": "////",
}
"""How weights look that belong to nobody."""


def shown_method(found: Mapping[str, object]) -> str:
    """The method whose kernels are drawn: CL-LSG if it is there."""
    return SUBJECT if SUBJECT in found else next(iter(found))


def task_colours(tasks: int) -> ListedColormap:
    """A colour a task, from dark to light."""
    scale = mpl.colormaps[SCALE]
    return ListedColormap(
        [scale(DARKEST + (1 - DARKEST) * task / max(1, tasks - 1)) for task in range(tasks)]
    )
