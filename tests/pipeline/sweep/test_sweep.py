"""A real sweep on Ray: killed and gone on with, one trial stopped early, units shared with ordinary runs."""

import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from pipeline.cli import main
from pipeline.sweep.states import remove_torn
from tests.pipeline.tiny_experiment import ROOT, contents, prepared_digits

KEY = "learn.cl-lsg.seed_fraction"
KNOWN, BEST, POOR = 0.125, 0.25, 0.0625
TINY = ["--benchmark", "digits", "--tasks", "2", "-S", "train.epochs=1"]
SWEEP = ["sweep", *TINY, "--param", f"{KEY}=grid:{KNOWN},{BEST},{POOR}", "--workers", "1"]
WAIT_SECONDS = 240

pytestmark = pytest.mark.xdist_group("processes")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with params.yaml and prepared digits, as the current one; CPU, no tracking."""
    shutil.copy(ROOT / "params.yaml", tmp_path)
    shutil.copytree(prepared_digits() / "tasks", tmp_path / "data/tasks")
    monkeypatch.chdir(tmp_path)
    for name, value in (("EXECUTOR", "local"), ("TRACKING", "off"), ("GPU_SHARE", "0")):
        monkeypatch.setenv(f"CL_LSG_{name}", value)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    return tmp_path


def learned(project: Path) -> dict[float, Path]:
    """The directories of cl-lsg's units by the value that was swept."""
    found = (path.parent for path in project.glob("runs/digits/cl-lsg/*/unit.json"))
    return {json.loads((path / "unit.json").read_text())["settings"]["seed_fraction"]: path for path in found}


def kill_in_the_third_trial(project: Path) -> None:
    log = project / "first.log"
    with log.open("w") as stderr:
        command = [sys.executable, "-m", "pipeline", *SWEEP]
        at_once = {**os.environ, "TUNE_GLOBAL_CHECKPOINT_S": "0"}  # else Tune notes every 10 s who has ended
        process = subprocess.Popen(command, stderr=stderr, stdout=stderr, env=at_once, start_new_session=True)
    deadline = time.monotonic() + WAIT_SECONDS
    while "trial 3/3" not in log.read_text() and time.monotonic() < deadline:
        assert process.poll() is None, log.read_text()
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGSTOP)
    while not all(map(is_whole, newest_states(project))):  # Tune is just writing them
        os.killpg(process.pid, signal.SIGCONT)
        time.sleep(0.01)
        os.killpg(process.pid, signal.SIGSTOP)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def newest_states(project: Path) -> tuple[Path, Path]:
    """Tune's own files of the sweep: its trials, and what its search has drawn."""
    trials, search = (
        max(project.rglob(f"{name}-*.json")) for name in ("experiment_state", "basic-variant-state")
    )
    return trials, search


def is_whole(path: Path) -> bool:
    content = path.read_bytes()
    try:
        json.loads(content) if path.name.startswith("experiment") else pickle.loads(content)
    except (ValueError, EOFError, pickle.UnpicklingError):
        return False
    return True


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_kill_while_tune_writes_its_state_costs_nothing_that_was_learned(project: Path) -> None:
    kill_in_the_third_trial(project)
    units = learned(project)
    before = {value: (unit / "result.json").stat() for value, unit in units.items() if is_done(unit)}
    assert before
    _, search = newest_states(project)
    search.write_bytes(search.read_bytes()[:40])
    done = subprocess.run(
        [sys.executable, "-m", "pipeline", *SWEEP], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    table = pd.read_csv("reports/digits/sweep.csv")
    assert table[KEY].tolist() == [KNOWN, BEST, POOR]
    for value, kept in before.items():
        assert (units[value] / "result.json").stat().st_mtime_ns == kept.st_mtime_ns


def test_files_of_a_session_stand_or_fall_together(tmp_path: Path) -> None:
    """Of three sessions the newest is cut in its search, and the middle one has lost its trials."""
    first, second, third = (f"2026-01-0{day}_10-00-00" for day in (1, 2, 3))
    for session in (first, third):
        (tmp_path / f"experiment_state-{session}.json").write_text("{}")
    for session in (first, second, third):
        (tmp_path / f"basic-variant-state-{session}.json").write_bytes(pickle.dumps({"drawn": 3}))
    (tmp_path / "tuner.pkl").write_bytes(b"Tune's own, of no session")
    kept = {f"experiment_state-{first}.json", f"basic-variant-state-{first}.json", "tuner.pkl"}
    cut = tmp_path / f"basic-variant-state-{third}.json"
    cut.write_bytes(cut.read_bytes()[:-5])
    remove_torn(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == kept


def is_done(unit: Path) -> bool:
    return (unit / "result.json").exists()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_killed_sweep_goes_on_and_shares_its_units_with_ordinary_runs(
    project: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = ["run", *TINY, "--method", "cl-lsg", "--no-tables"]
    assert main([*run, "-S", f"{KEY}={KNOWN}"]) == 0
    before = (learned(project)[KNOWN] / "result.json").stat().st_mtime_ns
    kill_in_the_third_trial(project)
    assert not (project / "reports").exists()
    capfd.readouterr()

    done = subprocess.run(
        [sys.executable, "-m", "pipeline", *SWEEP], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "trial 3/3" in done.stderr
    assert not [line for line in done.stderr.splitlines() if line.startswith(("trial 1/3", "trial 2/3"))]
    table = pd.read_csv("reports/digits/sweep.csv")
    assert table[KEY].tolist() == [KNOWN, BEST, POOR]
    assert table["state"].tolist() == ["finished", "finished", "stopped"]
    assert table["tasks_learned"].tolist() == [2, 2, 1]
    units = learned(project)
    assert (units[KNOWN] / "result.json").stat().st_mtime_ns == before
    for _, row in table.iterrows():
        records = [json.loads(path.read_text()) for path in sorted(units[row[KEY]].glob("task_*.json"))]
        reached = [record["accuracy"]["validation"] for record in records]
        assert row["validation_accuracy"] == pytest.approx(sum(reached) / len(reached), abs=1e-6)
        assert row["size"] == pytest.approx(records[-1]["size"]["allocated"], abs=1e-6)
        assert row["units"] == str(units[row[KEY]].relative_to(project / "runs"))
    assert table["chosen"].sum() == 1
    said = done.stdout + done.stderr + Path("reports/digits/sweep-cl-lsg.yaml").read_text()
    assert "test" not in said.replace(str(project), "")

    continued = ["-S", f"{KEY}={POOR}"]
    assert main([*run, *continued]) == 0
    assert "learn digits: 1 unit, 0 reused, 1 to run" in capfd.readouterr().err
    assert main([*run, "-S", f"{KEY}={BEST}"]) == 0
    assert "learn digits: 1 unit, 1 reused, 0 to run" in capfd.readouterr().err
    monkeypatch.setenv("CL_LSG_RUNS", str(project / "undisturbed"))
    for value in (BEST, POOR):
        assert main([*run, "-S", f"{KEY}={value}"]) == 0
        undisturbed = project / "undisturbed" / units[value].relative_to(project / "runs")
        assert contents(units[value]) == contents(undisturbed)
