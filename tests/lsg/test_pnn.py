"""PNN: a column's sums by hand, the size that it is given, and columns that never move again."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from lsg.bank import ForgettingError
from lsg.certificate import verify
from lsg.checkpoint import Checkpoints
from lsg.events import EventLog
from lsg.job import Job
from lsg.methods import METHODS
from lsg.methods.pnn import Pnn, PnnSettings, column_optimizer, initialise, thin_ratio
from lsg.methods.pnn_columns import (
    Adapter,
    Columns,
    adapter_weights,
    column_weights,
    forward_macs,
    lateral_layers,
)
from lsg.networks import NETWORKS
from lsg.networks.architecture import CLASSES, HEAD, IMAGE, Architecture, Layer, Widths
from lsg.plain import PlainTraining
from lsg.records import RunDirectory
from lsg.sequence import learn_sequence
from lsg.train_settings import TrainSettings
from lsg.training import Stage, Trainer
from lsg.widths import widths_at
from tests.lsg.tiny import tiny_architecture, tiny_task, write_tiny_tasks

TRAIN = TrainSettings(epochs=4, batch_size=8, lr=0.05)
SETTINGS = PnnSettings(final_size=2.5, tasks=3)


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(METHODS, "pnn", Pnn)
    monkeypatch.setitem(NETWORKS, "tiny", lambda shape: tiny_architecture())
    monkeypatch.setattr("lsg.sequence.certificate.verify_in_fresh_process", verify)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_tasks(tmp_path_factory.mktemp("tasks") / "tiny", 3)


def job(data: Path) -> Job:
    return Job("tiny", "pnn", "clean", 1, (1, 2, 3), data, {"name": "tiny"}, TRAIN, SETTINGS)


class TwoLayers(nn.Module):
    """conv 1x1 -> ReLU -> flatten -> fc -> ReLU -> head, on images of one row of two pixels."""

    def __init__(self, widths: Widths, classes: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, widths["conv"], 1)
        self.fc = nn.Linear(widths["conv"] * 2, widths["fc"])
        self.head = nn.Linear(widths["fc"], classes)

    def forward(self, images: Tensor) -> Tensor:
        x = torch.relu(self.conv(images)).flatten(1)
        logits: Tensor = self.head(torch.relu(self.fc(x)))
        return logits


def two_layers() -> Architecture:
    return Architecture(
        name="two",
        image_shape=(1, 1, 2),
        streams={"conv": 2, "fc": 1},
        layers=(Layer("conv", IMAGE, "conv", 1, 2), Layer("fc", "conv", "fc", 2, 1)),
        head=Layer(HEAD, "fc", CLASSES, 1, 1),
        norms={},
        biased=frozenset({"conv", "fc"}),
        make=TwoLayers,
    )


def filled(network: nn.Module, values: dict[str, Any]) -> None:
    """Set the named parameters from nested lists."""
    named = dict(network.named_parameters())
    with torch.no_grad():
        for name, value in values.items():
            named[name].copy_(torch.tensor(value).view_as(named[name]))


def test_a_columns_logits_are_the_sums_of_the_equation() -> None:
    """Column 1 of 2 channels, column 2 of 1; the flattened layer is joined through the channels."""
    columns = Columns(two_layers(), [{"conv": 2, "fc": 1}, {"conv": 1, "fc": 1}], [2, 2]).double().eval()
    filled(
        columns,
        {
            "columns.0.network.conv.weight": [1.0, -1.0],
            "columns.0.network.conv.bias": [0.5, 4.0],
            "columns.1.network.conv.weight": [2.0],
            "columns.1.network.conv.bias": [1.0],
            "columns.1.network.fc.weight": [[0.5, 0.25]],
            "columns.1.network.fc.bias": [1.0],
            "columns.1.network.head.weight": [[1.0], [-2.0]],
            "columns.1.network.head.bias": [0.0, 1.0],
            "columns.1.adapters.fc.scales": [3.0],
            "columns.1.adapters.fc.reduce.weight": [[1.0, 2.0]],
            "columns.1.adapters.fc.reduce.bias": [-20.0],
            "columns.1.adapters.fc.spread.weight": [[0.125, 10.0]],
        },
    )
    image = torch.tensor([[[[1.0, 3.0]]]], dtype=torch.float64)
    # h^1 = relu(conv): channel 0: 1.5, 3.5; channel 1: 3, 1.
    # V [a h] + b: pixel 0: 3 (1.5 + 2 * 3) - 20 = 2.5; pixel 1: 3 (3.5 + 2 * 1) - 20 = -3.5, so relu 0.
    # h^2 = 3, 7; fc: 0.5 * 3 + 0.25 * 7 + 1 = 4.25; the adapter adds 0.125 * 2.5 = 0.3125: 4.5625.
    torch.testing.assert_close(
        columns(image), torch.tensor([[4.5625, -8.125]], dtype=torch.float64), rtol=0, atol=1e-12
    )


def joined(column: nn.Module, name: str, earlier: list[Tensor], output: Tensor) -> Tensor:
    """A tiny network's layer output and what its adapter adds, written out."""
    adapter = column.adapters[name]
    flat = name == "fc"
    maps = [h.view(len(h), -1, 2, 2) if flat else h for h in earlier]
    scaled = torch.cat([scale * h for scale, h in zip(adapter.scales, maps, strict=True)], 1)
    mixed = torch.einsum("oc,nchw->nohw", adapter.reduce.weight[:, :, 0, 0], scaled)
    reduced = torch.relu(mixed + adapter.reduce.bias.view(1, -1, 1, 1))
    weight = adapter.spread.weight
    return output + (F.linear(reduced.flatten(1), weight) if flat else F.conv2d(reduced, weight, padding=1))


