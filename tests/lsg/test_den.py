"""DEN: its proximal steps, selection, expansion, splitting and timestamps by hand; then whole sequences."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from lsg.certificate import verify
from lsg.checkpoint import Checkpoints
from lsg.events import Event, EventLog
from lsg.initial import initial_weights
from lsg.job import Job
from lsg.methods import METHODS
from lsg.methods.den import Den, DenSettings
from lsg.methods.den_shared import SharedNetwork
from lsg.methods.den_steps import ProximalSteps, Terms, optimizer_of
from lsg.methods.den_units import Subnet
from lsg.methods.method import Lesson
from lsg.networks import NETWORKS
from lsg.networks.architecture import CLASSES, HEAD, IMAGE, Architecture, Layer, Widths
from lsg.networks.lenet import lenet
from lsg.networks.resnet import resnet18
from lsg.networks.vgg import vgg16_bn
from lsg.plain import PlainTraining
from lsg.protocol import Protocol
from lsg.records import RunDirectory
from lsg.sequence import learn_sequence
from lsg.train_settings import TrainSettings
from lsg.training import Trainer
from tests.lsg.tiny import deterministic_files, tiny_architecture, tiny_task, write_tiny_tasks


class TwoLayers(nn.Module):
    """Two pixels, units `a`, units `b`, a head."""

    def __init__(self, widths: Widths, classes: int) -> None:
        super().__init__()
        self.first = nn.Linear(2, widths["a"])
        self.second = nn.Linear(widths["a"], widths["b"])
        self.head = nn.Linear(widths["b"], classes)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(self.second(self.first(images.flatten(1)).relu()).relu())
        return logits


def two_layers(a: int = 4, b: int = 3) -> Architecture:
    return Architecture(
        name="two layers",
        image_shape=(2, 1, 1),
        streams={"a": a, "b": b},
        layers=(Layer("first", IMAGE, "a", 1, 1), Layer("second", "a", "b", 1, 1)),
        head=Layer(HEAD, "b", CLASSES, 1, 1),
        norms={},
        biased=frozenset({"first", "second"}),
        make=TwoLayers,
    )


def grid(*rows: tuple[float, ...]) -> Tensor:
    """Kernels of area 1."""
    return torch.tensor(rows).unsqueeze(2)


def full_subnet(architecture: Architecture, seed: int = 1, classes: int = 2) -> Subnet:
    """A network over all units of a 1x network, with BatchNorm and biases off their defaults."""
    weights = initial_weights(architecture, architecture.streams, classes, seed, 1)
    subnet = SharedNetwork(architecture).start(weights)
    draws = torch.Generator().manual_seed(seed)
    private = {name: torch.rand(v.shape, generator=draws) + 0.1 for name, v in subnet.private.items()}
    return replace(subnet, private=private)


def logits(subnet: Subnet, count: int = 3) -> Tensor:
    images = torch.randn(count, *subnet.architecture.image_shape, generator=torch.Generator().manual_seed(7))
    with torch.no_grad():
        answer: Tensor = subnet.network()(images)
    return answer


def two_tasks() -> tuple[SharedNetwork, Subnet]:
    """A shared network that knows task 1 on 2 + 2 units, and a new task's network over them."""
    shared = SharedNetwork(two_layers(2, 2))
    weights = {
        "first": grid((1.0, 2.0), (3.0, 4.0)),
        "second": grid((5.0, 6.0), (7.0, 8.0)),
        HEAD: grid((1.0, 1.0), (2.0, 2.0)),
    }
    shared.store(1, shared.start(weights))
    return shared, shared.start(shared.weights | {HEAD: grid((3.0, 3.0), (4.0, 4.0))})


# Selection


