"""A tiny real run of each of the paper's benchmarks fills its tables; what was not run stays empty."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline.cli import main
from pipeline.report.figures import FIGURES
from tests.pipeline.pictures import write_png
from tests.pipeline.tiny_experiment import ROOT

RUN = ("scratch", "grow-target", "grow+sel", "grow+sel+lsg", "cl-lsg")
CLASSES, IMAGES, SIDE = 20, 24, 16


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures of noise, brighter from class to class."""
    folder, draws = tmp_path_factory.mktemp("tree"), np.random.RandomState(0)
    for number in range(CLASSES):
        for image in range(IMAGES):
            noise = draws.randint(0, 60, (SIDE, SIDE, 3)) + number * 10
            write_png(folder / f"class{number:02d}" / f"{image}.png", noise.astype(np.uint8))
    return folder


@pytest.mark.parametrize(
    ("benchmark", "accuracy", "size"),
    [("cifar100-split", 4, 5), ("cifar100-superclass", 2, 3), ("miniimagenet", 6, 7)],
)
def test_a_tiny_run_fills_the_papers_tables(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, benchmark: str, accuracy: int, size: int
) -> None:
    (tmp_path / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CL_LSG_GPU_SHARE", "0")
    data = {"source": "folder", "folder": str(tree), "order": "given", "order_seed": "null"}
    data |= {"validation": "0.25", "test": "0.25", "image_size": "null"}
    values = {f"presets.{benchmark}.data.{key}": value for key, value in data.items()}
    values |= {f"presets.{benchmark}.network": "{name: lenet}"}
    values |= {f"presets.{benchmark}.train": "{epochs: 1, batch_size: 16, curves: true}"}
    overrides = [word for key, value in values.items() for word in ("-S", f"{key}={value}")]
    chosen = ["--benchmark", benchmark, "--tasks", "2", "--method", *RUN]
    assert main(["run", *chosen, "--executor", "local", "--tracking", "off", *overrides]) == 0

    report = tmp_path / "reports" / benchmark
    reached = pd.read_csv(report / "accuracy.csv").query("after_task == 2")
    means = reached.groupby("method")["accuracy"].mean() * 100
    for number in (accuracy, size, 1, 8):
        for kind in ("csv", "md", "tex"):
            assert (report / "paper" / f"table_{number}.{kind}").stat().st_size > 100
    table = pd.read_csv(report / "paper" / f"table_{accuracy}.csv")
    ran = table[table["source"] == "run"].set_index("method")
    assert set(ran.index) >= {"scratch", "cl-lsg"}
    assert ran.loc["cl-lsg", "Mean"] == pytest.approx(means["cl-lsg"], abs=1e-6)
    assert set(table[table["source"] == "no run"]["method"]) >= {"den", "cpg"}
    last = pd.read_csv(report / "size.csv").query("task == 2").set_index("method")["allocated"]
    sizes = pd.read_csv(report / "paper" / f"table_{size}.csv")
    ours = sizes[sizes["source"] == "run"].set_index("method")["2"]
    assert ours["cl-lsg"] == pytest.approx(last["cl-lsg"], abs=1e-6)
    assert "(tasks 1 to 2)" in (report / "claims.md").read_text()
    assert {path.stem for path in (report / "figures").glob("*.svg")} == set(FIGURES)