def explicit(columns: Columns, images: Tensor) -> Tensor:
    """The tiny network's columns in turn, every layer but the stem joined to the columns before."""
    seen: dict[str, list[Tensor]] = {"conv1": [], "conv2": [], "fc": []}
    for place, column in enumerate(columns.columns):
        net = column.network

        def layer(name: str, x: Tensor, column: nn.Module = column, first: bool = place == 0) -> Tensor:
            output = column.network.get_submodule(name)(x)
            output = output if first else joined(column, name, seen[name], output)
            seen[name].append(x)
            return output

        x = torch.relu(net.norm(net.stem(images)))
        inner = torch.relu(layer("conv1", x))
        x = torch.relu(net.norm2(layer("conv2", inner)) + x)
        logits: Tensor = net.head(torch.relu(layer("fc", net.pool(x).flatten(1))))
    return logits


def three_columns() -> Columns:
    torch.manual_seed(0)
    architecture = tiny_architecture()
    thin = {"outer": 3, "inner": 2, "hidden": 5}
    columns = Columns(architecture, [architecture.streams, thin, thin], [2, 2, 3]).double()
    for place, column in enumerate(columns.columns):
        for adapter in column.adapters.values():
            adapter.initialise(1.0, torch.Generator().manual_seed(place))
    return columns.eval()