def test_units_with_a_path_of_non_zero_weights_to_any_class_are_selected() -> None:
    subnet = full_subnet(two_layers())
    weights = {
        "first": subnet.weights["first"],
        "second": grid((0.0, 0.5, 0.0, 0.0), (0.7, 0.0, 0.0, 0.0), (0.0, 0.0, 0.0, -0.2)),
        HEAD: grid((0.3, 0.0, 0.0), (0.0, 0.0, -0.1)),
    }
    subnet = replace(subnet, weights=weights)
    kept = subnet.selected()
    assert kept["b"].tolist() == [True, False, True]
    assert kept["a"].tolist() == [False, True, False, True]
    compact = subnet.only(kept)
    assert compact.widths == {"a": 2, "b": 2}
    assert [compact.units[stream].tolist() for stream in "ab"] == [[1, 3], [0, 2]]
    assert compact.weights["second"].squeeze(2).tolist() == pytest.approx(torch.tensor([[0.5, 0], [0, -0.2]]))
    assert torch.equal(compact.private["first.bias"], subnet.private["first.bias"][[1, 3]])
    torch.testing.assert_close(logits(compact), logits(subnet))


def test_a_stream_that_nothing_reads_keeps_its_first_unit() -> None:
    subnet = full_subnet(two_layers())
    subnet = replace(subnet, weights=subnet.weights | {HEAD: torch.zeros(2, 3, 1)})
    kept = subnet.selected()
    assert kept["b"].tolist() == [True, False, False]
    assert torch.equal(logits(subnet.only(kept)), logits(subnet))


def test_a_channel_of_a_residual_stream_is_read_anywhere_along_it() -> None:
    subnet = full_subnet(tiny_architecture())
    weights = {name: torch.zeros_like(weight) for name, weight in subnet.weights.items()}
    weights["stem"] = subnet.weights["stem"]
    weights[HEAD][1, 4] = 1.0
    weights["fc"][4, 2] = 1.0
    weights["conv2"][2, 1] = 1.0
    weights["conv1"][1, 5] = 1.0
    weights["conv2"][5, 3] = 1.0
    weights["conv1"][6, 7] = 1.0
    subnet = replace(subnet, weights=weights)
    kept = {stream: bits.nonzero().flatten().tolist() for stream, bits in subnet.selected().items()}
    assert kept == {"outer": [2, 5], "inner": [1, 3], "hidden": [4]}


@pytest.mark.parametrize(
    "architecture",
    [tiny_architecture(), lenet((1, 8, 8)), resnet18((3, 8, 8), width=8), vgg16_bn((3, 32, 32), hidden=16)],
    ids=lambda architecture: architecture.name,
)
def test_the_selected_network_computes_what_the_whole_one_does(architecture: Architecture) -> None:
    subnet = full_subnet(architecture)
    draws = torch.Generator().manual_seed(3)
    for layer in (*architecture.layers, architecture.head):
        weight = subnet.weights[layer.name]
        weight *= torch.rand(weight.shape[1], generator=draws).view(1, -1, 1) < 0.6
        weight *= torch.rand(weight.shape[:2], generator=draws).unsqueeze(2) < 4 / weight.shape[1]
    compact = subnet.only(subnet.selected())
    assert sum(compact.widths.values()) < sum(subnet.widths.values())
    torch.testing.assert_close(logits(compact), logits(subnet), rtol=1e-4, atol=1e-5)


# What happens around a step of the optimizer


def test_proximal_l1_at_the_rate() -> None:
    subnet = full_subnet(two_layers(1, 1))
    subnet = replace(
        subnet, weights=subnet.weights | {"first": grid((3e-4, -5e-5)), HEAD: grid((-2e-4,), (1,))}
    )
    network = subnet.network()
    ProximalSteps(subnet, network, Terms(l1=1e-5)).after(rate=1e-2)
    shrunk = subnet.trained(network).weights
    torch.testing.assert_close(shrunk["first"], grid((2e-4, 0.0)), rtol=0, atol=1e-9)
    torch.testing.assert_close(shrunk[HEAD], grid((-1e-4,), (1 - 1e-4,)))


def test_only_the_head_shrinks_where_only_the_head_is_trained() -> None:
    subnet = full_subnet(two_layers())
    network = subnet.network()
    ProximalSteps(subnet, network, Terms(l1=1e-5, head_only=True)).after(rate=1e-2)
    shrunk = subnet.trained(network).weights
    assert torch.equal(shrunk["first"], subnet.weights["first"])
    assert not torch.equal(shrunk[HEAD], subnet.weights[HEAD])


