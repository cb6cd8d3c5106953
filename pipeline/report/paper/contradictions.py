"""Where the paper contradicts itself or is silent, and what we chose (`contradictions.csv`).

The file's columns: `place` in the paper, `problem`, `choice`, and `benchmarks`, with semicolons, or `all`.
"""

from functools import cache
from importlib.resources import files

import pandas as pd

from pipeline.report.frames import Frames
from pipeline.report.layout import Row, Table, word


@cache
def contradictions() -> pd.DataFrame:
    """All of them, one a row."""
    with files("pipeline.report.paper").joinpath("contradictions.csv").open(encoding="utf-8") as file:
        return pd.read_csv(file, dtype=str)


def contradictions_table(frames: Frames) -> Table:
    """Those that concern this benchmark."""
    rows = [
        Row((word(place), word(problem), word(choice)), ())
        for place, problem, choice, benchmarks in contradictions().itertuples(index=False, name=None)
        if {"all", frames.benchmark} & set(benchmarks.split(";"))
    ]
    caption = "Where the paper contradicts itself or leaves something open, and what stands here instead."
    return Table(
        "contradictions",
        "Contradictions and gaps of the paper",
        caption,
        ("Place", "Problem", "Choice"),
        tuple(rows),
    )
