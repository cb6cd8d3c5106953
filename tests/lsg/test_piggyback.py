"""Piggyback: the backbone is Scratch's first network, later tasks only mask it, and runs resume."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from lsg.certificate import verify
from lsg.job import Job
from lsg.methods import METHODS
from lsg.methods.piggyback import Piggyback, PiggybackSettings
from lsg.methods.scratch import Scratch, ScratchSettings
from lsg.networks import NETWORKS
from lsg.records import RunDirectory
from lsg.sequence import learn_sequence
from lsg.train_settings import TrainSettings
from lsg.training import Trainer
from tests.lsg.test_cpg import Killed, killer, trainer
from tests.lsg.tiny import deterministic_files, tiny_architecture, tiny_task, write_tiny_tasks


@pytest.fixture(autouse=True)
def tiny_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(NETWORKS, "tiny", lambda shape: tiny_architecture())
    monkeypatch.setitem(METHODS, "piggyback", Piggyback)
    monkeypatch.setattr("lsg.sequence.certificate.verify_in_fresh_process", verify)


def piggyback(mask_lr: float = 2e-3) -> Piggyback:
    return Piggyback(tiny_architecture(), PiggybackSettings(mask_lr), "paper", seed=1)


def test_the_backbone_is_the_first_task_s_network(tmp_path: Path) -> None:
    method = piggyback()
    scratch = Scratch(tiny_architecture(), ScratchSettings(), "paper", seed=1)
    scratch.learn(tiny_task(1), None, trainer(tmp_path / "scratch"))
    method.learn(tiny_task(1), None, trainer(tmp_path / "1"))
    mine, theirs = method.network(1).state_dict(), scratch.network(1).state_dict()
    assert all(torch.equal(mine[name], theirs[name]) for name in theirs if "tracked" not in name)


def test_later_tasks_are_masks_over_weights_that_never_move(tmp_path: Path) -> None:
    method = piggyback()
    method.learn(tiny_task(1), None, trainer(tmp_path / "1"))
    backbone = {name: weight.clone() for name, weight in method.bank.weights.items()}
    for number in (2, 3):
        method.learn(tiny_task(number), None, trainer(tmp_path / str(number), number))
        off = 0
        for name, weight in method.bank.weights.items():
            used = method.bank.solution(number).used[name]
            off += int((~used).sum())
            assert torch.equal(weight, backbone[name])
            assert (method.bank.owners[name] == 1).all()
            mine = method.network(number).state_dict()[f"{name}.weight"].view_as(used)
            assert torch.equal(mine, torch.where(used, weight.squeeze(2), 0.0))
        assert 0 < off < method.weights()[0]
        assert not torch.equal(method.bank.private(number)["norm.bias"], method.bank.private(1)["norm.bias"])
        stored = method.tensors(number)
        assert all(len(value) == 0 for name, value in stored.items() if name.endswith(".owned"))
    assert method.weights() == (1808, 1808), "8x2x9 + 2 (8x8x9) + 16x8x4 weights, all in use"


def test_rates_of_masks_follow_the_official_schedule(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr(Trainer, "run", lambda self, stage, *rest: seen.append(stage.mask_rates))
    method = Piggyback(tiny_architecture(), PiggybackSettings(), "paper", seed=1)
    method.learn(tiny_task(1), None, trainer(tmp_path))
    (rates,) = seen
    assert [rates.at(epoch, 30) for epoch in (1, 15, 16, 30)] == pytest.approx([1e-4, 1e-4, 1e-5, 1e-5])


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"mask_lr": 0.0}, "mask_lr"),
        ({"mask_lr_drops": (0.5, 0.2)}, "mask_lr_drops"),
        ({"mask_lr_factors": ()}, "mask_lr_factors"),
        ({"mask_lr_factors": (-1.0,)}, "mask_lr_factors"),
    ],
)
def test_settings_out_of_range_are_named(change: dict[str, object], name: str) -> None:
    with pytest.raises(ValueError, match=f"^{name} is .*; allowed: "):
        PiggybackSettings(**change)  # type: ignore[arg-type]


def test_a_sequence_forgets_nothing_and_resumes_to_the_same_bytes(tmp_path: Path) -> None:
    folder = write_tiny_tasks(tmp_path / "tasks", 3)
    train, settings = TrainSettings(epochs=4, batch_size=8, lr=0.05), PiggybackSettings(2e-3)
    job = Job("tiny", "piggyback", "clean", 1, (1, 2, 3), folder, {"name": "tiny"}, train, settings)
    result = learn_sequence(job, tmp_path / "whole")
    assert verify(tmp_path / "whole").tasks == (1, 2, 3)
    assert result["forgetting"] == 0
    sizes = [RunDirectory(tmp_path / "whole").record(task)["size"] for task in (1, 2, 3)]
    assert {(size["allocated"], size["used"]) for size in sizes} == {(1.0, 1.0)}
    for where in ((1, 1, 2), (2, 1, 1), (3, 1, 4)):
        with pytest.raises(Killed):
            learn_sequence(job, tmp_path / "killed", killer(*where), checkpoint_seconds=0.0)
    learn_sequence(job, tmp_path / "killed")
    assert deterministic_files(tmp_path / "killed") == deterministic_files(tmp_path / "whole")
