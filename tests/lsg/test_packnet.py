"""PackNet: shares of three tasks by hand, gates, no movement of what is owned, resuming."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from lsg.bank import FREE
from lsg.certificate import verify
from lsg.job import Job
from lsg.methods import METHODS
from lsg.methods.elementwise import WeightTraining
from lsg.methods.packnet import RETRAIN, TRAIN, PackNet, PackNetSettings
from lsg.networks import NETWORKS
from lsg.records import RunDirectory
from lsg.sequence import learn_sequence
from lsg.train_settings import TrainSettings
from lsg.training import Stage, Trainer
from tests.lsg.test_cpg import Killed, killer, trainer
from tests.lsg.tiny import deterministic_files, tiny_architecture, tiny_task, write_tiny_tasks


@pytest.fixture(autouse=True)
def tiny_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(NETWORKS, "tiny", lambda shape: tiny_architecture())
    monkeypatch.setitem(METHODS, "packnet", PackNet)
    monkeypatch.setattr("lsg.sequence.certificate.verify_in_fresh_process", verify)


def packnet(**settings: object) -> PackNet:
    return PackNet(tiny_architecture(), PackNetSettings(**settings), "paper", seed=1)  # type: ignore[arg-type]


def job(folder: Path) -> Job:
    train = TrainSettings(epochs=4, batch_size=8, lr=0.05)
    settings = PackNetSettings(retrain_epochs=0.75)
    return Job("tiny", "packnet", "paper", 1, (1, 2, 3), folder, {"name": "tiny"}, train, settings)


def test_each_task_owns_its_share_of_what_was_free(tmp_path: Path) -> None:
    """conv1 has 8 x 8 x 9 = 576 weights; a ratio of 0.75 leaves 432, then 324, then 243 of them free."""
    method = packnet(ratio=0.75)
    weights: dict[int, torch.Tensor] = {}
    for number, free in ((1, 432), (2, 324), (3, 243)):
        lesson = method.learn(tiny_task(number), None, trainer(tmp_path / str(number), number))
        owners = method.bank.owners["conv1"]
        assert int((owners == FREE).sum()) == free
        assert method.bank.widths == method.architecture.streams
        used = method.bank.solution(number).used["conv1"]
        assert torch.equal(used, owners != FREE), "a task uses all weights of the tasks before it"
        for earlier, values in weights.items():
            assert torch.equal(method.bank.weights["conv1"][owners == earlier], values)
        weights[number] = method.bank.weights["conv1"][owners == number].clone()
        assert list(lesson.stage_accuracy) == [TRAIN, RETRAIN]
        assert lesson.reason == "pruned"
    assert [len(values) for values in weights.values()] == [144, 108, 81]
    allocated, in_use = method.weights()
    assert in_use == pytest.approx((1 - 0.75**3) * allocated, rel=0.01)


def test_the_largest_weights_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With retraining stopped short, what stays is the top 40 % of what was trained."""
    method, run, seen = packnet(ratio=0.6), trainer(tmp_path), {}
    train = Trainer.run

    def stopped(self: Trainer, stage: Stage, training: WeightTraining, task: object) -> None:
        if stage.number == TRAIN:
            train(self, stage, training, task)  # type: ignore[arg-type]
            seen["trained"] = training.workspace.weight_grids()["fc"].clone()

    monkeypatch.setattr(Trainer, "run", stopped)
    method.learn(tiny_task(1), None, run)
    trained, owned = seen["trained"].abs().squeeze(2), method.bank.owners["fc"] == 1
    assert int(owned.sum()) == owned.numel() - round(0.6 * owned.numel())
    assert trained[owned].min() > trained[~owned].max()


def test_the_rate_of_retraining_drops_late(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """30 epochs of 1e-3, the last five at a tenth of it, as in CPG's script."""
    method, rates = packnet(retrain_epochs=30 / 6), []
    monkeypatch.setattr(
        "lsg.training.Stepper.epoch",
        lambda stepper, epoch, rate, *rest: (rates.append(rate), (0.0, 0))[1],
    )
    method.learn(tiny_task(1), None, trainer(tmp_path))
    assert rates[6:] == pytest.approx([1e-3] * 25 + [1e-4] * 5)


@pytest.mark.parametrize(
    ("settings", "goal", "reason"),
    [
        ({}, 1.01, "pruned"),
        ({"meet_goal": True}, 0.0, "pruned"),
        ({"meet_goal": True}, 1.01, "below_target"),
        ({"train_accuracy": 1.0, "ratio": 0.99}, 0.0, "below_train_gate"),
    ],
)
def test_gates_undo_pruning(tmp_path: Path, settings: dict[str, object], goal: float, reason: str) -> None:
    method, task = packnet(**settings), tiny_task(1)
    task.train.labels[:20] = task.train.labels[:20].flip(0)
    lesson = method.learn(task, goal, trainer(tmp_path))
    (decision,) = lesson.decisions
    assert (decision["answer"], decision["reason"]) == (reason == "pruned", reason)
    assert decision["value"] == lesson.stage_accuracy[RETRAIN]
    assert (method.bank.released_share() > 0) == (reason == "pruned")


def test_a_full_network_still_takes_tasks(tmp_path: Path) -> None:
    """Nothing is free any more: a later task trains its biases, BatchNorm and head."""
    method = packnet(meet_goal=True)
    method.learn(tiny_task(1), 1.01, trainer(tmp_path / "1"))
    assert method.bank.released_share() == 0
    lesson = method.learn(tiny_task(2), 1.01, trainer(tmp_path / "2", 2))
    assert list(lesson.stage_accuracy) == [TRAIN]
    assert not lesson.decisions
    assert all((owners == 1).all() for owners in method.bank.owners.values())
    assert any(
        not torch.equal(value, method.bank.private(1)[n]) for n, value in method.bank.private(2).items()
    )


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"ratio": 1.0}, "ratio"),
        ({"retrain_lr": 0.0}, "retrain_lr"),
        ({"train_accuracy": 97.0}, "train_accuracy"),
    ],
)
def test_settings_out_of_range_are_named(change: dict[str, object], name: str) -> None:
    with pytest.raises(ValueError, match=f"^{name} is .*; allowed: "):
        PackNetSettings(**change)  # type: ignore[arg-type]


def test_a_sequence_forgets_nothing_and_resumes_to_the_same_bytes(tmp_path: Path) -> None:
    folder = write_tiny_tasks(tmp_path / "tasks", 3)
    result = learn_sequence(job(folder), tmp_path / "whole")
    assert verify(tmp_path / "whole").tasks == (1, 2, 3)
    assert result["forgetting"] == 0
    sizes = [RunDirectory(tmp_path / "whole").record(task)["size"]["used"] for task in (1, 2, 3)]
    assert sizes == pytest.approx([0.4, 0.64, 0.784], abs=0.005)
    for where in ((1, RETRAIN, 2), (2, TRAIN, 3), (2, RETRAIN, 3)):
        with pytest.raises(Killed):
            learn_sequence(job(folder), tmp_path / "killed", killer(*where), checkpoint_seconds=0.0)
    learn_sequence(job(folder), tmp_path / "killed")
    assert deterministic_files(tmp_path / "killed") == deterministic_files(tmp_path / "whole")
