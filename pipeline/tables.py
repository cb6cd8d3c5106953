"""Stage tables: from the units that stages targets and learn list to tables, figures and a page."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from lsg.files import write_bytes, write_json
from pipeline.report import REPORTS, SUMMARY
from pipeline.report.figures import draw
from pipeline.report.frames import Frames, read_frames
from pipeline.report.layout import Table, all_tables
from pipeline.report.markdown import markdown
from pipeline.report.material import read_material
from pipeline.report.page import page
from pipeline.report.paper.writing import CLAIMS, write_paper
from pipeline.report.statistics import metrics
from pipeline.report.text import summary_text
from pipeline.units.store import RunStore
from pipeline.units.unit import DATA

FACTS = ("accuracy.csv", "size.csv", "cost.csv", "decisions.csv", "growth.csv")
METRICS, TABLES = "summary.json", "tables.md"


def tables(benchmark: str, data: Path = DATA, runs: Path | None = None, reports: Path = REPORTS) -> Path:
    """Writes reports/<benchmark>/ anew, prints the summary, and returns the folder.

    `runs` is the root of the unit directories, by default where the environment says. Raises UserError for
    units that are missing, doubled, unfinished or damaged; then nothing is written.
    """
    frames = read_frames(benchmark, listings(data, benchmark), runs or RunStore.from_environment().root)
    folder = reports / benchmark
    folder.mkdir(parents=True, exist_ok=True)
    write_all(frames, folder)
    print((folder / SUMMARY).read_text())
    return folder


def listings(data: Path, benchmark: str) -> list[Path]:
    """The files of the stages targets and learn, which list a benchmark's units."""
    return [data / stage / f"{benchmark}.json" for stage in ("targets", "learned")]


def write_all(frames: Frames, folder: Path) -> None:
    """Writes every file of a report into `folder`."""
    material = read_material(frames)
    further = {"epochs.csv": material.epochs, "kernels.csv": material.kernels}
    write_facts(frames, folder)
    _write_frames(further, folder)
    laid = write_findings(frames, folder)
    write_bytes(folder / SUMMARY, f"{summary_text(frames)}\n\n{folder / 'index.html'}\n".encode())
    figures = draw(material, folder / "figures")
    files = [*FACTS, *further, METRICS, CLAIMS]
    write_bytes(folder / "index.html", page(frames, laid, figures, files).encode())


def write_facts(frames: Frames, folder: Path) -> None:
    """Writes a CSV file a frame: every number of every run."""
    own = (frames.accuracy, frames.size, frames.cost, frames.decisions, frames.growth)
    _write_frames(dict(zip(FACTS, own, strict=True)), folder)


def write_findings(frames: Frames, folder: Path) -> list[Table]:
    """Writes what compares the runs, whose methods have equal seeds, and returns the tables."""
    write_json(folder / METRICS, metrics(frames))
    laid = [*all_tables(frames), *write_paper(frames, folder)]
    write_bytes(folder / TABLES, markdown(frames.benchmark, laid).encode())
    return laid


def _write_frames(files: Mapping[str, pd.DataFrame], folder: Path) -> None:
    for name, frame in files.items():
        write_bytes(folder / name, frame.to_csv(index=False, lineterminator="\n").encode())
