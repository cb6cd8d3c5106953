"""bfloat16 is of the forward pass alone: losses come out near, and what is kept is float32."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from lsg.certificate import verify
from lsg.events import Event
from lsg.job import Job
from lsg.methods import METHODS
from lsg.networks import NETWORKS
from lsg.sequence import learn_sequence
from lsg.train_settings import Precision, TrainSettings
from tests.lsg.tiny import tiny_architecture, write_tiny_tasks

EPOCHS = 3


class Stopped(Exception):
    """Stands for a kill behind the second task's first epoch."""


def stop(event: Event) -> None:
    if event["event"] == "epoch" and (event["task"], event["epoch"]) == (2, 2):
        raise Stopped


@pytest.fixture(autouse=True)
def tiny_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(NETWORKS, "tiny", lambda shape: tiny_architecture())
    monkeypatch.setattr("lsg.sequence.certificate.verify_in_fresh_process", verify)


def job(data: Path, method: str, precision: Precision) -> Job:
    train = TrainSettings(epochs=EPOCHS, batch_size=8, precision=precision)
    settings = METHODS[method].Settings()
    return Job("tiny", method, "paper", 1, (1, 2), data, {"name": "tiny"}, train, settings, {1: 1.0, 2: 1.01})


def losses(directory: Path) -> list[float]:
    """Of the first task's first epochs."""
    events = map(json.loads, (directory / "events.jsonl").read_text().splitlines())
    return [event["train_loss"] for event in events if event["event"] == "epoch"][:EPOCHS]


def dtypes(path: Path) -> set[torch.dtype]:
    return {tensor.dtype for tensor in load_file(path).values() if tensor.is_floating_point()}


@pytest.mark.parametrize("method", ["scratch", "cl-lsg", "cpg", "pnn", "den", "apd"])
def test_losses_are_near_those_of_float32_and_all_that_is_kept_is_float32(
    tmp_path: Path, method: str
) -> None:
    """Five steps an epoch, few enough for the two ways to stay together."""
    data = write_tiny_tasks(tmp_path / "tasks", 2)
    learn_sequence(job(data, method, "float32"), tmp_path / "whole")
    with pytest.raises(Stopped):
        learn_sequence(job(data, method, "bfloat16"), tmp_path / "half", stop, checkpoint_seconds=0)
    whole, half = (losses(tmp_path / name) for name in ("whole", "half"))
    assert whole != half
    assert half == pytest.approx(whole, rel=0.05)
    kept = [path for path in (tmp_path / "half").glob("*.safetensors") if dtypes(path)]
    assert {path.stem.split("_")[0] for path in kept} == {"checkpoint", "task"}
    assert set().union(*map(dtypes, kept)) == {torch.float32}


def test_an_unknown_precision_is_one_clear_error() -> None:
    with pytest.raises(ValueError, match="precision is 'float16'; allowed: one of float32, bfloat16"):
        TrainSettings(precision="float16")  # type: ignore[arg-type]
