"""The run that holds a benchmark's report: page, tables and figures, with the summary as its description."""

import hashlib
from pathlib import Path

from mlflow.entities import Run

from pipeline.report import SUMMARY
from pipeline.tracking.store import Experiment, driver

IDENTITY = "report"
_NOTE = "mlflow.note.content"


def write_report(experiment: Experiment, folder: Path) -> str:
    """Attaches the report in `folder` to the benchmark's summary run; returns the run's id.

    A report that the store has already is left alone; another one takes the old one's place.
    """
    content = _digest(folder)
    run = experiment.find(IDENTITY)
    if run and run.data.tags.get("content") == content:
        return str(run.info.run_id)
    if run:
        experiment.client.delete_run(run.info.run_id)
    return _written(experiment, folder, content)


def _written(experiment: Experiment, folder: Path, content: str) -> str:
    tags = {"identity": IDENTITY, "driver": driver(), _NOTE: _note(folder)}
    run: Run = experiment.client.create_run(experiment.id, tags=tags, run_name="report")
    experiment.client.log_artifacts(run.info.run_id, str(folder))
    experiment.client.set_tag(run.info.run_id, "content", content)
    experiment.client.set_terminated(run.info.run_id)
    return str(run.info.run_id)


def _note(folder: Path) -> str:
    """The summary as MLflow shows it: Markdown, here a block of fixed width."""
    return f"```\n{(folder / SUMMARY).read_text()}\n```\nThe page is `index.html` among the artifacts."


def _digest(folder: Path) -> str:
    """Digest of every file of the report."""
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        digest.update(f"{path.relative_to(folder).as_posix()}\0".encode() + path.read_bytes())
    return digest.hexdigest()