def test_three_columns_with_a_residual_stream_equal_the_explicit_sums() -> None:
    columns = three_columns()
    images = torch.randn(5, 2, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(columns(images), explicit(columns, images), rtol=0, atol=1e-12)
    assert columns(images).shape == (5, 3)
    assert not columns.last.network.conv1._forward_hooks


def test_an_adapter_of_one_layer_by_hand() -> None:
    adapter = Adapter(nn.Conv2d(1, 1, 3, padding=1), own=1, earlier=[1, 2]).double()
    filled(
        adapter,
        {
            "scales": [2.0, -1.0],
            "reduce.weight": [1.0, 1.0, 3.0],
            "reduce.bias": [0.5],
            "spread.weight": [[0, 0, 0], [0, 2.0, 0], [0, 1.0, 0]],
        },
    )
    one, two = torch.full((1, 1, 2, 1), 1.0).double(), torch.zeros(1, 2, 2, 1).double()
    two[0, 0, 1, 0], two[0, 1, 0, 0] = 4.0, 0.5
    # V: top 2 * 1 - (0 + 3 * 0.5) + 0.5 = 1, bottom 2 * 1 - 4 + 0.5 = -1.5 -> 0; U: 2 * top + below; 2 * 0.
    assert adapter([one, two]).flatten().tolist() == [2.0, 0.0]
    assert adapter.spread.bias is None


def test_weights_of_columns_and_adapters_by_hand() -> None:
    architecture = tiny_architecture()
    full, thin = architecture.streams, {"outer": 3, "inner": 2, "hidden": 5}
    first = 2 * 8 * 9 + 8 * 8 * 9 * 2 + 8 * 16 * 4
    own = 2 * 3 * 9 + 3 * 2 * 9 * 2 + 3 * 5 * 4
    spread = 3 * 2 * 9 * 2 + 3 * 5 * 4
    reduce = 8 * 3 + 8 * 2 + 8 * 3
    assert adapter_weights(architecture, thin, [full]) == spread + reduce
    further = 3 * 3 + 2 * 2 + 3 * 3
    assert adapter_weights(architecture, thin, [full, thin]) == spread + reduce + further
    assert column_weights(architecture, [full]) == first
    assert column_weights(architecture, [full, thin, thin]) == first + 2 * (own + spread + reduce) + further
    counted = sum(
        parameter.numel()
        for name, parameter in three_columns().named_parameters()
        if parameter.dim() > 1 and "head" not in name
    )
    assert counted == column_weights(architecture, [full, thin, thin])


@pytest.mark.parametrize(
    ("name", "shape", "options", "tasks"),
    [
        ("lenet", (3, 32, 32), {}, 10),
        ("vgg16-bn", (3, 32, 32), {}, 20),
        ("resnet18", (3, 84, 84), {}, 20),
    ],
)
def test_the_last_task_ends_at_the_final_size(
    name: str, shape: tuple[int, int, int], options: dict[str, int], tasks: int
) -> None:
    architecture = NETWORKS[name](shape, **options)
    ratio = thin_ratio(architecture, 1.7, tasks)
    widths = [architecture.streams] + [widths_at(architecture, ratio)] * (tasks - 1)
    sizes = [
        column_weights(architecture, widths[:n]) / column_weights(architecture, widths[:1])
        for n in (1, tasks)
    ]
    assert sizes == [1.0, pytest.approx(1.7, abs=0.01)]


def test_the_largest_final_size_has_columns_as_wide_as_the_first_and_a_larger_one_is_refused() -> None:
    architecture = tiny_architecture()
    one, three = (column_weights(architecture, [architecture.streams] * columns) for columns in (1, 3))
    most = math.floor(100 * three / one) / 100
    assert Pnn(architecture, PnnSettings(most, 3), "clean", 1).thin == architecture.streams
    with pytest.raises(ValueError, match=rf"final_size is .*; allowed: 1 to {most:g}, where all 3 columns"):
        Pnn(architecture, PnnSettings(most + 0.01, 3), "clean", 1)


@pytest.mark.parametrize(
    ("name", "shape", "options"),
    [
        ("lenet", (3, 32, 32), {}),
        ("vgg16-bn", (3, 64, 32), {"hidden": 16}),
        ("vgg16-bn", (3, 32, 32), {"hidden": 0}),
        ("resnet18", (3, 84, 84), {"width": 8}),
    ],
)
def test_every_network_of_the_paper_gets_an_adapter_for_each_inner_layer(
    name: str, shape: tuple[int, int, int], options: dict[str, int]
) -> None:
    architecture = NETWORKS[name](shape, **options)
    thin = widths_at(architecture, 0.2)
    columns = Columns(architecture, [architecture.streams, thin], [5, 4])
    adapters = columns.get_submodule("columns.1.adapters")
    assert len(list(adapters.children())) == len(lateral_layers(architecture)) == len(architecture.layers) - 1
    images = torch.randn(2, *shape, generator=torch.Generator().manual_seed(0))
    columns.eval()(images).sum().backward()
    moved = {name for name, parameter in columns.named_parameters() if parameter.grad is not None}
    assert moved == {name for name, _ in columns.named_parameters() if name.startswith("columns.1.")}
    alone = Columns(architecture, [architecture.streams], [5])
    assert forward_macs(alone, shape) == architecture.macs(architecture.streams, 5)
    plain = architecture.make(architecture.streams, 5).eval()
    plain.load_state_dict(alone.columns[0].network.state_dict())
    assert torch.equal(alone.eval()(images), plain(images))


def test_training_mode_leaves_frozen_columns_in_evaluation() -> None:
    columns = three_columns().train()
    before = {name: tensor.clone() for name, tensor in columns.state_dict().items()}
    assert columns.last.network.norm.training
    assert not columns.columns[0].network.norm.training
    columns(torch.randn(4, 2, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1)))
    moved = {name for name, tensor in columns.state_dict().items() if not torch.equal(tensor, before[name])}
    assert moved
    assert all(name.startswith("columns.2.network.norm") for name in moved)


def test_weight_decay_is_on_the_weights_of_column_and_adapters_only() -> None:
    optimizer = column_optimizer(three_columns().last, TrainSettings(weight_decay=0.5))
    decayed, free = optimizer.param_groups
    assert (decayed["weight_decay"], free["weight_decay"], decayed["nesterov"]) == (0.5, 0.0, True)
    assert len(decayed["params"]) == 4 + 2 * 3
    assert len(decayed["params"]) + len(free["params"]) == len(list(three_columns().last.parameters()))
    assert all(parameter.dim() > 1 for parameter in decayed["params"])


def test_a_column_starts_with_the_scale_of_its_own_fan_in() -> None:
    lenet = NETWORKS["lenet"]((3, 32, 32))
    thin = {"conv1": 4, "conv2": 10, "fc1": 200, "fc2": 100}
    column = Columns(lenet, [lenet.streams, thin], [10, 10]).last
    initialise(column, replace(lenet, streams=thin), 1.0, seed=1, task=2)
    state = column.state_dict()
    deviations = {
        "network.fc1.weight": (2 / (10 * 64)) ** 0.5,
        "network.head.weight": 0.01,
        "adapters.fc1.spread.weight": (2 / (10 * 64)) ** 0.5,
        "adapters.fc2.reduce.weight": (2 / 800) ** 0.5,
    }
    for name, deviation in deviations.items():
        assert float(state[name].std()) == pytest.approx(deviation, rel=0.1)
    zero = {name for name, tensor in state.items() if not tensor.any()}
    assert zero == {name for name in state if name.endswith("bias")}


