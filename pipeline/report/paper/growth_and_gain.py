"""Task by task: how much the network grew, and how far its accuracy lies above Scratch's."""

import pandas as pd

from pipeline.report.frames import Frames
from pipeline.report.layout import Cell, Row, Table, conditions, number
from pipeline.report.paper import measured
from pipeline.report.paper.finding import evidence
from pipeline.report.paper.lines import points, times
from pipeline.report.paper.printed import OURS
from pipeline.report.statistics import estimate

TITLE = "Growth and gain, task by task"


def growth_and_gain_table(frames: Frames) -> Table | None:
    """A row a task from the second on; None without a run of CL-LSG, or with one task only."""
    known = evidence(frames)
    sizes, gain = measured.size(frames, OURS), known.compared(OURS, "scratch")
    if sizes is None or gain is None or len(frames.tasks) < 2:
        return None
    tasks = list(frames.tasks)[1:]
    columns = [[number(task) for task in tasks]]
    printed = known.printed(OURS, "scratch")
    if printed:
        columns += _two_columns(measured.grown(known.size[OURS].values()), printed.differences, tasks)
    columns += _two_columns(measured.grown(sizes), gain.differences, tasks)
    heads = ("Task", *(("Printed growth", "Printed gain") if printed else ()), "Growth", "Gain")
    caption = (
        "Growth: the rise of the allocated weights at a task, over the dense 1x network's. Gain: test "
        f"accuracy in points above Scratch's. {conditions(frames)}"
    )
    rows = tuple(Row(tuple(cells), ()) for cells in zip(*columns, strict=True))
    return Table("growth_and_gain", TITLE, caption, heads, rows)


def _two_columns(growth: pd.DataFrame, gain: pd.DataFrame, tasks: list[int]) -> list[list[Cell]]:
    """Growth and gain of these tasks, means over seeds (rows)."""
    rises = [times(estimate(growth[task])) for task in tasks]
    gains = [points(estimate(gain[task])) for task in tasks]
    return [[Cell(entry.text, entry.mean) for entry in entries] for entries in (rises, gains)]
