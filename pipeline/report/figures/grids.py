"""Numbers in the cells of a grid of tasks."""

import numpy as np
from matplotlib.axes import Axes


def number(axes: Axes, grid: np.ndarray, middle: float) -> None:
    """Writes each cell's percentage, dark on light cells and light on dark ones; cells lie at 1, 2, ..."""
    size = 8 if grid.shape[1] <= 6 else 6
    for (row, column), value in np.ndenumerate(grid):
        if not np.isnan(value):
            axes.text(
                column + 1,
                row + 1,
                f"{100 * value:.0f}",
                ha="center",
                va="center",
                fontsize=size,
                color="#000000" if value > middle else "#ffffff",
            )
