"""Steps by way of graphs equal a plain loop, and graphs are captured when and only when they must be.

A graph is played by `RecordedGraph`, which repeats a step's operations on the memory that it was recorded on;
the capture by CUDA itself is compared where there is a GPU.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from lsg import seeds
from lsg.batches import Batches
from lsg.certificate import verify
from lsg.graphs import CudaGraph
from lsg.growth import Growth, Room
from lsg.initial import initial_weights
from lsg.job import Job
from lsg.masked import MaskedTraining
from lsg.masks import GateSchedule
from lsg.methods import METHODS
from lsg.methods.elementwise import GradualPruning, Ramp
from lsg.networks import NETWORKS
from lsg.networks.architecture import HEAD
from lsg.optimizers import SGD, Adam, Optimizer
from lsg.plain import PlainTraining
from lsg.sequence import learn_sequence
from lsg.stepper import Stepper
from lsg.train_settings import TrainSettings
from lsg.trainee import Trainee
from lsg.update import Masking
from lsg.workspace import Workspace
from tests.lsg.recorded import RecordedGraph, WaitsForDevice
from tests.lsg.tiny import deterministic_files, epoch_of, tiny_architecture, tiny_task, write_tiny_tasks

WIDTHS = {"outer": 3, "inner": 3, "hidden": 5}
RATES = {1: (0.05, 5e-3), 2: (0.05, 5e-3), 3: (0.05, 5e-3), 4: (0.005, 5e-3)}
"""Rates of weights and masks by epoch."""
TRAIN = TrainSettings(epochs=4, batch_size=12, lr=0.05, crop_padding=1, flip=True)
MASKING = Masking("logit", GateSchedule(scale=100.0, final_beta=20.0, epochs=4), penalty=1e-4)


@pytest.fixture(autouse=True)
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What graphs are asked to do in the test."""
    monkeypatch.setattr(RecordedGraph, "asked", [], raising=False)
    return RecordedGraph.asked


def workspace(optimizer: Optimizer, device: str = "cpu") -> Workspace:
    """Masks on all kernels but the head's; every third kernel is frozen."""
    architecture = tiny_architecture()
    weights = initial_weights(architecture, WIDTHS, 2, 1, 1)
    own = Workspace(architecture, WIDTHS, 2, (optimizer, Adam()), weights, {}, device)
    own.masked[:] = True
    own.table.kernel_grid(own.masked, HEAD)[:] = False
    own.trainable[::3] = False
    return own


def masked(optimizer: Optimizer, device: str = "cpu") -> MaskedTraining:
    return MaskedTraining(workspace(optimizer, device), MASKING, 4e-5)


def growing(optimizer: Optimizer, device: str = "cpu") -> MaskedTraining:
    """Grows at the start of the second epoch, and not later."""
    names = [layer.name for layer in tiny_architecture().layers]
    room = Room(tiny_architecture(), {"outer": 7, "inner": 7, "hidden": 13}, math.inf)
    growth = Growth(1, 1, 0.25, room, gate_init=0.03, last_epoch=2, masked=names)
    return MaskedTraining(growth.begin(workspace(optimizer, device)), MASKING, 4e-5, growth)


def plain(device: str = "cpu") -> PlainTraining:
    """With a penalty and steps around that of torch's SGD."""
    torch.manual_seed(1)
    layers = nn.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(16, 2))
    network = layers.to(device)
    weight = network.get_parameter("0.weight")

    def freeze() -> None:
        assert weight.grad is not None
        weight.grad[0] = 0.0

    def shrink(rate: float) -> None:
        weight.sub_(rate * 1e-3 * weight.sign())

    return PlainTraining(
        network,
        torch.optim.SGD(network.parameters(), momentum=0.9, nesterov=True),
        macs=1,
        penalty=lambda: 1e-3 * weight.square().sum(),
        before_step=freeze,
        after_step=shrink,
    )


def batches(device: str = "cpu") -> Batches:
    """Three batches of 12 an epoch, and one of 4."""
    return Batches(tiny_task(1), TRAIN.batch_size, TRAIN.crop_padding, TRAIN.flip, seed=3, device=device)


def plain_epoch(trainee: Trainee, data: Batches, epoch: int, seed: int) -> tuple[float, int]:
    """The loop as one would write it down."""
    draws = torch.Generator().manual_seed(seed)

    def uniform(count: int) -> Tensor:
        return torch.rand(count, generator=draws)

    trainee.begin_epoch(epoch, uniform)
    network, losses, hits = trainee.network.train(), torch.zeros(()), 0
    for images, labels in epoch_of(data, epoch):
        logits = network(images)
        loss, penalty = cross_entropy(logits, labels), trainee.penalty()
        (loss if penalty is None else loss + penalty).backward()
        trainee.step(*RATES[epoch], uniform)
        losses += loss.detach() * len(labels)
        hits += int((logits.argmax(1) == labels).sum())
    trainee.end_epoch()
    return float(losses), hits


MAKERS: dict[str, Callable[[], Trainee]] = {
    "masked-sgd": lambda: masked(SGD(0.9)),
    "masked-adam": lambda: masked(Adam()),
    "growing-sgd": lambda: growing(SGD(0.9)),
    "growing-adamw": lambda: growing(Adam(decoupled=True)),
    "plain": plain,
}