def grown_by_one() -> Subnet:
    """Task 2 with one more unit a stream: a2 reads (0.3, 0.4), b2 reads (0.03, 0.04, 0)."""
    shared, subnet = two_tasks()
    fresh = {
        "first": grid((9.0, 9.0), (9.0, 9.0), (0.3, 0.4)),
        "second": grid((9.0, 9.0, 0.5), (9.0, 9.0, 0.6), (0.03, 0.04, 0.0)),
        HEAD: grid((9.0, 9.0, 0.7), (9.0, 9.0, 0.8)),
    }
    return subnet.expanded(shared.widths, {"a": 1, "b": 1}, fresh)


def test_group_lasso_shortens_new_units_and_empties_the_short_ones() -> None:
    grown = grown_by_one()
    network = grown.network()
    terms = Terms(l1=0.0, group_lasso=1e-3, new={"a": 2, "b": 2})
    ProximalSteps(grown, network, terms).after(rate=0.1)
    after = grown.trained(network).weights
    torch.testing.assert_close(after["first"], grid((1.0, 2.0), (3.0, 4.0), (0.24, 0.32)))
    torch.testing.assert_close(after["second"], grid((5.0, 6.0, 0.5), (7.0, 8.0, 0.6), (0.0, 0.0, 0.0)))
    assert torch.equal(after[HEAD], grid((3.0, 3.0, 0.0), (4.0, 4.0, 0.0)))


def test_a_new_unit_that_became_zero_stays_zero() -> None:
    grown = grown_by_one()
    network = grown.network()
    steps = ProximalSteps(grown, network, Terms(l1=0.0, group_lasso=1e-3, new={"a": 2, "b": 2}))
    for pushed in (0.0, 1.0):
        cross_entropy(network(torch.ones(1, 2, 1, 1)), torch.tensor([0])).backward()
        steps.before()
        steps.grids["second"][2] += pushed
        steps.grids[HEAD][:, 2] += pushed
        steps.after(rate=0.1)
        assert not steps.grids["second"][2].any()
        assert not steps.grids[HEAD][:, 2].any()
    assert steps.grids["first"][2].any()


def test_l2_and_the_pull_to_earlier_weights_are_gradients() -> None:
    shared, subnet = two_tasks()
    moved = replace(subnet, weights=subnet.weights | {"second": subnet.weights["second"] + 2.0})
    network = moved.network()
    held, earlier = shared.shared_kernels(moved), shared.earlier(moved)
    held["second"][1, 0] = False
    assert torch.equal(earlier["second"], grid((5.0, 6.0), (7.0, 8.0)))
    for parameter in network.parameters():
        parameter.grad = torch.zeros_like(parameter)
    ProximalSteps(moved, network, Terms(0.0, 0.01, pull=0.5, held=held, earlier=earlier)).before()
    gradient = {name: network.get_parameter(f"{name}.weight").grad for name in moved.weights}
    assert gradient["first"] is not None
    torch.testing.assert_close(gradient["first"], torch.tensor([[0.01, 0.02], [0.03, 0.04]]))
    torch.testing.assert_close(gradient["second"], torch.tensor([[1.07, 1.08], [0.09, 1.1]]))
    assert not gradient[HEAD].any()


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_frozen_kernels_keep_their_bits_while_new_ones_move(optimizer: str) -> None:
    shared, _ = two_tasks()
    grown = grown_by_one()
    network = grown.network()
    held = shared.shared_kernels(grown)
    terms = Terms(1e-5, 1e-2, 1e-5, held=held, earlier=grown.weights, frozen=True, new={"a": 2, "b": 2})
    steps = ProximalSteps(grown, network, terms)
    chosen = optimizer_of(network, TrainSettings(optimizer))  # type: ignore[arg-type]
    training = PlainTraining(network, chosen, 0, before_step=steps.before, after_step=steps.after)
    for label in (0, 1, 0):
        cross_entropy(network(torch.ones(1, 2, 1, 1)), torch.tensor([label])).backward()
        training.step(0.01, 0.0, torch.rand)
    after = grown.trained(network).weights
    assert torch.equal(after["first"][:2], grown.weights["first"][:2])
    assert torch.equal(after["second"][:2, :2], grown.weights["second"][:2, :2])
    assert not torch.equal(after["first"][2], grown.weights["first"][2])
    assert not torch.equal(after["second"][:2, 2], grown.weights["second"][:2, 2])
    assert not torch.equal(after[HEAD][:, :2], grown.weights[HEAD][:, :2])
    private = grown.trained(network).private
    for name in ("first.bias", "second.bias"):
        assert torch.equal(private[name][:2], grown.private[name][:2])
        assert not torch.equal(private[name][2:], grown.private[name][2:])
    assert not torch.equal(private[f"{HEAD}.bias"], grown.private[f"{HEAD}.bias"])


