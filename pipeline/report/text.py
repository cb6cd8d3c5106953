"""The summary as a terminal shows it."""

from tabulate import tabulate

from pipeline.report.frames import Frames
from pipeline.report.layout import summary_table
from pipeline.wording import counted


def summary_text(frames: Frames) -> str:
    """A row a method: average, forgetting, transfer, size, steps, MACs, seconds; numbers on the right."""
    table = summary_table(frames)
    laid = tabulate(
        table.texts(), table.columns, tablefmt="simple", colalign=table.aligned(), disable_numparse=True
    )
    seeds = len(frames.seeds)
    named = f"{frames.benchmark}: {counted(len(frames.tasks), 'task')}, {counted(seeds, 'seed')}"
    split = f"protocol {frames.protocol} (decisions on {frames.decision_split}, numbers on test)"
    return f"{named}, {split}{', mean ± 95 % interval' if seeds > 1 else ''}\n\n{laid}"
