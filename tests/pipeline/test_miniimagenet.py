"""MiniImageNet from folders of its shape to a learned network: 100 classes, 84x84, cut as the preset says."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from pipeline.benchmarks import miniimagenet
from pipeline.cli import main
from pipeline.errors import UserError
from pipeline.params import load_params, resolve
from pipeline.prepare import prepare
from tests.pipeline.pictures import write_png
from tests.pipeline.tiny_experiment import ROOT

CLASSES = tuple(f"n{number:08d}" for number in range(100))
IMAGES, SIDE = 6, 84
NAME = "miniimagenet"
PARTS = ("train", "val", "test")


def write_images(root: Path, layout: str) -> Path:
    """Noise around a level of its own for each class; with `parts`, classes are held apart as is usual."""
    draws = np.random.RandomState(0)
    for number, name in enumerate(CLASSES):
        folder = root / PARTS[(number >= 64) + (number >= 80)] if layout == "parts" else root
        for image in range(IMAGES):
            pixels = draws.randint(0, 50, (SIDE, SIDE, 3)) + 2 * number
            write_png(folder / name / f"{name}{image:04d}.png", pixels.astype(np.uint8))
    return root


@pytest.fixture(scope="module", params=["flat", "parts"])
def images(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_images(tmp_path_factory.mktemp("mini"), request.param)


def overrides(images: Path) -> list[str]:
    """The preset with as many test and validation images as six images a class allow."""
    return [f"presets.{NAME}.data.{key}" for key in (f"folder={images}", "test=2", "validation=0.25")]


def test_the_preset_cuts_20_tasks_of_5_classes_in_the_seeded_order(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(miniimagenet, "IMAGES_PER_CLASS", IMAGES)
    data = resolve(load_params(ROOT / "params.yaml", overrides(images)), NAME).data
    manifest = prepare(NAME, data, tmp_path / NAME)
    order = [CLASSES[place] for place in np.random.RandomState(37).permutation(100)]
    assert [name for task in manifest["tasks"] for name in task["classes"]] == order
    assert manifest["image_shape"] == [3, SIDE, SIDE]
    assert manifest["resized"] == "short side to 84 (bilinear), centre cut out"
    for task in manifest["tasks"]:
        assert (task["train"], task["validation"], task["test"]) == (15, 5, 10)
        levels = [2 * CLASSES.index(name) + 24.5 for name in task["classes"]]
        assert task["mean"] == pytest.approx([np.mean(levels) / 255] * 3, abs=0.01)


def test_images_that_are_not_all_there_are_counted(images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = resolve(load_params(ROOT / "params.yaml", overrides(images)), NAME).data
    with pytest.raises(UserError, match=f"class {CLASSES[0]} holds 6 images instead of 600; complete it"):
        miniimagenet.load(data)
    monkeypatch.setattr(miniimagenet, "CLASSES", 101)
    with pytest.raises(UserError, match="holds 100 class folders instead of 101; complete it"):
        miniimagenet.load(data)


@pytest.mark.slow
@pytest.mark.parametrize("images", ["parts"], indirect=True)
def test_one_command_learns_on_it(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(miniimagenet, "IMAGES_PER_CLASS", IMAGES)
    (tmp_path / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CL_LSG_GPU_SHARE", "0")
    small = [*overrides(images), f"presets.{NAME}.network.width=4", f"presets.{NAME}.train.epochs=1"]
    options = [word for change in small for word in ("-S", change)]
    chosen = ["--benchmark", NAME, "--tasks", "2", "--method", "scratch", "cl-lsg", "--no-tables"]
    assert main(["run", *chosen, "--executor", "local", "--tracking", "off", *options]) == 0
    assert "cl-lsg seed1: finished (units 1/1, tasks 2/2;" in capsys.readouterr().err
    assert main(["verify", f"runs/{NAME}"]) == 0
    assert re.search(r"2 tasks unchanged, probe logits bit-equal", capsys.readouterr().out)
    job = json.loads(next((tmp_path / "runs" / NAME / "cl-lsg").glob("*/job.json")).read_text())
    assert (job["image_shape"], job["network"]) == ([3, SIDE, SIDE], {"name": "resnet18", "width": 4})
