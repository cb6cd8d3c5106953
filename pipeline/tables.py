"""Stage tables: from the units that stages targets and learn list to tables, figures and a page."""

from pathlib import Path

from lsg.files import write_bytes, write_json
from pipeline.report import REPORTS, SUMMARY
from pipeline.report.figures import draw
from pipeline.report.frames import Frames, read_frames
from pipeline.report.layout import all_tables
from pipeline.report.markdown import markdown
from pipeline.report.material import read_material
from pipeline.report.page import page
from pipeline.report.paper.writing import CLAIMS, write_paper
from pipeline.report.statistics import metrics
from pipeline.report.text import summary_text
from pipeline.runs import RunStore

DATA = Path("data")


def tables(benchmark: str, data: Path = DATA, runs: Path | None = None, reports: Path = REPORTS) -> Path:
    """Writes reports/<benchmark>/ anew, prints the summary, and returns the folder.

    `runs` is the root of the unit directories, by default where the environment says. Raises UserError for
    units that are missing, doubled, unfinished or damaged; then nothing is written.
    """
    listings = [data / stage / f"{benchmark}.json" for stage in ("targets", "learned")]
    frames = read_frames(benchmark, listings, runs or RunStore.from_environment().root)
    folder = reports / benchmark
    folder.mkdir(parents=True, exist_ok=True)
    write_all(frames, folder)
    print((folder / SUMMARY).read_text())
    return folder


def write_all(frames: Frames, folder: Path) -> None:
    """Writes every file of a report into `folder`."""
    material = read_material(frames)
    files = {
        "accuracy.csv": frames.accuracy,
        "size.csv": frames.size,
        "cost.csv": frames.cost,
        "decisions.csv": frames.decisions,
        "growth.csv": frames.growth,
        "epochs.csv": material.epochs,
        "kernels.csv": material.kernels,
    }
    for name, frame in files.items():
        write_bytes(folder / name, frame.to_csv(index=False, lineterminator="\n").encode())
    write_json(folder / "summary.json", metrics(frames))
    write_bytes(folder / SUMMARY, f"{summary_text(frames)}\n\n{folder / 'index.html'}\n".encode())
    laid = [*all_tables(frames), *write_paper(frames, folder)]
    write_bytes(folder / "tables.md", markdown(frames.benchmark, laid).encode())
    figures = draw(material, folder / "figures")
    write_bytes(folder / "index.html", page(frames, laid, figures, [*files, "summary.json", CLAIMS]).encode())
