"""What our runs came to, a row a seed and a column a task; None where a method was not run."""

from collections.abc import Mapping

import pandas as pd

from pipeline.report.frames import Frames


def accuracy(frames: Frames, method: str) -> pd.DataFrame | None:
    """Test accuracy of each task after the last one, in %."""
    last = frames.accuracy[frames.accuracy["after_task"] == len(frames.tasks)]
    found = _matrix(last, method, "accuracy")
    return None if found is None else 100 * found


def learned(frames: Frames, method: str) -> pd.DataFrame | None:
    """Test accuracy of each task right after it was learned, in %."""
    then = frames.accuracy[frames.accuracy["after_task"] == frames.accuracy["task"]]
    found = _matrix(then, method, "accuracy")
    return None if found is None else 100 * found


def forgets(frames: Frames, method: str) -> bool:
    """Whether a later task moved the accuracy of an earlier one, up or down, under any seed."""
    last, first = accuracy(frames, method), learned(frames, method)
    return last is not None and first is not None and not last.equals(first)


def size(frames: Frames, method: str, kind: str = "allocated") -> pd.DataFrame | None:
    """Weights after each task over the dense 1x network's: allocated (the paper's), used or stored."""
    return _matrix(frames.size, method, kind)


def totals_of(frames: Frames, method: str, measure: str) -> pd.Series | None:
    """`measure` (seconds, macs, steps) summed over the tasks, by seed; NaN where a task's is not known."""
    found = _matrix(frames.cost, method, measure)
    return None if found is None else found.sum(axis=1, skipna=False)


def units(frames: Frames, method: str) -> tuple[str, ...]:
    """The unit directories that hold a method's tasks."""
    return tuple(dict.fromkeys(frames.cost.loc[frames.cost["method"] == method, "unit"]))


def grown(sizes: pd.DataFrame | Mapping[int, float]) -> pd.DataFrame:
    """The rise of the size at each task after the first, from sizes by task; rounding errors are no rise."""
    table = sizes if isinstance(sizes, pd.DataFrame) else pd.DataFrame([sizes])
    return table.diff(axis=1).iloc[:, 1:].round(9)


def _matrix(table: pd.DataFrame, method: str, column: str) -> pd.DataFrame | None:
    own = table[table["method"] == method]
    return None if own.empty else own.pivot(index="seed", columns="task", values=column).astype(float)
