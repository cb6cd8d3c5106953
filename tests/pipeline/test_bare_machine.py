"""From one tar file of images on a machine with torch and little else, to a record of it at home."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tarfile
from importlib.metadata import distribution, packages_distributions
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline.benchmarks.superclasses import CLASS_NAMES
from pipeline.cli import main
from tests.pipeline.pictures import write_png
from tests.pipeline.tiny_experiment import ROOT

NEEDED = ("torch", "numpy", "safetensors", "pydantic", "pyyaml", "pillow")
TRAIN, TEST = 4, 2
BENCHMARK = "cifar100-superclass-quarter"
BARE = """
import sys

for name in {blocked!r}:
    sys.modules[name] = None  # as if it were not installed, for imports and for those who only look

from pipeline.benchmarks import cifar100
from pipeline.cli import main

cifar100.TRAIN_PER_CLASS, cifar100.TEST_PER_CLASS = {train}, {test}
sys.exit(main(sys.argv[1:]))
"""
TINY = (
    *("data.folder=cifar-100.tar", "data.validation=0.25"),
    *("network.hidden=8", "network.width=2", "train.epochs=1"),
)


def installed_but_not_needed() -> list[str]:
    """Import names of all packages but the needed ones and those that they need themselves."""
    kept = {"cl-lsg"}  # itself, whatever it asks for
    waiting = list(NEEDED)
    while waiting:
        name = re.sub(r"[-_.]+", "-", waiting.pop()).lower()
        if name not in kept:
            kept.add(name)
            waiting += _requirements(name)
    return sorted(
        module
        for module, owners in packages_distributions().items()
        if not {re.sub(r"[-_.]+", "-", owner).lower() for owner in owners} & kept and module.isidentifier()
    )


def _requirements(name: str) -> list[str]:
    try:
        wanted = distribution(name).requires or []
    except ModuleNotFoundError:  # of another platform
        return []
    return [re.split(r"[^\w.-]", each, maxsplit=1)[0] for each in wanted if "extra ==" not in each]


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """A folder with params.yaml and CIFAR-100's tree, six small images a class, as one tar file."""
    folder, draws = tmp_path / "machine", np.random.RandomState(0)
    for name in CLASS_NAMES:
        for image in range(TRAIN + TEST):
            part = "train" if image < TRAIN else "test"
            pixels = draws.randint(0, 256, (32, 32, 3)).astype(np.uint8)
            write_png(tmp_path / "tree" / part / name / f"{image}.png", pixels)
    folder.mkdir()
    with tarfile.open(folder / "cifar-100.tar", "w") as tar:
        for part in ("train", "test"):
            tar.add(tmp_path / "tree" / part, part)
    shutil.copy(ROOT / "params.yaml", folder)
    return folder


def bare(folder: Path, *arguments: str) -> str:
    """What `cl-lsg` says there, where it has to succeed."""
    code = BARE.format(blocked=installed_but_not_needed(), train=TRAIN, test=TEST)
    changes = [word for change in TINY for word in ("-S", f"presets.{BENCHMARK}.{change}")]
    command = [sys.executable, "-c", code, *arguments, *changes]
    environment = {"PYTHONPATH": str(ROOT), "CL_LSG_GPU_SHARE": "0", "OMP_NUM_THREADS": "1", "PATH": ""}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stderr


def test_the_bare_machine_lacks_what_it_should() -> None:
    blocked = installed_but_not_needed()
    assert {"ray", "mlflow", "dvc", "torchvision", "pandas", "sklearn", "tqdm", "ruamel"} <= set(blocked)
    assert not {"torch", "numpy", "yaml", "PIL", "pydantic", "safetensors", "lsg", "pipeline"} & set(blocked)


@pytest.mark.slow
def test_units_are_learned_one_by_one_brought_home_and_recorded(
    machine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = ["run", "--benchmark", BENCHMARK, "--tasks", "2", "--executor", "local", "--tracking", "off"]
    first = bare(machine, *run, "--method", "scratch")
    assert f"prepare {BENCHMARK}: 20 tasks" in first
    assert "2 units, 0 reused, 2 to run" in first
    second = bare(machine, *run, "--method", "scratch", "cl-lsg")
    assert "2 units, 2 reused, 0 to run" in second
    assert "cl-lsg seed1: finished (units 1/1, tasks 2/2;" in second
    for unfinished in (machine / "runs" / BENCHMARK / "cl-lsg").glob("*/result.json"):
        unfinished.unlink()  # as if the time had been up before the end
    third = bare(machine, *run, "--method", "scratch", "cl-lsg")
    assert "1 unit, 0 reused, 1 to run" in third

    home = tmp_path / "home"
    home.mkdir()
    with tarfile.open(home / "units.tar.gz", "w:gz") as tar:
        tar.add(machine / "runs", "runs")
    shutil.copy(machine / "data/planned" / f"{BENCHMARK}.json", home)
    monkeypatch.chdir(home)
    monkeypatch.setenv("CL_LSG_RUNS", str(home / "runs"))
    assert main(["import", "units.tar.gz"]) == 0
    assert "3 units brought, 0 were here" in capsys.readouterr().out
    assert main(["record", BENCHMARK, "bare", "--planned", f"{BENCHMARK}.json"]) == 0
    recorded = home / "results" / BENCHMARK / "bare"
    content = json.loads((recorded / "units.json").read_text())
    assert (len(content["units"]), content["missing"], content["machine"]["device"]) == (3, [], "cpu")
    (cut,) = {unit["covers"]["data"] for unit in content["units"].values()}
    assert list(content["data"]) == [cut]
    prepared = json.loads((machine / "data/tasks" / BENCHMARK / "manifest.json").read_text())
    assert content["data"][cut] == prepared["settings"]
    rows = pd.read_csv(recorded / "accuracy.csv")
    assert set(rows["method"]) == {"scratch", "cl-lsg"}
    assert "beside the paper's" not in (recorded / "tables.md").read_text()