# Expansion, deletion, splitting, timestamps


def test_expansion_appends_units_and_leaves_the_rest_as_it_was() -> None:
    grown = grown_by_one()
    assert [grown.units[stream].tolist() for stream in "ab"] == [[0, 1, 2], [0, 1, 2]]
    assert torch.equal(grown.weights["first"], grid((1.0, 2.0), (3.0, 4.0), (0.3, 0.4)))
    assert torch.equal(grown.weights[HEAD], grid((3.0, 3.0, 0.7), (4.0, 4.0, 0.8)))
    assert grown.private["first.bias"].tolist() == [0.0, 0.0, 0.0]


def test_new_units_that_read_nothing_are_deleted_without_a_change_of_the_network() -> None:
    shared, subnet = two_tasks()
    wider = {"a": 5, "b": 4}
    fresh = initial_weights(two_layers(2, 2), wider, 2, seed=1, task=2)
    grown = subnet.expanded(shared.widths, {"a": 3, "b": 2}, fresh)
    for new in (0, 2):
        grown.weights["first"][2 + new] = 0.0
        grown.weights["second"][:, 2 + new] = 0.0
    grown.weights["second"][3] = 0.0
    grown.weights[HEAD][:, 3] = 0.0
    small = grown.without_zero_units(shared.widths)
    assert [small.units[stream].tolist() for stream in "ab"] == [[0, 1, 2], [0, 1, 2]]
    assert torch.equal(small.weights["first"][2], grown.weights["first"][3])
    torch.testing.assert_close(logits(small), logits(grown))


def test_an_old_unit_stays_though_its_incoming_weights_are_zero() -> None:
    shared, subnet = two_tasks()
    subnet.weights["first"][1] = 0.0
    assert subnet.without_zero_units(shared.widths).widths == {"a": 2, "b": 2}


def test_drift_is_over_shared_units_and_over_all_layers_that_write_a_stream() -> None:
    shared, _ = two_tasks()
    grown = grown_by_one()
    grown.weights["second"][1, :2] += torch.tensor([[3.0], [4.0]])
    grown.weights["second"][1, 2] += 100.0
    drift = shared.drift(grown)
    assert drift["a"].tolist() == [0.0, 0.0, 0.0]
    torch.testing.assert_close(drift["b"], torch.tensor([0.0, 5.0, 0.0]))
    residual = SharedNetwork(tiny_architecture())
    first = full_subnet(tiny_architecture())
    residual.store(1, first)
    moved = replace(first, weights={name: weight.clone() for name, weight in first.weights.items()})
    moved.weights["stem"][6, 0, 0] += 3.0
    moved.weights["conv2"][6, 0, 0] += 4.0
    torch.testing.assert_close(residual.drift(moved)["outer"][6], torch.tensor(5.0))


