"""Finished units travel: to a remote, into a fresh clone, and between queued experiments and the checkout."""

import subprocess
import sys
import time
from pathlib import Path

import pytest
from mlflow import MlflowClient

from tests.pipeline.dvc_project import DVC, call, environment, make_clone
from tests.pipeline.test_dvc_stages import units

LSG = [sys.executable, "-m", "pipeline"]
RUN = [*LSG, "run", "--benchmark", "digits", "--no-tables"]
WAIT_SECONDS = 400

pytestmark = [pytest.mark.xdist_group("processes"), pytest.mark.slow, pytest.mark.timeout(1200)]


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository whose experiment has been run, committed and pushed to a remote on this disk."""
    folder = tmp_path_factory.mktemp("sharing")
    project = make_clone(folder / "origin", epochs=1)
    call(project, *DVC, "remote", "add", "-d", "disk", str(folder / "remote"))
    call(project, *DVC, "repro")
    call(project, "git", "add", "-A")
    call(project, "git", "commit", "-qm", "run")
    call(project, *DVC, "push")
    return project


def test_a_fresh_clone_computes_nothing_after_dvc_pull(origin: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    call(tmp_path, "git", "clone", "-q", str(origin), str(copy))
    call(copy, *DVC, "pull")
    assert "Data and pipelines are up to date" in call(copy, *DVC, "repro")
    assert (copy / "reports/digits/index.html").is_file()
    assert not (copy / "runs").exists()
    text = call(copy, *LSG, "verify", "runs")
    assert text.count("unchanged, probe logits bit-equal") == 4
    assert units(copy / "runs") == units(origin / "runs")
    text = call(copy, *RUN)
    assert "targets digits: 3 units, 3 reused, 0 to run" in text
    assert "learn digits: 1 unit, 1 reused, 0 to run" in text


def test_queued_experiments_share_units_and_mlflow_with_the_checkout(origin: Path) -> None:
    before = set(units(origin / "runs"))
    call(origin, *RUN, "-S", "learn.cl-lsg.penalty=0.01")
    (known,) = set(units(origin / "runs")) - before
    known_at = (origin / "runs" / known / "result.json").stat().st_mtime_ns
    call(origin, *DVC, "exp", "run", "--queue", "-S", "learn.cl-lsg.penalty=0.01,0.02")
    start_workers(origin)
    wait_for_queue(origin)
    fresh = set(units(origin / "runs")) - before
    assert len(fresh) == 2
    assert (origin / "runs" / known / "result.json").stat().st_mtime_ns == known_at
    assert not list(origin.glob(".dvc/tmp/exps/**/runs/*/*/*/unit.json"))
    text = call(origin, *RUN, "-S", "learn.cl-lsg.penalty=0.02")
    assert "learn digits: 1 unit, 1 reused, 0 to run" in text
    client = MlflowClient(f"sqlite:///{origin}/mlflow.db")
    experiment = client.get_experiment_by_name("digits")
    assert experiment is not None
    shown = client.search_runs([experiment.experiment_id], "params.method = 'cl-lsg'")
    told = sorted((run.data.params["penalty"], run.info.status) for run in shown)
    assert told == [("0.01", "FINISHED"), ("0.02", "FINISHED")], "what was reused is shown too"


def start_workers(project: Path) -> None:
    """Two workers of DVC's queue. They outlive the command and hold what it writes into: a file, which, other
    than a pipe, nobody waits for."""
    log = project.parent / "queue.log"
    with log.open("w") as told:
        command = [*DVC, "queue", "start", "-j", "2"]
        subprocess.run(
            command,
            cwd=project,
            env=environment(tracking="mlflow"),
            stdout=told,
            stderr=told,
            check=True,
            timeout=WAIT_SECONDS,
        )


def wait_for_queue(project: Path) -> None:
    """Until both experiments have ended well."""
    deadline = time.monotonic() + WAIT_SECONDS
    while (told := call(project, *DVC, "queue", "status")).count("Success") < 2:
        assert "Failed" not in told, told + call(project, *DVC, "queue", "logs")
        assert time.monotonic() < deadline, told
        time.sleep(2)