@pytest.mark.parametrize("make_graph", [None, RecordedGraph])
@pytest.mark.parametrize("name", MAKERS)
def test_steps_equal_a_plain_loop_bit_for_bit(name: str, make_graph: type[RecordedGraph] | None) -> None:
    """Weights, masks, optimizers' states, loss and hits, by steps as they are and by replays of graphs."""
    reference, trainee = MAKERS[name](), MAKERS[name]()
    stepper = Stepper(trainee, batches(), "float32", make_graph)
    for epoch, (rate, mask_rate) in RATES.items():
        seed = seeds.derived("masks", epoch)
        expected = plain_epoch(reference, batches(), epoch, seed)
        assert stepper.epoch(epoch, rate, mask_rate, seed) == expected
        after = trainee.tensors()
        for key, value in reference.tensors().items():
            assert torch.equal(after[key], value), f"{key} after epoch {epoch}"
    assert ("replay" in RecordedGraph.asked) == (make_graph is not None)


def captures(trainee: Trainee) -> list[list[str]]:
    """What graphs were asked to do in each epoch."""
    stepper = Stepper(trainee, batches(), "float32", RecordedGraph)
    epochs = []
    for epoch, (rate, mask_rate) in RATES.items():
        RecordedGraph.asked.clear()
        stepper.epoch(epoch, rate, mask_rate, epoch)
        epochs.append(list(RecordedGraph.asked))
    return epochs


ANEW = ["rehearse", "capture", "replay", "replay", "rehearse"]
"""An epoch of three batches of one size and one of another, for none of which there is a graph yet."""


@pytest.mark.parametrize("name", ["masked-sgd", "plain"])
def test_a_graph_is_captured_once_for_each_batch_size_and_rate(name: str) -> None:
    second = ["replay", "replay", "replay", "capture", "replay"]
    assert captures(MAKERS[name]()) == [ANEW, second, ["replay"] * 4, ANEW]


def test_a_graph_is_captured_anew_after_growth_and_whenever_gates_are_drawn() -> None:
    trainee = growing(SGD(0.9))
    widths = dict(trainee.workspace.widths)
    assert captures(trainee) == [ANEW] * 4
    assert all(trainee.workspace.widths[stream] > width for stream, width in widths.items())


def test_steps_that_count_on_the_host_are_never_captured() -> None:
    architecture = tiny_architecture().elementwise()
    weights = initial_weights(architecture, WIDTHS, 2, 1, 1)
    own = Workspace(architecture, WIDTHS, 2, (SGD(0.9), Adam()), weights, {}, dense=True)
    earlier = {
        layer.name: torch.zeros(own.table.shapes[layer.name][:2], dtype=torch.bool)
        for layer in architecture.layers
    }
    trainee = GradualPruning(own, 0.0, earlier, Ramp(0.0, 0.5, steps=9, frequency=2))
    assert captures(trainee) == [[]] * 4
    assert trainee.steps == 16
    assert float((own.table.grid(own.weight.value, "fc") == 0).float().mean()) >= 0.5


@pytest.mark.parametrize("look", [lambda w: w.sum().item(), lambda w: w[w > 0], lambda w: bool(w.any())])
def test_a_step_that_looks_into_a_tensor_is_found(look: Callable[[Tensor], None]) -> None:
    """What the other tests rely on: the recorder refuses what CUDA would."""
    network = nn.Sequential(nn.Flatten(), nn.Linear(32, 2))
    weight = network.get_parameter("1.weight").detach()
    optimizer = torch.optim.SGD(network.parameters())
    trainee = PlainTraining(network, optimizer, 1, before_step=lambda: look(weight))
    with pytest.raises(WaitsForDevice):
        Stepper(trainee, batches(), "float32", RecordedGraph).epoch(1, 0.1, 0.0, 1)


@pytest.mark.parametrize("method", [name for name in METHODS if not name.startswith("grow-matched")])
def test_every_method_learns_the_same_by_graphs(
    method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: list[str]
) -> None:
    monkeypatch.setitem(NETWORKS, "tiny", lambda shape: tiny_architecture())
    monkeypatch.setattr("lsg.sequence.certificate.verify_in_fresh_process", verify)
    data, settings = write_tiny_tasks(tmp_path / "tasks", 2), METHODS[method].Settings()
    goals = {1: 1.0, 2: 1.01}
    job = Job("tiny", method, "paper", 1, (1, 2), data, {"name": "tiny"}, TRAIN, settings, goals)
    learn_sequence(job, tmp_path / "plain")
    assert not asked
    monkeypatch.setattr(
        "lsg.training.Stepper",
        lambda trainee, batches, precision, _: Stepper(trainee, batches, precision, RecordedGraph),
    )
    learn_sequence(job, tmp_path / "graphs")
    assert "replay" in asked
    assert deterministic_files(tmp_path / "graphs") == deterministic_files(tmp_path / "plain")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU on this machine")
@pytest.mark.parametrize("make", [masked, growing])
@pytest.mark.parametrize("optimizer", [SGD(0.9), Adam()])
def test_captured_steps_equal_ordinary_ones_on_a_gpu(
    make: Callable[[Optimizer, str], MaskedTraining], optimizer: Optimizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", True)
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    ordinary, captured = make(optimizer, "cuda"), make(optimizer, "cuda")
    steppers = [
        Stepper(ordinary, batches("cuda"), "float32"),
        Stepper(captured, batches("cuda"), "float32", CudaGraph),
    ]
    for epoch, (rate, mask_rate) in RATES.items():
        (loss, _), (loss_by_graph, _) = (each.epoch(epoch, rate, mask_rate, epoch) for each in steppers)
        assert loss_by_graph == pytest.approx(loss, rel=1e-5)
    after = captured.tensors()
    for name, value in ordinary.tensors().items():
        torch.testing.assert_close(after[name], value, rtol=1e-4, atol=1e-6)