def test_split_restores_the_old_copy_and_appends_the_new_one() -> None:
    shared, subnet = two_tasks()
    subnet.weights["first"][0] += 1.0
    subnet.weights["second"] += 0.5
    own = subnet.split(shared.widths, {"a": torch.tensor([0]), "b": torch.tensor([], dtype=torch.long)})
    assert own.units["a"].tolist() == [2, 1]
    assert torch.equal(logits(own), logits(subnet))
    shared.store(2, own)
    assert shared.widths == {"a": 3, "b": 2}
    assert torch.equal(shared.weights["first"], grid((1.0, 2.0), (3.0, 4.0), (2.0, 3.0)))
    # task 2 reads b from its own copy of a0: what it learned there is a new column, task 1's stays
    assert torch.equal(shared.weights["second"], grid((5.0, 6.5, 5.5), (7.0, 8.5, 7.5)))
    assert torch.equal(logits(shared.subnet(2)), logits(own))
    one = shared.subnet(1)
    assert torch.equal(one.weights["first"], grid((1.0, 2.0), (3.0, 4.0)))
    assert torch.equal(one.weights["second"], grid((5.0, 6.5), (7.0, 8.5)))


def test_own_copies_are_not_drawn_to_earlier_weights() -> None:
    shared, subnet = two_tasks()
    own = subnet.split(shared.widths, {"a": torch.tensor([0])})
    held = shared.shared_kernels(own)
    assert held["first"].flatten(1).any(1).tolist() == [False, True]
    assert held["second"].squeeze(2).tolist() == [[False, True], [False, True]]
    assert shared.drift(own)["a"].tolist() == [0.0, 0.0]


def test_splitting_takes_the_largest_drifts_over_the_threshold_as_far_as_there_is_room() -> None:
    settings = DenSettings(expansion=0.5, split_threshold=0.25, cap=1.7)
    method = Den(two_layers(4, 4), settings, "clean", seed=1)
    method.shared.store(1, full_subnet(method.architecture))
    subnet = method.shared.subnet(1)
    subnet.weights["first"][:, 0, 0] += torch.tensor([0.3, 0.5, 0.2, 0.4])
    subnet.weights["second"][2, 0, 0] += 0.2
    drifted = method._drifted(subnet)
    assert method.caps == {"a": 5, "b": 5}
    assert {stream: units.tolist() for stream, units in drifted.items()} == {"a": [1, 3, 0], "b": []}
    assert method._room(subnet, "a") == 1, "of 2 that expansion allows, 1 has room under the cap"
    roomy = Den(two_layers(4, 4), replace(settings, cap=4.0), "clean", seed=1)
    roomy.shared = method.shared
    assert roomy._room(subnet, "a") == 2


def test_an_earlier_task_sees_no_unit_that_came_after_it() -> None:
    shared, _ = two_tasks()
    before = logits(shared.subnet(1))
    shared.store(2, grown_by_one())
    assert shared.widths == {"a": 3, "b": 3}
    assert shared.subnet(1).widths == {"a": 2, "b": 2}
    assert torch.equal(logits(shared.subnet(1)), before)
    changed = shared.subnet(2)
    changed.weights["first"][0, 0] += 1.0
    shared.store(3, changed)
    assert not torch.equal(logits(shared.subnet(1)), before), "shared kernels are the current ones"


def test_a_new_task_starts_from_the_newest_task_that_uses_a_unit() -> None:
    shared, subnet = two_tasks()
    own = subnet.only({"a": torch.tensor([False, True]), "b": torch.tensor([True, True])})
    shared.store(2, replace(own, private=own.private | {"first.bias": torch.tensor([0.25])}))
    start = shared.start(shared.weights | {HEAD: torch.zeros(2, 2, 1)})
    assert start.private["first.bias"].tolist() == [0.0, 0.25]


def test_used_weights_are_those_between_two_units_of_one_task_and_not_zero() -> None:
    shared, _ = two_tasks()
    assert shared.weights_used() == 8
    grown = grown_by_one()
    only = grown.only({"a": torch.tensor([False, False, True]), "b": torch.tensor([False, False, True])})
    shared.store(2, only)
    assert shared.widths == {"a": 3, "b": 3}
    assert shared.weights_used() == 8 + 2, "b2 reads a2 with weight 0, and nothing joins old and new units"


