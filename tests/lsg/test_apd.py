"""APD: weights from their parts, the loss and a consolidation by hand, and forgetting that is shown."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from lsg.certificate import verify
from lsg.checkpoint import Checkpoints
from lsg.events import EventLog
from lsg.files import DamagedFileError
from lsg.job import Job
from lsg.methods import METHODS
from lsg.methods.apd import Additive, Apd, ApdSettings, DecomposedNetwork
from lsg.methods.apd_decomposition import (
    Adaptation,
    Decomposition,
    gate,
    kmeans,
    pruned,
    shared,
    starts,
)
from lsg.networks import NETWORKS
from lsg.records import RunDirectory
from lsg.sequence import learn_sequence
from lsg.train_settings import TrainSettings
from lsg.training import Trainer
from tests.lsg.tiny import tiny_architecture, tiny_task, write_tiny_tasks

TRAIN = TrainSettings(epochs=4, batch_size=8)
SETTINGS = ApdSettings(lr=1e-2, consolidate_every=2, clusters=1)


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(METHODS, "apd", Apd)
    monkeypatch.setitem(NETWORKS, "tiny", lambda shape: tiny_architecture())
    monkeypatch.setattr("lsg.sequence.certificate.verify_in_fresh_process", verify)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_tasks(tmp_path_factory.mktemp("tasks") / "tiny", 3)


def job(data: Path, settings: ApdSettings = SETTINGS) -> Job:
    return Job("tiny", "apd", "clean", 1, (1, 2, 3), data, {"name": "tiny"}, TRAIN, settings)


def trainer(tmp_path: Path) -> Trainer:
    return Trainer(TRAIN, 1, EventLog(tmp_path / "events.jsonl"), Checkpoints(tmp_path, 1e9))


def double(values: object) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


class OneLayer(nn.Module):
    """A linear layer of two inputs and two outputs, and a head of one class."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(2, 2)
        self.head = nn.Linear(2, 1)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(torch.relu(self.fc(x)))
        return logits


MASK = [0.0, math.log(3)]
"""Gates 1/2 and 3/4."""


def one_layer(earlier: list[list[list[float]]], gates: list[list[float]]) -> DecomposedNetwork:
    """sigma = [[4, -8], [2, 0]], tau_t = [[1, 0], [0, -3]]; earlier tasks' tau and gates as given."""
    body = OneLayer().double()
    with torch.no_grad():
        body.fc.weight.copy_(double([[4, -8], [2, 0]]))
        body.fc.bias.copy_(double([1, 10]))
        body.head.weight.copy_(double([[1, -1]]))
        body.head.bias.zero_()
    tau, mask = double([[1, 0], [0, -3]]), double(MASK)
    taus, on = double(earlier).view(-1, 2, 2), double(gates).view(-1, 2, 1)
    old = body.fc.weight.detach() * on + taus
    return DecomposedNetwork(body, {"fc": Additive(mask, tau, taus, on, old)}, first=not earlier)


def test_theta_from_its_parts() -> None:
    network = one_layer([], [])
    sigma, layer = network.parts()["fc"]
    expected = double([[4 * 0.5 + 1, -8 * 0.5], [2 * 0.75, -3]])
    torch.testing.assert_close(layer.theta(sigma), expected, rtol=0, atol=1e-12)
    # x = (2, 1): fc = 3 * 2 - 4 + 1 = 3 and 1.5 * 2 - 3 + 10 = 10.
    torch.testing.assert_close(network(double([[2, 1]])), double([[3 - 10]]), rtol=0, atol=1e-12)
    assert sigma is network.body.fc.weight


def test_gates_are_one_an_output_channel() -> None:
    assert gate(torch.zeros(3), 4).shape == (3, 1, 1, 1)
    assert gate(torch.tensor(MASK), 2).flatten().tolist() == pytest.approx([0.5, 0.75])


def test_the_loss_of_the_first_task_by_hand() -> None:
    settings = ApdSettings(decay=0.25, sparsity=0.5, drift=100.0)
    squares = (1 + 9) + math.log(3) ** 2 + (16 + 64 + 4)
    expected = 0.25 / 2 * squares + 0.5 * (1 + 3)
    assert one_layer([], []).penalty(settings).item() == pytest.approx(expected, abs=1e-12)


