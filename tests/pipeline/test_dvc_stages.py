"""dvc.yaml, as DVC runs it: every dependency exists, a new seed costs only itself, a second `dvc repro` keeps
out of the first one's way, and kill -9 loses nothing.
"""

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from pipeline.execution.machine import Machine
from pipeline.learn import learn
from pipeline.params import load_params
from pipeline.stage import Bench
from pipeline.targets import targets
from pipeline.units.store import RunStore
from tests.pipeline.dvc_project import DVC, call, environment, make_clone
from tests.pipeline.tiny_experiment import ROOT, contents

WAIT_SECONDS = 240

pytestmark = pytest.mark.xdist_group("processes")


def stages() -> dict[str, Any]:
    found: dict[str, Any] = YAML(typ="safe").load((ROOT / "dvc.yaml").read_text())["stages"]
    return found


def test_every_code_dependency_is_there() -> None:
    for name, stage in stages().items():
        for dependency in stage["deps"]:
            if not dependency.startswith("data/"):
                assert (ROOT / dependency).exists(), f"{name} depends on {dependency}"


def test_a_stage_depends_on_what_makes_units_of_params() -> None:
    reading = {"params", "params_file.py", "yaml12.py"}
    working = reading | {
        "units/code.py",
        "execution/machine.py",
        "units/store.py",
        "stage.py",
        "units/unit.py",
    }
    for name, modules in (("prepare", reading), ("targets", working), ("learn", working)):
        assert {f"pipeline/{module}" for module in modules} <= set(stages()[name]["deps"]), name


def test_stages_hand_on_files_in_one_direction() -> None:
    made: set[str] = set()
    for stage in stages().values():
        assert {dependency for dependency in stage["deps"] if dependency.startswith("data/")} <= made
        made |= {out if isinstance(out, str) else next(iter(out)) for out in stage["outs"]}


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    return make_clone(tmp_path / "clone", epochs=2)


def units(runs: Path) -> dict[str, dict[str, bytes]]:
    """The bytes of each unit in a store, by its directory."""
    found = (path.parent for path in runs.glob("*/*/*/unit.json"))
    return {str(path.relative_to(runs)): contents(path) for path in found}


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_repro_reuses_units_refuses_a_second_and_resumes_after_kill_9(
    clone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CL_LSG_TRACKING", "off")
    kill_in_the_middle(clone)
    call(clone, *DVC, "repro")
    unbroken = Bench(Machine("local", gpu_share=0), RunStore(tmp_path / "unbroken"), tmp_path / "data")
    shutil.copytree(clone / "data/tasks", tmp_path / "data/tasks")
    params = load_params(clone / "params.yaml")
    for stage in (targets, learn):
        assert stage(params, "digits", unbroken).read_bytes() == (clone / stage_file(stage)).read_bytes()
    assert len(units(clone / "runs")) == 4
    assert units(clone / "runs") == units(tmp_path / "unbroken")
    assert (clone / "reports/digits/tables.md").is_file()

    check_views(clone)
    assert "Data and pipelines are up to date" in call(clone, *DVC, "repro")
    ours = ["-S", "learn.cl-lsg.penalty=0.001", "-S", "+presets.digits.learn.cl-lsg.cap=1.2"]
    text = call(clone, *DVC, "exp", "run", "-S", "seeds=[1,2]", "-S", "methods=[scratch]", *ours)
    assert "targets digits: 4 units, 2 reused, 2 to run" in text
    assert load_params(clone / "params.yaml").learn["cl-lsg"]["penalty"] == 0.001


def check_views(folder: Path) -> None:
    """What DVC shows of a finished experiment: four numbers, and two plots with a line a method."""
    shown = json.loads(call(folder, *DVC, "metrics", "show", "--json"))
    ((name, metrics),) = shown[""]["data"].items()
    assert name == "reports/digits/summary.json"
    assert set(metrics["data"]) == {"scratch.average", "scratch.size", "cl-lsg.average", "cl-lsg.size"}
    methods = ("scratch", "fine-tune", "cl-lsg")
    plots = json.loads(call(folder, *DVC, "plots", "show", "--json"))["data"]
    assert set(plots) == {"reports/digits/accuracy.csv", "reports/digits/size.csv"}
    for name, column in (("accuracy", "accuracy"), ("size", "allocated")):
        (plot,) = plots[f"reports/digits/{name}.csv"]
        content = plot["content"]
        assert {row["method"] for row in content["data"]["values"]} == set(methods)
        assert content["encoding"]["color"]["field"] == "method"
        assert f"toNumber(datum['{column}'])" in json.dumps(content)
        assert "<DVC_METRIC" not in json.dumps(content)
    table = call(folder, *DVC, "exp", "show", "--only-changed", "--csv")
    assert set(metrics["data"]) <= set(table.splitlines()[0].split(","))


def stage_file(stage: Callable[..., Path]) -> str:
    return f"data/{'targets' if stage is targets else 'learned'}/digits.json"


def kill_in_the_middle(folder: Path) -> None:
    """Start `dvc repro` and kill its whole group once one unit is finished and the next is in training."""
    with subprocess.Popen(
        [*DVC, "repro"], cwd=folder, env=environment(), start_new_session=True, stdout=subprocess.DEVNULL
    ) as process:
        deadline = time.monotonic() + WAIT_SECONDS
        while not list(folder.glob("runs/*/*/*/unit.json")) and time.monotonic() < deadline:
            time.sleep(0.02)
        os.killpg(process.pid, signal.SIGSTOP)
        refuses_a_second(folder)
        os.killpg(process.pid, signal.SIGCONT)
        while len(list(folder.glob("runs/*/*/*/events.jsonl"))) < 2 and time.monotonic() < deadline:
            time.sleep(0.02)
        os.killpg(process.pid, signal.SIGKILL)
    stale = (folder / ".dvc/tmp/rwlock").read_text()
    assert f'"pid": {process.pid}' in stale, "the killed process left no lock behind"
    assert list(folder.glob("runs/*/*/*/result.json"))
    assert not (folder / "data/targets/digits.json").exists()


def refuses_a_second(folder: Path) -> None:
    """While one `dvc repro` is at work, another stops with a sentence that names its process."""
    second = subprocess.run(
        [*DVC, "repro"], cwd=folder, env=environment(), capture_output=True, text=True, check=False
    )
    assert second.returncode != 0
    assert "busy" in second.stderr + second.stdout
    assert "Traceback" not in second.stderr