def test_the_state_goes_to_disk_and_back() -> None:
    shared, _ = two_tasks()
    shared.store(2, grown_by_one().split({"a": 2, "b": 2}, {"a": torch.tensor([1])}))
    back = SharedNetwork.of(shared.architecture, shared.tensors())
    assert back.tasks == [1, 2]
    assert back.widths == shared.widths == {"a": 4, "b": 3}
    for task in (1, 2):
        assert torch.equal(logits(back.subnet(task)), logits(shared.subnet(task)))
    back.weights["first"] += 1.0
    assert shared.weights["first"][0, 0, 0] == 1.0


# Sequences


TRAIN = TrainSettings(epochs=4, batch_size=8, lr=0.05)
GOALS = {2: 1.01, 3: 1.01}
"""Goals that no task can reach: every later task expands."""


@pytest.fixture(autouse=True)
def tiny_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(NETWORKS, "tiny", lambda shape: tiny_architecture())
    monkeypatch.setitem(METHODS, "den", Den)
    monkeypatch.setattr("lsg.sequence.certificate.verify_in_fresh_process", verify)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_tasks(tmp_path_factory.mktemp("tasks") / "tiny", 3)


def job(data: Path, network: str = "tiny", protocol: Protocol = "paper", **changes: Any) -> Job:
    settings = {"expansion": 0.2, "cap": 8.0, "l1": 1e-6, "group_lasso": 1e-4, "split_threshold": 1e-3}
    options = {"width": 4} if network == "resnet18" else {}
    fields: dict[str, Any] = {"goals": GOALS, "train": TRAIN, "tasks": (1, 2, 3)} | changes
    chosen = DenSettings(**(settings | fields.pop("settings", {})))
    return Job(
        "tiny", "den", protocol, 1, data=data, network={"name": network} | options, settings=chosen, **fields
    )


def records(directory: Path) -> list[dict[str, Any]]:
    return [RunDirectory(directory).record(task) for task in (1, 2, 3)]