def test_a_new_column_is_drawn_alike_again(tmp_path: Path) -> None:
    method = Pnn(tiny_architecture(), SETTINGS, "clean", 1)
    trainer = Trainer(TRAIN, 1, EventLog(tmp_path / "events.jsonl"), Checkpoints(tmp_path, 1e9))
    method.learn(tiny_task(1), None, trainer)
    one, two = (method._with_new_column(tiny_task(2)).state_dict() for _ in range(2))
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert all(torch.equal(one[f"columns.0.{name}"], tensor) for name, tensor in method.states[1].items())
    assert one["columns.1.adapters.fc.scales"].any()


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
def test_no_optimizer_moves_a_frozen_column(tmp_path: Path, optimizer: str) -> None:
    train = TrainSettings(optimizer, weight_decay=0.1, epochs=2, batch_size=8, lr=0.05)  # type: ignore[arg-type]
    trainer = Trainer(train, 1, EventLog(tmp_path / "events.jsonl"), Checkpoints(tmp_path, 1e9))
    method = Pnn(tiny_architecture(), SETTINGS, "clean", 1)
    method.learn(tiny_task(1), None, trainer)
    network = method._with_new_column(tiny_task(2))
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    trainer.begin_task(2, 1)
    trainer.run(Stage(1), PlainTraining(network, column_optimizer(network.last, train), 1), tiny_task(2))
    after = network.state_dict()
    still = {name for name in before if torch.equal(before[name], after[name])}
    assert still == {name for name in before if name.startswith("columns.0.")}


def test_three_tasks_are_certified_and_each_file_holds_its_own_column(data: Path, tmp_path: Path) -> None:
    result = learn_sequence(job(data), tmp_path)
    assert result["forgetting"] == 0
    assert result["certificate"] == {"tasks": 3, "verified": True}
    assert verify(tmp_path).probes_bit_equal
    run, architecture = RunDirectory(tmp_path), tiny_architecture()
    method = Pnn(architecture, SETTINGS, "clean", 1)
    for task in (1, 2, 3):
        names = set(load_file(tmp_path / f"task_{task:02d}.safetensors"))
        assert not any(name.startswith("columns.") for name in names)
        assert {name.split(".")[0] for name in names} == {"network", "probe"} | (
            {"adapters"} if task > 1 else set()
        )
        size = column_weights(architecture, method.widths(task)) / column_weights(
            architecture, method.widths(1)
        )
        assert (
            run.record(task)["size"]["allocated"] == run.record(task)["size"]["used"] == pytest.approx(size)
        )
    layers = run.record(3)["layers"]
    for name, digest in run.record(1)["layers"].items():
        assert layers[name] == digest
    assert run.record(3)["cost"]["macs"] < 3 * run.record(1)["cost"]["macs"]


def test_the_certificate_fires_when_an_earlier_column_moves(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    learn = Pnn.learn

    def moving(method: Pnn, *arguments: Any) -> Any:
        lesson = learn(method, *arguments)
        method.states[1]["network.norm.running_mean"] += 1e-3
        return lesson

    monkeypatch.setattr(Pnn, "learn", moving)
    with pytest.raises(
        ForgettingError, match=r"task 1 was changed .*columns\.0\.network\.norm\.running_mean"
    ):
        learn_sequence(job(data), tmp_path)


class Killed(Exception):
    """Stands for a kill in the middle of a stage."""


def test_a_run_killed_in_a_later_column_resumes_to_the_same_bytes(data: Path, tmp_path: Path) -> None:
    def report(event: dict[str, object]) -> None:
        if (event["event"], event["task"], event.get("epoch")) == ("epoch", 2, 3):
            raise Killed

    learn_sequence(job(data), tmp_path / "whole")
    with pytest.raises(Killed):
        learn_sequence(job(data), tmp_path / "killed", report, checkpoint_seconds=0)
    assert (tmp_path / "killed" / "checkpoint_02_1.safetensors").exists()
    learn_sequence(job(data), tmp_path / "killed", checkpoint_seconds=0)
    files = {
        name: {
            p.name: p.read_bytes() for p in sorted((tmp_path / name).iterdir()) if p.name != "seconds.json"
        }
        for name in ("whole", "killed")
    }
    assert files["killed"] == files["whole"]


@pytest.mark.parametrize("field", [{"final_size": 0.9}, {"tasks": 1}, {"scale_init": 0.0}])
def test_settings_out_of_range_are_named(field: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(field))):
        PnnSettings(**field)  # type: ignore[arg-type]