def test_the_gradients_that_hold_two_earlier_tasks_by_hand() -> None:
    settings = ApdSettings(decay=0.0, sparsity=0.5, drift=4.0)
    network = one_layer([[[1, 0], [0, 0]], [[0, 0], [-2, 0.5]]], [[0.5, 1.0], [1.0, 0.25]])
    sigma, layer = network.parts()["fc"]
    sigma.grad = torch.ones_like(sigma)
    network.hold(settings)
    assert layer.earlier.grad is not None
    assert sigma.grad.tolist() == [[1, 1], [1, 1]]
    assert layer.earlier.grad.tolist() == [[[0.5, 0], [0, 0]], [[0, 0], [-0.5, 0.5]]]
    with torch.no_grad():
        sigma[0, 1] += 2.0
        layer.earlier[1, 1, 0] += 1.0
    # theta_1 moves by 2 * 0.5 and theta_2 by 2 * 1 in the entry above right, theta_2 by 1 below left.
    network.hold(settings)
    assert sigma.grad.tolist() == [[1, 1 + 4 * (0.5 * 1 + 1 * 2)], [1 + 4 * 0.25 * 1, 1]]
    assert layer.earlier.grad.tolist() == [[[0.5, 4.0], [0, 0]], [[0, 8.0], [-0.5 + 4.0, 0.5]]]


def whole_loss(network: DecomposedNetwork, settings: ApdSettings) -> Tensor:
    """The loss of the header beside the cross entropy, term by term."""
    loss = torch.zeros((), dtype=torch.float64)
    for sigma, layer in network.parts().values():
        taus = [layer.tau, *layer.earlier]
        loss = loss + settings.decay / 2 * (layer.tau.square().sum() + layer.mask.square().sum())
        loss = loss + settings.sparsity * sum(tau.abs().sum() for tau in taus)
        for tau, on, old in zip(layer.earlier, layer.gates, layer.old, strict=True):
            loss = loss + settings.drift * 0.5 * (sigma * on + tau - old).square().sum()
    return loss


def test_all_gradients_equal_those_of_the_loss() -> None:
    settings = ApdSettings(decay=0.25, sparsity=0.5, drift=4.0)
    network = one_layer([[[1, 0.5], [-1, 3]], [[0, 0], [-2, 0.5]]], [[0.5, 1.0], [1.0, 0.25]])
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.125)
    parameters = [
        parameter for sigma, layer in network.parts().values() for parameter in (sigma, *layer.parameters())
    ]
    expected = torch.autograd.grad(whole_loss(network, settings), parameters)
    sigma = parameters[0]
    sigma.grad = torch.zeros_like(sigma)
    network.penalty(settings).backward()
    network.hold(settings)
    for parameter, gradient in zip(parameters, expected, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, rtol=0, atol=1e-12)


def test_adams_rate_falls_every_epoch() -> None:
    rates = ApdSettings().rates(20)
    assert [rates.at(epoch, 20) for epoch in (1, 2, 3, 20)] == pytest.approx(
        [1e-3, 0.95e-3, 0.95**2 * 1e-3, 0.95**19 * 1e-3]
    )
    assert ApdSettings().rates(1).at(1, 1) == 1e-3


def test_pruning_keeps_what_is_over_the_threshold() -> None:
    weights = torch.tensor([0.5, -0.5, 0.25, -0.25, 0.0, 0.3])
    assert pruned(weights, 0.25).tolist() == [0.5, -0.5, 0, 0, 0, pytest.approx(0.3)]


def test_kmeans_by_hand() -> None:
    points = double([[0.0], [1.0], [10.0], [12.0], [5.0]])
    # From 0 and 1: 0 and the rest; means 0 and 7; then 0, 1 and the rest; means 0.5 and 9: 5 is nearer to 9.
    assert kmeans(points, double([[0.0], [1.0]])).tolist() == [0, 0, 1, 1, 1]
    # A centroid that nobody is near neither moves nor spoils the others.
    assert kmeans(points, double([[0.0], [99.0], [9.0]])).tolist() == [0, 0, 2, 2, 2]


