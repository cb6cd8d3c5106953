"""What the stage `tables` writes about the paper: reports/<benchmark>/paper/ and claims.md."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from lsg.files import write_bytes
from pipeline.folders import leave_only
from pipeline.report.frames import Frames
from pipeline.report.latex import latex
from pipeline.report.layout import Table
from pipeline.report.markdown import markdown
from pipeline.report.paper.benchmark_tables import benchmark_tables
from pipeline.report.paper.claims import claims_table
from pipeline.report.paper.contradictions import contradictions_table
from pipeline.report.paper.grow_metrics import grow_metrics_table
from pipeline.report.paper.growth_and_gain import growth_and_gain_table
from pipeline.report.paper.increments import increments_table
from pipeline.report.paper.lines import PaperTable
from pipeline.report.paper.printed import paper_benchmark

FOLDER, CLAIMS = "paper", "claims.md"


def write_paper(frames: Frames, folder: Path) -> Sequence[Table]:
    """Writes the tables and the audit below a report's `folder`; returns what the page and tables.md show.

    Tables of an experiment that had more do not stay there.
    """
    audit = [claims_table(frames), contradictions_table(frames)]
    write_bytes(folder / CLAIMS, markdown(f"{frames.benchmark}: claims of the paper", audit).encode())
    numbered = paper_tables(frames)
    metrics, growth = grow_metrics_table(frames), growth_and_gain_table(frames)
    texts = [*audit, *([growth] if growth else []), metrics]
    data = {table.name: table.frame(frames) for table in numbered} | {
        table.name: _data(table) for table in texts
    }
    laid = [*texts, *(table.laid() for table in numbered)]
    for table in laid:
        place = folder / FOLDER / table.name
        write_bytes(
            place.with_suffix(".csv"), data[table.name].to_csv(index=False, lineterminator="\n").encode()
        )
        write_bytes(place.with_suffix(".md"), markdown(frames.benchmark, [table]).encode())
        write_bytes(place.with_suffix(".tex"), latex(table).encode())
    leave_only(folder / FOLDER, [table.name for table in laid])
    return laid


def paper_tables(frames: Frames) -> list[PaperTable]:
    """Tables 2 to 8 as far as this benchmark has them."""
    paper = paper_benchmark(frames)
    increments = increments_table(frames)
    return [*(benchmark_tables(frames, paper) if paper else []), *([increments] if increments else [])]


def _data(table: Table) -> pd.DataFrame:
    return pd.DataFrame(table.texts(), columns=list(table.columns))
