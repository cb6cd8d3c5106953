"""Growth computes only what exists, and that equals the masked network of full size."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis.strategies import SearchStrategy, fixed_dictionaries, floats, integers, sampled_from, sets

from lsg.growth import Growth, Room
from lsg.initial import initial_weights
from lsg.masks import GateSchedule
from lsg.networks import NETWORKS, Architecture
from lsg.optimizers import SGD, Adam
from lsg.seeds import Uniform
from lsg.settling import settled
from lsg.update import Masking, Update
from lsg.widths import cap_widths, widths_at
from lsg.workspace import Workspace
from tests.lsg.tiny import tiny_architecture

CLASSES = 3


def test_seed_rounds_half_up_and_is_never_empty() -> None:
    lenet = NETWORKS["lenet"]((3, 32, 32))
    assert widths_at(lenet, 1 / 8) == {"conv1": 3, "conv2": 6, "fc1": 100, "fc2": 63}
    assert widths_at(lenet, 0.001) == {"conv1": 1, "conv2": 1, "fc1": 1, "fc2": 1}
    vgg = NETWORKS["vgg16-bn"]((3, 32, 32))
    assert vgg.weights(widths_at(vgg, 1 / 8)) == 524_952


def seed_workspace(architecture: Architecture, widths: dict[str, int]) -> Workspace:
    weights = initial_weights(architecture, widths, CLASSES, 1, 1, torch.float64)
    workspace = Workspace(architecture, widths, CLASSES, (SGD(0.9), Adam()), weights, {})
    workspace.masked[:] = True
    workspace.table.kernel_grid(workspace.masked, "head")[:] = False
    return workspace


def growth(caps: dict[str, int], chunk: float = 0.25, architecture: Architecture | None = None) -> Growth:
    architecture = architecture or tiny_architecture()
    names = [layer.name for layer in architecture.layers]
    room = Room(architecture, caps, math.inf)
    return Growth(seed=1, task=1, chunk=chunk, room=room, gate_init=0.01, last_epoch=9, masked=names)


def test_chunks_open_for_full_streams_only_up_to_the_cap() -> None:
    workspace = seed_workspace(tiny_architecture(), {"outer": 2, "inner": 2, "hidden": 4})
    growing = growth({"outer": 5, "inner": 8, "hidden": 6})
    workspace = growing.begin(workspace)
    assert workspace.widths == {"outer": 4, "inner": 4, "hidden": 6}
    assert growing.before_epoch(workspace, 1) is workspace
    inner = workspace.table.channels_of["inner"]
    workspace.gate_logit.value[inner][2] = -0.01
    wider = growing.before_epoch(workspace, 2)
    assert wider.widths == {"outer": 5, "inner": 4, "hidden": 6}
    wider.gate_logit.value[wider.table.channels_of["outer"]][4] = -0.01
    assert growing.before_epoch(wider, 3) is wider


def test_a_chunk_is_full_where_over_80_percent_of_it_are_on() -> None:
    growing = growth({"outer": 12, "inner": 2, "hidden": 4}, chunk=0.625)
    workspace = growing.begin(seed_workspace(tiny_architecture(), {"outer": 2, "inner": 2, "hidden": 4}))
    assert workspace.widths == {"outer": 7, "inner": 2, "hidden": 4}
    gates = workspace.gate_logit.value[workspace.table.channels_of["outer"]]
    gates[6] = -0.01
    assert growing.before_epoch(workspace, 2) is workspace, "4 of the chunk's 5 are on"
    gates[6] = 0.01
    assert growing.before_epoch(workspace, 2).widths == {"outer": 12, "inner": 2, "hidden": 4}


def test_full_chunks_open_another_until_the_last_epoch_that_can_judge_one() -> None:
    growing = growth({"outer": 8, "inner": 8, "hidden": 16})
    workspace = growing.begin(seed_workspace(tiny_architecture(), {"outer": 2, "inner": 2, "hidden": 4}))
    assert workspace.widths == {"outer": 4, "inner": 4, "hidden": 8}
    assert growing.before_epoch(workspace, 10) is workspace
    assert growing.before_epoch(workspace, 9).widths == {"outer": 6, "inner": 6, "hidden": 12}


def test_a_chunk_is_as_large_as_the_weights_allow() -> None:
    """Weights are 18 o + 18 o i + 4 o h; a chunk is of 4, 4 and 8, eight sixteenths of it 2, 2 and 4."""
    architecture = tiny_architecture()
    widths, widest = {"outer": 2, "inner": 2, "hidden": 4}, {"outer": 8, "inner": 8, "hidden": 16}
    assert architecture.weights(widths) == 36 + 72 + 32
    half = {"outer": 4, "inner": 4, "hidden": 8}
    assert architecture.weights(half) == 72 + 288 + 128

    def opened(weights: float, streams: Collection[str] = widths) -> dict[str, int]:
        return Room(architecture, widest, weights).opened(widths, streams, 0.5)

    assert opened(488) == half
    assert opened(487) == half | {"hidden": 7}
    assert opened(math.inf) == {"outer": 6, "inner": 6, "hidden": 12}
    assert opened(140) == widths
    # A sixteenth of all is one of hidden, 148; then one of inner, 184, two of hidden; one of outer is 222.
    assert opened(200) == {"outer": 2, "inner": 3, "hidden": 7}
    assert opened(140 + 4 * 2 * 3, ["hidden"]) == widths | {"hidden": 7}


STREAMS = ("outer", "inner", "hidden")


def some_widths(most: int) -> SearchStrategy[dict[str, int]]:
    return fixed_dictionaries({stream: integers(1, most) for stream in STREAMS})


@given(some_widths(8), some_widths(20), integers(0, 5000), floats(0.01, 1.0), sets(sampled_from(STREAMS)))
def test_what_is_opened_stays_within_the_room_and_takes_what_it_can(
    widths: dict[str, int], widest: dict[str, int], weights: int, chunk: float, streams: set[str]
) -> None:
    architecture = tiny_architecture()
    wider = Room(architecture, widest, weights).opened(widths, streams, chunk)
    everything = Room(architecture, widest, math.inf).opened(widths, streams, chunk)
    for stream in STREAMS:
        asked = max(1, math.floor(architecture.streams[stream] * chunk + 0.5)) if stream in streams else 0
        assert widths[stream] <= wider[stream] <= everything[stream]
        assert everything[stream] == max(widths[stream], min(widths[stream] + asked, widest[stream]))
    assert wider == widths or architecture.weights(wider) <= weights
    if architecture.weights(everything) <= weights:
        assert wider == everything
    for stream in streams:  # none could take a further sixteenth of its chunk
        size = max(1, math.floor(architecture.streams[stream] * chunk + 0.5))
        parts = {
            min(widths[stream] + math.floor(size * part / 16 + 0.5), widest[stream]) for part in range(17)
        }
        more = min((count for count in parts if count > wider[stream]), default=None)
        assert more is None or architecture.weights(wider | {stream: more}) > weights


def test_growing_moves_nothing_that_was_there() -> None:
    workspace = seed_workspace(tiny_architecture(), {"outer": 2, "inner": 2, "hidden": 4})
    draw = torch.Generator().manual_seed(5)
    for tensor in workspace.tensors().values():
        if tensor.is_floating_point():
            tensor.copy_(torch.rand(tensor.shape, generator=draw, dtype=torch.float64) + 0.1)
    wider = growth({"outer": 5, "inner": 8, "hidden": 6}).begin(workspace)
    for layer in workspace.table.layers:
        outputs, inputs, _ = workspace.table.shapes[layer.name]
        for name in ("weight.value", "weight.velocity"):
            old = workspace.table.grid(workspace.tensors()[name], layer.name)
            assert torch.equal(wider.table.grid(wider.tensors()[name], layer.name)[:outputs, :inputs], old)
        for name in ("logit.value", "logit.square"):
            old = workspace.table.kernel_grid(workspace.tensors()[name], layer.name)
            assert torch.equal(
                wider.table.kernel_grid(wider.tensors()[name], layer.name)[:outputs, :inputs], old
            )
    for name, vector in workspace.private_vectors().items():
        assert torch.equal(wider.private_vectors()[name][: len(vector)], vector)


def full_draws(full: Workspace, seed: int, pinned: torch.Tensor) -> Callable[[Workspace], Uniform]:
    """Draws for the full network, and the same draws, by coordinates, for a narrower one.

    Channels in `pinned` draw 1, over any probability: they are off in every epoch.
    """
    generator = torch.Generator().manual_seed(seed)

    def for_workspace(own: Workspace, kernels: torch.Tensor, channels: torch.Tensor) -> Uniform:
        narrow_kernels = torch.cat(
            [
                full.table.kernel_grid(kernels, layer.name)[
                    : own.table.shapes[layer.name][0], : own.table.shapes[layer.name][1]
                ].reshape(-1)
                for layer in own.table.layers
            ]
        )
        narrow_channels = torch.cat(
            [channels[:1]]
            + [channels[full.table.channels_of[stream]][:width] for stream, width in own.widths.items()]
        )
        return lambda count: narrow_kernels if count == own.table.count else narrow_channels

    kernels = torch.rand(full.table.count, generator=generator, dtype=torch.float64)
    channels = torch.rand(full.table.channels, generator=generator, dtype=torch.float64)
    channels[pinned] = 1.0
    return lambda own: for_workspace(own, kernels, channels)


ARCHITECTURES = {
    "tiny": (tiny_architecture, {"outer": 2, "inner": 3, "hidden": 5}),
    "resnet18": (lambda: NETWORKS["resnet18"]((3, 16, 16), width=8), None),
    "lenet": (lambda: NETWORKS["lenet"]((1, 8, 8)), None),
}


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_compact_training_equals_the_masked_network_of_full_size(name: str) -> None:
    """Float64, 1e-12, same noise and initial values; BatchNorm, residual streams and the flatten too."""
    make, seed = ARCHITECTURES[name]
    architecture = make()
    caps = dict(architecture.streams)
    seed = seed or widths_at(architecture, 1 / 4)
    compact = growth(caps, architecture=architecture).begin(seed_workspace(architecture, seed))
    full = growth(caps, 1.0, architecture).begin(seed_workspace(architecture, seed))
    assert architecture.weights(full.widths) > 2 * architecture.weights(compact.widths)
    pinned = torch.zeros(full.table.channels, dtype=torch.bool)
    for stream, width in compact.widths.items():
        pinned[full.table.channels_of[stream]] = torch.arange(full.widths[stream]) >= width
    masking = Masking("logit", GateSchedule(100, 20, 3), penalty=0.01)
    twins = (compact, full)
    updates = [Update(twin, masking, 0.01) for twin in twins]
    images = torch.Generator().manual_seed(3)
    for epoch in range(2):
        uniforms = [full_draws(full, epoch, pinned)(twin) for twin in twins]
        for update, uniform in zip(updates, uniforms, strict=True):
            update.begin_epoch(uniform)
        for step in range(2):
            batch = torch.randn(8, *architecture.image_shape, generator=images, dtype=torch.float64)
            labels = torch.randint(0, CLASSES, (8,), generator=images)
            uniforms = [full_draws(full, 10 * epoch + step + 5, pinned)(twin) for twin in twins]
            losses = []
            for twin, update, uniform in zip(twins, updates, uniforms, strict=True):
                loss = torch.nn.functional.cross_entropy(twin.network.train()(batch), labels)
                loss.backward()
                update.step(0.02, 1e-3, uniform)
                losses.append(float(loss.detach()))
            assert losses[0] == pytest.approx(losses[1], rel=1e-12)
        for update in updates:
            update.end_epoch()
    close: dict[str, Any] = {"rtol": 1e-10, "atol": 1e-12}
    for layer in compact.table.layers:
        outputs, inputs, _ = compact.table.shapes[layer.name]
        mine, theirs = (twin.table.grid(twin.weight.value, layer.name) for twin in twins)
        torch.testing.assert_close(mine, theirs[:outputs, :inputs], **close)
        mine, theirs = (twin.table.kernel_grid(twin.logit.value, layer.name) for twin in twins)
        torch.testing.assert_close(mine, theirs[:outputs, :inputs], **close)
    for stream, width in compact.widths.items():
        mine, theirs = (twin.gate_logit.value[twin.table.channels_of[stream]] for twin in twins)
        torch.testing.assert_close(mine, theirs[:width], **close)
    for vector, value in compact.private_vectors().items():
        torch.testing.assert_close(value, full.private_vectors()[vector][: len(value)], **close)
    assert compact.weight.value.ne(
        growth(caps, architecture=architecture).begin(seed_workspace(architecture, seed)).weight.value
    ).any()


def test_settling_drops_closed_channels_and_changes_nothing_else() -> None:
    """The settled network computes what the whole one does with its closed channels' columns at zero."""
    workspace = growth({"outer": 5, "inner": 8, "hidden": 6}).begin(
        seed_workspace(tiny_architecture(), {"outer": 2, "inner": 2, "hidden": 4})
    )
    draw = torch.Generator().manual_seed(5)
    workspace.gate_logit.value[workspace.candidate] = torch.randn(
        int(workspace.candidate.sum()), generator=draw
    ).double()
    workspace.logit.value.copy_(0.005 + 0.001 * torch.randn(workspace.table.count, generator=draw))
    private = workspace.private.value
    private.copy_(torch.randn(private.shape, generator=draw))
    stays = ~workspace.candidate | (workspace.gate_logit.value > 0)
    assert not stays.all()
    table = workspace.table
    on = torch.where(workspace.masked, workspace.logit.value > 0.005, True) & stays[table.input]
    for layer in table.layers:
        kernels = table.grid(workspace.weight.value, layer.name)
        table.grid(workspace.effective, layer.name).copy_(
            kernels * table.kernel_grid(on, layer.name).unsqueeze(2)
        )
    images = torch.randn(5, 2, 4, 4, generator=draw, dtype=torch.float64)
    small = settled(workspace).network(workspace.architecture)
    torch.testing.assert_close(small(images), workspace.network.eval()(images), rtol=1e-12, atol=1e-12)


def test_caps_scale_widths_by_the_root_of_the_parameter_multiplier() -> None:
    vgg = NETWORKS["vgg16-bn"]((3, 32, 32))
    caps = cap_widths(vgg, 1.5)
    assert (caps["conv1_1"], caps["conv2_1"], caps["conv5_3"], caps["fc1"]) == (78, 156, 627, 5016)
