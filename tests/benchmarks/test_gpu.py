"""The benchmark of a GPU says when there is none; its steps are sound where a recorder plays the graph."""

from __future__ import annotations

import sys

import pytest
import torch

from benchmarks import gpu
from benchmarks.step import MASK_RATE, RATE
from tests.lsg.recorded import RecordedGraph
from tests.lsg.tiny import tiny_architecture


def test_without_a_gpu_one_sentence_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(sys, "argv", ["gpu"])
    gpu.main()
    assert capsys.readouterr().out == "Nothing was measured: torch finds no GPU on this machine.\n"


def test_the_replayed_step_is_the_ordinary_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "DEVICE", "cpu")
    monkeypatch.setattr(gpu, "CudaGraph", RecordedGraph)
    monkeypatch.setattr(RecordedGraph, "asked", [], raising=False)
    images = torch.get_rng_state()
    ordinary = gpu.on_gpu(tiny_architecture(), seed=1)
    torch.set_rng_state(images)
    replayed = gpu.on_gpu(tiny_architecture(), seed=1)
    for _ in range(3):
        ordinary.step(RATE, MASK_RATE, ordinary.batches.rows(1)[0])
    gpu.replayed(replayed)()
    assert RecordedGraph.asked == ["rehearse", "capture", "replay", "replay"]
    after = replayed.trainee.tensors()
    assert all(torch.equal(after[name], value) for name, value in ordinary.trainee.tensors().items())