def test_centroids_start_from_earlier_groups_and_random_points() -> None:
    points = double([[0.0, 2.0], [4.0, 4.0], [7.0, 7.0], [8.0, 8.0]])
    draws = torch.Generator().manual_seed(0)
    order = torch.randperm(4, generator=torch.Generator().manual_seed(0)).tolist()
    found = starts(points, [[0, 1], [2]], 3, draws)
    assert found[:2].tolist() == [[2.0, 3.0], [7.0, 7.0]]
    assert torch.equal(found[2], points[order[2]])
    assert starts(points, [], 2, draws).shape == (2, 2)


def test_what_a_group_shares_by_hand() -> None:
    local, own = shared(double([[1.0, 0.0, -2.0], [1.5, 3.0, -2.0]]), gap=0.5)
    assert local.tolist() == [1.25, 0.0, -2.0]
    assert own.tolist() == [[0.0, 0.0, 0.0], [0.0, 3.0, 0.0]]


def three_tasks() -> Decomposition:
    """A layer of one output and four inputs. Tasks 1 and 3 are alike; sigma is 0: theta is what is added."""
    taus = ([1.0, 2.0, 0.0, 0.25], [9.0, -9.0, 9.0, 9.0], [1.5, 4.0, 0.25, 0.25])
    tasks = {
        task: Adaptation({"fc": torch.zeros(1)}, {"fc": torch.tensor([tau])}, {})
        for task, tau in enumerate(taus, start=1)
    }
    return Decomposition({"fc": torch.zeros(1, 4)}, tasks)


def consolidate(state: Decomposition, clusters: int, gap: float, threshold: float) -> None:
    """From seed 0, which starts from points of different groups."""
    state.consolidate("fc", clusters, gap, threshold, torch.Generator().manual_seed(0))


def test_a_consolidation_of_three_tasks_by_hand() -> None:
    state = three_tasks()
    consolidate(state, clusters=2, gap=0.5, threshold=0.125)
    groups = {group.tasks: group.local for group in state.groups["fc"]}
    assert groups.keys() == {(1, 3), (2,)}
    assert groups[2,] is None
    local = groups[1, 3]
    assert local is not None
    assert local.tolist() == [[1.25, 0.0, 0.0, 0.25]]  # 0.125 is not over the threshold
    taus = {task: own.tau["fc"].tolist() for task, own in state.tasks.items()}
    assert taus == {1: [[0.0, 2.0, 0.0, 0.0]], 2: [[9.0, -9.0, 9.0, 9.0]], 3: [[0.0, 4.0, 0.0, 0.0]]}
    assert state.theta("fc", 1).tolist() == [[1.25, 2.0, 0.0, 0.25]]
    assert state.theta("fc", 3).tolist() == [[1.25, 4.0, 0.0, 0.25]]
    assert state.nonzero() == 2 + 1 + 4 + 1  # the masks are logits of 0: not counted as non-zero


def test_the_next_consolidation_takes_the_groups_apart_first() -> None:
    """A fourth task like task 2: what tasks 1 and 3 add includes what they shared, now under a new gap."""
    state = three_tasks()
    consolidate(state, clusters=2, gap=0.5, threshold=0.125)
    state.tasks[4] = Adaptation({"fc": torch.zeros(1)}, {"fc": torch.tensor([[9.0, -9.0, 8.0, 9.0]])}, {})
    consolidate(state, clusters=2, gap=2.0, threshold=0.125)
    groups = {group.tasks: group.local for group in state.groups["fc"]}
    assert groups.keys() == {(1, 3), (2, 4)}
    assert [local.tolist() for local in groups.values() if local is not None] == [
        [[1.25, 3.0, 0.0, 0.25]],
        [[9.0, -9.0, 8.5, 9.0]],
    ]
    assert not any(own.tau["fc"].any() for own in state.tasks.values())


def test_the_state_on_disk_and_back() -> None:
    state = three_tasks()
    consolidate(state, clusters=2, gap=0.5, threshold=0.125)
    back = Decomposition.of(state.tensors())
    for task in (1, 2, 3):
        assert torch.equal(back.theta("fc", task), state.theta("fc", task))
    assert [group.tasks for group in back.groups["fc"]] == [group.tasks for group in state.groups["fc"]]
    assert back.nonzero() == state.nonzero()
    tensors = state.tensors()
    assert tensors["2.tau.fc.values"].tolist() == [9.0, -9.0, 9.0, 9.0]
    tensors["2.tau.fc.values"] = torch.ones(3)
    with pytest.raises(ValueError, match="2.tau.fc: 3 values stored, bits name 4"):
        Decomposition.of(tensors)