def test_den_learns_expands_splits_and_logs_the_whole_matrix(data: Path, tmp_path: Path) -> None:
    result = learn_sequence(job(data), tmp_path)
    assert {task: sorted(row) for task, row in result["matrix"].items()} == {
        "1": ["1"],
        "2": ["1", "2"],
        "3": ["1", "2", "3"],
    }
    assert result["certificate"] == {"tasks": 3, "verified": False}
    assert all(result["matrix"][task][task] > 0.8 for task in result["matrix"])
    first, *later = records(tmp_path)
    assert first["size"]["allocated"] == 1
    assert [stage["stage"] for stage in first["stages"]] == [1]
    for record in later:
        assert [(stage["stage"], stage["epochs"]) for stage in record["stages"]] == [
            (1, 1),
            (2, 4),
            (3, 4),
            (4, 4),
        ]
        expand, keep, split = record["decisions"]
        assert (expand["question"], expand["answer"], expand["goal"]) == ("expand", True, 1.01)
        assert expand["value"] == record["stages"][1]["accuracy"]["test"]
        assert (keep["question"], keep["answer"], split["question"]) == ("keep_stage_3", True, "split")
        assert (expand["split"], keep["split"], split["split"]) == ("test", "test", "weights")
        assert (split["value"], split["goal"]) == (None, None)
        before, after = record["growth"]["channels_before"], record["growth"]["channels_after"]
        for stream in before:
            assert 0 <= after[stream] - before[stream] <= 2 * -(-tiny_architecture().streams[stream] // 5)
            assert record["growth"]["split"][stream] <= after[stream] - before[stream]
        opened = record["stages"][2]["gates_opened"]
        splits = sum(record["growth"]["split"].values())
        assert sum(after.values()) - sum(before.values()) == opened + splits > 0
    sizes = [record["size"] for record in (first, *later)]
    assert all(later["allocated"] >= earlier["allocated"] for earlier, later in pairwise(sizes))
    assert all(size["used"] <= size["allocated"] for size in sizes)


def test_the_last_file_holds_the_whole_state(data: Path, tmp_path: Path) -> None:
    result = learn_sequence(job(data), tmp_path)
    assert verify(tmp_path).tasks == (3,)
    content = (tmp_path / "task_03.safetensors").read_bytes()
    stored = (len(content) - 8 - int.from_bytes(content[:8], "little")) / 4
    dense = tiny_architecture().weights(tiny_architecture().streams)
    assert records(tmp_path)[2]["size"]["stored"] == pytest.approx(stored / dense)
    assert result["tasks"] == [1, 2, 3]


def test_growth_stops_at_the_cap(data: Path, tmp_path: Path) -> None:
    learn_sequence(job(data, settings={"cap": 1.3}), tmp_path / "low")
    caps = Den(tiny_architecture(), DenSettings(cap=1.3), "paper", 1).caps
    for record in records(tmp_path / "low"):
        assert all(width <= caps[stream] for stream, width in record["growth"]["channels_after"].items())
    learn_sequence(job(data, settings={"cap": 1.0}), tmp_path / "none")
    for record in records(tmp_path / "none")[1:]:
        assert record["reason"] == "at_cap"
        told = record["decisions"][0]
        assert (told["question"], told["answer"], told["reason"]) == ("expand", False, "at_cap")
        assert [stage["stage"] for stage in record["stages"]] == [1, 2]
        assert record["size"]["allocated"] == 1
        split = record["decisions"][-1]
        assert (split["question"], split["answer"], split["reason"]) == ("split", False, "at_cap")


def test_selection_trains_the_head_alone_and_then_keeps_what_it_reads(tmp_path: Path) -> None:
    method = Den(tiny_architecture(), DenSettings(l1=5e-4, selection=0.5), "paper", seed=1)
    first = full_subnet(tiny_architecture())
    method.shared.store(1, first)
    log, checkpoints = EventLog(tmp_path / "events.jsonl"), Checkpoints(tmp_path, 1e9)
    trainer = Trainer(TRAIN, 1, log, checkpoints)
    lesson = Lesson("")
    selected = method._select(tiny_task(2), trainer, lesson)
    assert [stage.epochs for stage in trainer.logs] == [2]
    task, architecture = tiny_task(2), tiny_architecture()
    head = architecture.macs(first.widths, len(task.classes)) - architecture.macs(first.widths, 0)
    body = architecture.macs(first.widths, 0)
    images = 2 * len(task.train)
    # forward through all of it, backward through the head alone; a third of the body's MACs is rounded down
    assert trainer.logs[0].macs == images * (3 * head + body - body % 3)
    assert 0 < selected.widths["hidden"] < 16, "L1 leaves some of the head's columns"
    hidden, outer = selected.units["hidden"], selected.units["outer"]
    assert selected.weights[HEAD].any()
    assert (selected.weights[HEAD] != 0).any(0).all()
    assert torch.equal(selected.weights["fc"], first.weights["fc"][hidden][:, outer])
    assert torch.equal(selected.private["fc.bias"], first.private["fc.bias"][hidden])
    assert torch.equal(selected.private["norm.weight"], first.private["norm.weight"][outer])
    assert lesson.growth["selected"] == selected.widths


def test_a_met_goal_and_no_drift_end_after_retraining(data: Path, tmp_path: Path) -> None:
    calm = {"split_threshold": 1e9}
    learn_sequence(job(data, goals={2: 0.0, 3: 0.0}, settings=calm), tmp_path)
    for record in records(tmp_path)[1:]:
        assert record["reason"] == "target_met"
        assert [decision["answer"] for decision in record["decisions"]] == [False, False]
        assert record["growth"]["channels_before"] == record["growth"]["channels_after"]


def test_new_units_that_group_lasso_empties_are_not_kept(data: Path, tmp_path: Path) -> None:
    learn_sequence(job(data, settings={"group_lasso": 1.0, "split_threshold": 1e9}), tmp_path)
    for record in records(tmp_path)[1:]:
        assert record["reason"] == "grew_zero"
        assert record["stages"][2]["gates_opened"] == 0
        assert record["growth"]["channels_before"] == record["growth"]["channels_after"]


@pytest.mark.parametrize(
    ("protocol", "told", "answers"),
    [
        ("clean", (0.4, 0.5, 0.6), [True, True]),
        ("clean", (0.4, 0.5, 0.5), [True, False]),
        ("paper", (0.4, 0.5, 0.5), [True, True]),
        ("clean", (0.4, 0.9), [False]),
    ],
)
def test_an_expansion_comes_below_the_goal_and_is_kept_in_clean_if_it_is_better(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    protocol: Protocol,
    told: tuple[float, ...],
    answers: list[bool],
) -> None:
    """Accuracies after selection, retraining and, below the goal of 0.9, expansion; nothing is split."""
    method = Den(tiny_architecture(), DenSettings(expansion=0.2, cap=8.0, split_threshold=1e9), protocol, 1)
    run = Trainer(TRAIN, 1, EventLog(tmp_path / "events.jsonl"), Checkpoints(tmp_path, 1e9))
    run.begin_task(1, None)
    method.learn(tiny_task(1), None, run)
    run.begin_task(2, None)
    before, accuracies = dict(method.shared.widths), iter(told)
    monkeypatch.setattr(Den, "judge", lambda *_: next(accuracies))
    lesson = method.learn(tiny_task(2), 0.9, run)
    *asked, split = lesson.decisions
    assert [decision["answer"] for decision in asked] == answers
    assert [decision["value"] for decision in asked] == list(told[1:])
    assert not split["answer"]
    kept = "target_met" if answers == [False] else "kept_stage_2"
    assert lesson.reason in (("grew", "grew_zero") if answers[-1] else (kept,))
    assert (method.shared.widths != before) == (lesson.reason == "grew")


def test_clean_drops_an_expansion_that_is_no_better(data: Path, tmp_path: Path) -> None:
    learn_sequence(job(data, protocol="clean", settings={"split_threshold": 1e9}), tmp_path)
    for record in records(tmp_path)[1:]:
        expand, keep, _ = record["decisions"]
        assert expand["split"] == keep["split"] == "validation"
        retrained, expanded = (stage["accuracy"]["validation"] for stage in record["stages"][1:3])
        assert keep["answer"] == (expanded > retrained)
        grew = record["growth"]["channels_before"] != record["growth"]["channels_after"]
        assert record["reason"] in (("grew", "grew_zero") if keep["answer"] else ("kept_stage_2",))
        assert grew == (record["reason"] == "grew")


@pytest.mark.parametrize(("network", "protocol"), [("lenet", "clean"), ("resnet18", "paper")])
def test_the_real_networks_learn_too(data: Path, tmp_path: Path, network: str, protocol: Protocol) -> None:
    changes = {"train": replace(TRAIN, epochs=2), "tasks": (1, 2)}
    result = learn_sequence(job(data, network, protocol, **changes), tmp_path)
    assert result["matrix"]["2"].keys() == {"1", "2"}


class StopError(Exception):
    """What kills the run under test."""


def test_stopped_in_any_stage_and_resumed_equals_an_undisturbed_run(data: Path, tmp_path: Path) -> None:
    learn_sequence(job(data), tmp_path / "whole")
    for task, stage, epoch in ((1, 1, 3), (2, 1, 1), (2, 2, 2), (2, 3, 3), (2, 4, 2), (3, 3, 1)):

        def stop(event: Event, at: tuple[int, int, int] = (task, stage, epoch)) -> None:
            if (event["task"], event.get("stage"), event.get("epoch")) == at:
                raise StopError

        with pytest.raises(StopError):
            learn_sequence(job(data), tmp_path / "stopped", stop, checkpoint_seconds=0)
    learn_sequence(job(data), tmp_path / "stopped", checkpoint_seconds=0)
    assert deterministic_files(tmp_path / "stopped") == deterministic_files(tmp_path / "whole")


@pytest.mark.parametrize(
    ("name", "value"),
    [("l1", -1.0), ("expansion", 0.0), ("expansion", 1.5), ("selection", 0.0), ("cap", 0.9), ("drift", -0.1)],
)
def test_settings_out_of_range_are_named(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=name):
        DenSettings(**{name: value})
