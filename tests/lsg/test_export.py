"""An exported network answers as the learned one does, without this library."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from lsg.data import TaskFolder, load_task, normalised
from lsg.export import CLASSES, UnknownTaskError, export
from lsg.job import Job
from lsg.methods import METHODS
from lsg.methods.cl_lsg import ClLsgSettings
from lsg.networks import NETWORKS
from lsg.reading import read_run
from lsg.sequence import learn_sequence
from lsg.train_settings import TrainSettings
from tests.lsg.tiny import tiny_architecture, write_tiny_tasks

LOAD = """
import sys, torch
images, logits = torch.load(sys.argv[2], weights_only=True)
program = torch.export.load(sys.argv[1])
answers = program.module()(images)
assert not any(name.split(".")[0] == "lsg" for name in sys.modules)
difference = (answers - logits).abs().max()
assert difference <= 1e-5, difference
assert torch.equal(answers.argmax(1), logits.argmax(1))
print(len(answers))
"""


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("export")
    data, train = write_tiny_tasks(folder / "tiny", 2), TrainSettings(epochs=4, batch_size=8, lr=0.05)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(NETWORKS, "tiny", lambda shape: tiny_architecture())
        patch.setattr("lsg.sequence.certificate.verify_in_fresh_process", lambda path: None)
        settings, goals = ClLsgSettings(cap=2.0, mask_lr=5e-3), {1: 1.0, 2: 1.01}
        job = Job("tiny", "cl-lsg", "paper", 1, (1, 2), data, {"name": "tiny"}, train, settings, goals)
        learn_sequence(job, folder / "run")
    return folder / "run", data


@pytest.fixture(autouse=True)
def tiny_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(NETWORKS, "tiny", lambda shape: tiny_architecture())


@pytest.mark.parametrize("number", [1, 2])
def test_raw_images_get_the_learned_networks_answers_in_a_process_without_the_library(
    learned: tuple[Path, Path], tmp_path: Path, number: int
) -> None:
    directory, data = learned
    export(directory, number, tmp_path / "task.pt2")
    task = load_task(TaskFolder(data), number)
    network = read_run(directory).network(number)
    logits = network(normalised(task.test.images, task, "cpu", torch.float32)).detach()
    torch.save((task.test.images, logits), tmp_path / "asked.pt")
    command = [sys.executable, "-I", "-c", LOAD, str(tmp_path / "task.pt2"), str(tmp_path / "asked.pt")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) == len(task.test)


@pytest.mark.parametrize("method", ["pnn", "den", "apd", "cpg", "sequential"])
def test_a_later_task_of_each_kind_of_method_takes_any_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    monkeypatch.setattr("lsg.sequence.certificate.verify_in_fresh_process", lambda path: None)
    data, train = write_tiny_tasks(tmp_path / "tiny", 2), TrainSettings(epochs=1, batch_size=8)
    settings, goals = METHODS[method].Settings(), {1: 0.0, 2: 0.0}
    job = Job("tiny", method, "paper", 1, (1, 2), data, {"name": "tiny"}, train, settings, goals)
    learn_sequence(job, tmp_path / "run")
    export(tmp_path / "run", 2, tmp_path / "task.pt2")
    task = load_task(TaskFolder(data), 2)
    network, program = read_run(tmp_path / "run").network(2), torch.export.load(tmp_path / "task.pt2")
    for images in (task.test.images[:1], task.test.images[:5]):
        logits = network(normalised(images, task, "cpu", torch.float32))
        assert torch.allclose(program.module()(images), logits, atol=1e-5)


def test_the_names_of_the_classes_are_inside(learned: tuple[Path, Path], tmp_path: Path) -> None:
    directory, data = learned
    export(directory, 2, tmp_path / "task.pt2")
    told = {CLASSES: ""}
    torch.export.load(tmp_path / "task.pt2", extra_files=told)
    assert json.loads(told[CLASSES]) == list(load_task(TaskFolder(data), 2).classes)


def test_what_a_later_task_added_is_not_in_an_earlier_tasks_file(learned: tuple[Path, Path]) -> None:
    """Task 1's network has task 1's channels, though the bank has grown since."""
    method = read_run(learned[0])
    assert isinstance(method, METHODS["cl-lsg"])
    first, last = (method.network(task) for task in (1, 2))
    assert isinstance(first.get_submodule("conv1"), nn.Conv2d)
    assert sum(p.numel() for p in first.parameters()) < sum(p.numel() for p in last.parameters())


def test_a_task_that_was_not_learned_is_named(learned: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(UnknownTaskError, match=r"has learned tasks \[1, 2\], not task 3"):
        export(learned[0], 3, tmp_path / "task.pt2")
    assert not list(tmp_path.iterdir())