def test_a_task_starts_from_the_shared_weights_and_the_last_tasks_vectors(tmp_path: Path) -> None:
    method = Apd(tiny_architecture(), SETTINGS, "clean", 1)
    first = method._begin(tiny_task(1))
    assert first.first
    sigma, layer = first.parts()["fc"]
    assert torch.equal(layer.tau, sigma)
    assert sigma.std().item() == pytest.approx((1 / 32) ** 0.5, rel=0.15)
    method.learn(tiny_task(1), None, trainer(tmp_path))
    second = method._begin(tiny_task(2))
    assert not second.first
    for name, (sigma, layer) in second.parts().items():
        assert torch.equal(sigma, method.state.sigma[name])
        assert torch.equal(layer.tau, sigma)
        assert torch.equal(layer.earlier[0], method.state.tasks[1].tau[name])
        torch.testing.assert_close(layer.old[0], method.state.theta(name, 1))
    body, private = second.body.state_dict(), method.state.tasks[1].private
    assert torch.equal(body["norm.running_mean"], private["norm.running_mean"])
    assert torch.equal(body["conv1.bias"], private["conv1.bias"])
    assert not torch.equal(body["head.weight"], private["head.weight"])
    again = method._begin(tiny_task(2)).state_dict()
    assert all(torch.equal(tensor, again[name]) for name, tensor in second.state_dict().items())


def test_a_learned_task_is_pruned_and_computes_what_was_trained(tmp_path: Path) -> None:
    settings = ApdSettings(lr=1e-2, sparsity=5e-3)
    method = Apd(tiny_architecture(), settings, "clean", 1)
    method.learn(tiny_task(1), None, trainer(tmp_path))
    taus = torch.cat([tau.flatten() for tau in method.state.tasks[1].tau.values()])
    assert 0 < int((taus == 0).sum()) < len(taus)
    assert float(taus[taus != 0].abs().min()) > 5e-3
    network = method.network(1)
    assert torch.equal(network.get_parameter("fc.weight"), method.state.theta("fc", 1))
    assert torch.equal(
        network.get_buffer("norm.running_var"), method.state.tasks[1].private["norm.running_var"]
    )
    assert method.weights() == (method.state.nonzero(), method.state.nonzero())
    assert method.weights()[0] < 2 * tiny_architecture().weights(tiny_architecture().streams)


def moved(tmp_path: Path, drift: float) -> float:
    """How far task 1's weights move while task 2 is learned."""
    method = Apd(tiny_architecture(), ApdSettings(lr=1e-2, drift=drift), "clean", 1)
    tmp_path.mkdir()
    run = trainer(tmp_path)
    method.learn(tiny_task(1), None, run)
    before = {name: method.state.theta(name, 1) for name in method.layers}
    masks = {name: mask.clone() for name, mask in method.state.tasks[1].masks.items()}
    run.begin_task(2, 1)
    method.learn(tiny_task(2), None, run)
    assert all(torch.equal(masks[name], mask) for name, mask in method.state.tasks[1].masks.items())
    return sum(float((method.state.theta(name, 1) - theta).square().sum()) for name, theta in before.items())


def test_the_drift_penalty_holds_earlier_tasks_but_not_exactly(tmp_path: Path) -> None:
    free, held = moved(tmp_path / "free", 0.0), moved(tmp_path / "held", 100.0)
    assert 0 < held < free / 10


def test_forgetting_is_measured_and_nothing_is_certified(data: Path, tmp_path: Path) -> None:
    result = learn_sequence(job(data), tmp_path)
    assert result["certificate"]["verified"] is False
    assert list(result["matrix"]["3"]) == ["1", "2", "3"]
    report = verify(tmp_path)
    assert report.tasks == (3,)
    assert report.probes_bit_equal
    run = RunDirectory(tmp_path)
    assert [run.record(task)["reason"] for task in (1, 2, 3)] == ["trained", "consolidated", "trained"]
    whole = [Apd(tiny_architecture(), SETTINGS, "clean", 1) for _ in (1, 2, 3)]
    for task, method in enumerate(whole, start=1):
        method.restore(task, {n: t for n, t in run.tensors(task).items() if n != "probe.logits"})
        assert list(method.state.tasks) == list(range(1, task + 1))
        dense = tiny_architecture().weights(tiny_architecture().streams)
        assert run.record(task)["size"]["used"] == pytest.approx(method.state.nonzero() / dense)
    first, last = (whole[place].network(1) for place in (0, 2))
    assert not torch.equal(first.get_parameter("fc.weight"), last.get_parameter("fc.weight"))
    assert torch.equal(first.get_parameter("norm.weight"), last.get_parameter("norm.weight"))
    assert whole[2].state.groups.keys() == set(whole[2].layers)


def test_stored_size_is_the_bytes_of_the_newest_file(data: Path, tmp_path: Path) -> None:
    learn_sequence(job(data), tmp_path)
    content = (tmp_path / "task_03.safetensors").read_bytes()
    total = len(content) - 8 - int.from_bytes(content[:8], "little")
    dense = tiny_architecture().weights(tiny_architecture().streams)
    assert RunDirectory(tmp_path).record(3)["size"]["stored"] == pytest.approx(total / (4 * dense))


class Killed(Exception):
    """Stands for a kill in the middle of a stage."""


@pytest.mark.parametrize("task", [1, 2, 3])
def test_a_run_killed_in_any_task_resumes_to_the_same_bytes(data: Path, tmp_path: Path, task: int) -> None:
    """Task 1 has no earlier tau, task 2 ends with a consolidation, task 3 follows one."""

    def report(event: dict[str, object]) -> None:
        if (event["event"], event["task"], event.get("epoch")) == ("epoch", task, 3):
            raise Killed

    learn_sequence(job(data), tmp_path / "whole")
    with pytest.raises(Killed):
        learn_sequence(job(data), tmp_path / "killed", report, checkpoint_seconds=0)
    assert (tmp_path / "killed" / f"checkpoint_{task:02d}_1.safetensors").exists()
    learn_sequence(job(data), tmp_path / "killed", checkpoint_seconds=0)
    files = {
        name: {
            p.name: p.read_bytes() for p in sorted((tmp_path / name).iterdir()) if p.name != "seconds.json"
        }
        for name in ("whole", "killed")
    }
    assert files["killed"] == files["whole"]


def test_a_file_without_a_tensor_is_damaged(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    learn_sequence(job(data), tmp_path)
    tensors = RunDirectory.tensors

    def without(run: RunDirectory, task: int) -> dict[str, Tensor]:
        return {name: t for name, t in tensors(run, task).items() if name != "1.tau.fc.bits"}

    monkeypatch.setattr(RunDirectory, "tensors", without)
    with pytest.raises(DamagedFileError, match="1.tau.fc.bits"):
        verify(tmp_path)


@pytest.mark.parametrize(
    ("name", "shape", "options"),
    [
        ("lenet", (1, 8, 8), {}),
        ("vgg16-bn", (3, 32, 32), {"hidden": 16}),
        ("resnet18", (3, 32, 32), {"width": 4}),
    ],
)
def test_every_network_of_the_paper_is_decomposed_and_put_together(
    name: str, shape: tuple[int, int, int], options: dict[str, int]
) -> None:
    architecture = NETWORKS[name](shape, **options)
    method = Apd(architecture, ApdSettings(sparsity=0.0), "clean", 1)
    network = method._begin(tiny_task(1))
    images = torch.randn(2, *shape, generator=torch.Generator().manual_seed(0))
    network.train()(images).sum().backward()
    assert all(p.grad is not None for n, p in network.named_parameters() if not n.endswith("earlier"))
    method._take(1, network)
    assert torch.equal(network.eval()(images), method.network(1)(images))
    weights = architecture.weights(architecture.streams)
    channels = sum(len(mask) for mask in method.state.tasks[1].masks.values())
    assert method.weights()[0] == 2 * weights + channels


@pytest.mark.parametrize(
    "field",
    [
        {"lr": 0.0},
        {"lr_decay": 1.5},
        {"sparsity": -1.0},
        {"drift": -1.0},
        {"consolidate_every": 1},
        {"clusters": 6},
        {"gap": -0.1},
    ],
)
def test_settings_out_of_range_are_named(field: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(field))):
        ApdSettings(**field)  # type: ignore[arg-type]
