"""The update beside autograd equals the update through autograd, and no part of it is dispensable."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from lsg import digest, kernels
from lsg.growth import Growth, Room
from lsg.initial import initial_weights
from lsg.masks import GateSchedule
from lsg.methods.elementwise import PiggyUpdate
from lsg.optimizers import SGD, Adam, Optimizer
from lsg.parts import Part, parts
from lsg.seeds import Uniform
from lsg.update import Masking, Update
from lsg.workspace import Workspace
from tests.lsg.mutations import moving_all
from tests.lsg.reference import Reference
from tests.lsg.tiny import tiny_architecture

EXACT: dict[str, Any] = {"rtol": 1e-11, "atol": 1e-13}
WIDTHS = {"outer": 3, "inner": 2, "hidden": 4}
MOMENTUM, DECAY, RATE, MASK_RATE = 0.9, 0.01, 0.05, 2e-3


def draws(seed: int) -> Uniform:
    generator = torch.Generator().manual_seed(seed)
    return lambda count: torch.rand(count, generator=generator, dtype=torch.float64)


def stage_2_workspace(optimizer: Optimizer | None = None) -> Workspace:
    """Frozen, released and candidate kernels; m^s, m^a and m^g; masks near their threshold."""
    architecture = tiny_architecture()
    weights = initial_weights(architecture, WIDTHS, 2, seed=1, task=2, dtype=torch.float64)
    workspace = Workspace(architecture, WIDTHS, 2, (optimizer or SGD(MOMENTUM), Adam()), weights, {})
    workspace.masked[:] = True
    workspace.table.kernel_grid(workspace.masked, "head")[:] = False
    draw = torch.Generator().manual_seed(7)
    for layer in architecture.layers:
        grid = workspace.table.kernel_grid(workspace.trainable, layer.name)
        grid.copy_(torch.rand(grid.shape, generator=draw) < 0.4)
    caps, names = {"outer": 6, "inner": 5, "hidden": 8}, [layer.name for layer in architecture.layers]
    room = Room(architecture, caps, math.inf)
    workspace = Growth(1, 2, chunk=0.4, room=room, gate_init=0.0, last_epoch=1, masked=names).begin(workspace)
    logit = workspace.logit.value
    logit.copy_(0.005 + 0.004 * torch.randn(len(logit), generator=draw, dtype=torch.float64))
    workspace.gate_logit.value[workspace.candidate] = 0.01 * torch.randn(
        int(workspace.candidate.sum()), generator=draw, dtype=torch.float64
    )
    return workspace


def growth_alone() -> Workspace:
    """Frozen, released and candidate kernels; m^g and no other mask."""
    workspace = stage_2_workspace()
    workspace.masked[:] = False
    return workspace


def head_alone() -> Workspace:
    """Frozen kernels without a mask and without a gate; the head is trained."""
    workspace = growth_alone()
    workspace.candidate[:] = False
    workspace.trainable[:] = False
    workspace.table.kernel_grid(workspace.trainable, "head")[:] = True
    return workspace


def masks_alone() -> Workspace:
    """Frozen and released kernels with masks; no gate."""
    workspace = stage_2_workspace()
    workspace.candidate[:] = False
    return workspace


def compare(
    noise: str = "logit",
    update_type: type[Update] = Update,
    make: Callable[[], Workspace] = stage_2_workspace,
) -> Reference:
    """Two sampling epochs of three steps each in both forms; AssertionError where they differ."""
    workspace = make()
    gates = GateSchedule(scale=100, final_beta=20, epochs=3)
    masking = Masking(noise, gates, penalty=0.01, mask_penalty=0.003)  # type: ignore[arg-type]
    reference = Reference(workspace, masking, MOMENTUM, DECAY)
    update = update_type(workspace, masking, DECAY)
    images = torch.Generator().manual_seed(3)
    seen_off = 0
    for epoch in range(2):
        mine, theirs = draws(epoch), draws(epoch)
        update.begin_epoch(mine)
        reference.begin_epoch(theirs)
        seen_off += int((update.gate == 0).sum())
        for _ in range(3):
            batch = torch.randn(6, 2, 4, 4, generator=images, dtype=torch.float64)
            labels = torch.randint(0, 2, (6,), generator=images)
            loss = torch.nn.functional.cross_entropy(workspace.network.train()(batch), labels)
            loss.backward()
            assert float(loss.detach()) == pytest.approx(
                reference.step(batch, labels, RATE, MASK_RATE, theirs), rel=1e-11
            )
            update.step(RATE, MASK_RATE, mine)
        update.end_epoch()
    assert seen_off > 0 or make is head_alone, "no channel was ever off: the case is too easy"
    assert_equal(workspace, reference)
    return reference


def assert_equal(workspace: Workspace, reference: Reference) -> None:
    table = workspace.table
    for layer in table.layers:
        name = layer.name
        velocity = table.grid(workspace.weight.state["velocity"], name)
        torch.testing.assert_close(table.grid(workspace.weight.value, name), reference.weight[name], **EXACT)
        torch.testing.assert_close(velocity, reference.velocity[name], **EXACT)
        torch.testing.assert_close(
            table.kernel_grid(workspace.logit.value, name), reference.logit[name], **EXACT
        )
    for stream, span in table.channels_of.items():
        torch.testing.assert_close(workspace.gate_logit.value[span], reference.gate_logit[stream], **EXACT)
    private = workspace.private_vectors()
    for name, value in reference.private.items():
        torch.testing.assert_close(private[name], value, **EXACT)
    for name, buffer in reference.network.named_buffers():
        if "running" in name:
            torch.testing.assert_close(private[name], buffer, **EXACT)


@pytest.mark.parametrize("noise", ["logit", "eq5", "none"])
def test_equals_autograd_in_float64(noise: str) -> None:
    compare(noise)


@pytest.mark.parametrize("most_kernels", [1, 5])
def test_equals_autograd_in_pieces(most_kernels: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks that end within layers or hold the ends of two, and blocks in which nothing is masked."""
    monkeypatch.setattr(kernels, "MOST_KERNELS", most_kernels)
    compare()


@pytest.mark.parametrize("most_kernels", [1, 2**16])
@pytest.mark.parametrize("make", [growth_alone, head_alone])
def test_equals_autograd_without_masks(
    make: Callable[[], Workspace], most_kernels: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Although the reference draws random numbers for all kernels, and every kernel is written there."""
    monkeypatch.setattr(kernels, "MOST_KERNELS", most_kernels)
    compare(make=make)


@pytest.mark.parametrize("make", [stage_2_workspace, growth_alone])
def test_equals_autograd_where_a_kernels_weights_share_a_factor(
    make: Callable[[], Workspace], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lsg.parts.LONG_ROW", 4)
    compare(make=make)


@pytest.mark.parametrize("optimizer", [SGD(MOMENTUM), Adam()])
def test_a_shared_factor_changes_no_bit(optimizer: Optimizer, monkeypatch: pytest.MonkeyPatch) -> None:
    states, columns = [], []
    for long_row in (1, 100):
        monkeypatch.setattr("lsg.parts.LONG_ROW", long_row)
        workspace = stage_2_workspace(optimizer)
        update = Update(workspace, Masking("logit", GateSchedule(100, 20, 3), 0.01, 0.003), DECAY)
        train_two_epochs(workspace, update)
        scales = [part.scale for part in update.parts if part.scale is not None]
        columns.append([scale.shape[1] for scale in scales])
        states.append(state_of(workspace))
    assert set(columns[0]) == {1}
    assert set(columns[1]) == {1, 4, 9}
    assert states[0] == states[1]


def train_two_epochs(workspace: Workspace, update: Update) -> None:
    """Three steps in each, the same for every update."""
    for epoch in range(2):
        uniform = draws(epoch)
        update.begin_epoch(uniform)
        for seed in range(3):
            backward(workspace, seed)
            update.step(RATE, MASK_RATE, uniform)


def state_of(workspace: Workspace) -> dict[str, str]:
    """Digests of all that training changes."""
    return digest.of_tensors(workspace.tensors() | {"effective": workspace.effective})


def backward(workspace: Workspace, seed: int = 0) -> None:
    """Leave gradients."""
    batch = torch.randn(6, 2, 4, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    workspace.network(batch).square().sum().backward()


def test_without_masks_only_gates_are_drawn() -> None:
    workspace, counts = growth_alone(), list[int]()
    update = Update(workspace, Masking("logit", GateSchedule(100, 20, 3), penalty=0.01), DECAY)

    def uniform(count: int) -> Tensor:
        counts.append(count)
        return torch.rand(count, dtype=torch.float64)

    update.begin_epoch(uniform)
    backward(workspace)
    update.step(RATE, MASK_RATE, uniform)
    assert counts == [workspace.table.channels]


@pytest.mark.parametrize("make", [growth_alone, head_alone])
def test_what_stands_is_not_written_again(
    make: Callable[[], Workspace], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a block a kernel: a step writes those whose weights move, and no others."""
    monkeypatch.setattr(kernels, "MOST_KERNELS", 1)
    workspace = make()
    update = Update(workspace, Masking("logit", GateSchedule(100, 20, 3), penalty=0.01), DECAY)
    update.begin_epoch(draws(0))
    backward(workspace)
    workspace.effective.fill_(math.nan)
    update.step(RATE, MASK_RATE, draws(1))
    written = [bool(part.effective.isfinite().all()) for part in update.parts]
    assert written == (workspace.trainable & update.on).tolist()
    assert any(written)
    assert not all(written)


def test_a_block_finds_its_gradient_in_its_layers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "MOST_KERNELS", 5)
    workspace = stage_2_workspace()
    marks = torch.arange(workspace.table.weights, dtype=torch.float64)
    for layer in workspace.table.layers:
        weight = workspace.network.get_parameter(f"{layer.name}.weight")
        weight.grad = marks[workspace.table.weights_of[layer.name]].view_as(weight).clone()
    found = torch.cat([part.gradient().reshape(-1) for part in Update(workspace, None, DECAY).parts])
    assert torch.equal(found, marks)


class WithoutGateFactor(Update):
    """dL/da without q."""

    def _step_logits(self, part: Part, gradient: Tensor, rate: float) -> None:
        kept, part.input_gate = part.input_gate, None
        super()._step_logits(part, gradient, rate)
        part.input_gate = kept


class WithoutMaskFactor(Update):
    """dL/dq without a."""

    def _step_logits(self, part: Part, gradient: Tensor, rate: float) -> None:
        kept, part.bits = part.bits, torch.ones_like(part.bits)
        super()._step_logits(part, gradient, rate)
        part.bits = kept


def with_factors_of_one(kind: type[Update]) -> type[Update]:
    """The update that multiplies by gates, slopes and masks where all of them are 1 too."""

    class Multiplying(kind):  # type: ignore[misc, valid-type]
        def divide(self) -> None:
            super().divide()
            for part in self.parts:
                one = torch.ones_like(part.bits)
                part.input_gate = one if part.input_gate is None else part.input_gate
                part.slope = one if part.slope is None else part.slope
                part.scale = torch.ones_like(part.effective) if part.scale is None else part.scale

    return Multiplying


@pytest.mark.parametrize("kind", [Update, PiggyUpdate])
@pytest.mark.parametrize("make", [stage_2_workspace, growth_alone, masks_alone, head_alone])
def test_leaving_out_factors_of_one_changes_no_bit(
    make: Callable[[], Workspace], kind: type[Update], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernels, "MOST_KERNELS", 5)
    states = []
    for each in (kind, with_factors_of_one(kind)):
        workspace = make()
        update = each(workspace, Masking("logit", GateSchedule(100, 20, 3), 0.01, 0.003), DECAY)
        train_two_epochs(workspace, update)
        states.append(state_of(workspace))
    assert states[0] == states[1]


def test_what_is_1_everywhere_is_known_once() -> None:
    masking = Masking("logit", GateSchedule(100, 20, 3), penalty=0.01)
    masked, bare = Update(masks_alone(), masking, DECAY).parts, Update(head_alone(), masking, DECAY).parts
    assert all(part.input_gate is None for part in (*masked, *bare))
    assert [part.scale is None for part in masked] == [not part.masked for part in masked]
    assert all(part.scale is None for part in bare)
    assert all(part.slope is None for part in PiggyUpdate(masks_alone(), masking, DECAY).parts)


def test_fails_without_the_masks_factor() -> None:
    with pytest.raises(AssertionError):
        compare(update_type=WithoutMaskFactor)


class PausedMasksMove(WithoutGateFactor):
    """Without q in dL/da, and masks of gated-off kernels not paused: the factor alone is then visible."""

    def divide(self) -> None:
        workspace = self.workspace
        moving = workspace.trainable & self.on
        assert self.masking is not None
        price = self.masking.mask_penalty
        self.parts = parts(workspace, moving, workspace.masked, self.input_gate, self.decay, price)


class PriceOfEveryMask(Update):
    """mu on m^s too."""

    def _step_logits(self, part: Part, gradient: Tensor, rate: float) -> None:
        assert self.masking is not None
        part.price = torch.full_like(part.bits, self.masking.mask_penalty * part.effective.shape[1])
        super()._step_logits(part, gradient, rate)


def test_fails_with_a_price_of_preserved_kernels() -> None:
    with pytest.raises(AssertionError):
        compare(update_type=PriceOfEveryMask)


def test_fails_without_the_gates_factor() -> None:
    with pytest.raises(AssertionError):
        compare(update_type=PausedMasksMove)


@pytest.mark.parametrize("optimizer", [SGD, Adam])
def test_fails_where_frozen_or_paused_entries_move(
    optimizer: type[SGD | Adam], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(optimizer, "step", moving_all(optimizer.step))
    with pytest.raises(AssertionError):
        compare()


@pytest.mark.parametrize("aside", ["left", "lost"])
def test_fails_where_momentum_acts_in_a_pause_or_is_lost_by_it(
    aside: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pause = SGD.pause

    def forgetful(self: SGD, *arguments: Any) -> dict[str, Tensor]:
        if aside == "lost":
            pause(self, *arguments)
        return {}

    monkeypatch.setattr(SGD, "pause", forgetful)
    with pytest.raises(AssertionError):
        compare()


def test_frozen_and_paused_kernels_keep_their_bits() -> None:
    workspace = stage_2_workspace()
    before = {name: tensor.clone() for name, tensor in workspace.tensors().items()}
    masking = Masking("logit", GateSchedule(100, 20, 3), penalty=0.01)
    update = Update(workspace, masking, DECAY)
    uniform = draws(0)
    update.begin_epoch(uniform)
    for seed in range(4):
        backward(workspace, seed)
        update.step(RATE, MASK_RATE, uniform)
    off = update.gate == 0
    paused = off[workspace.table.input] | off[workspace.table.output]
    still = paused | ~workspace.trainable
    moved = 0
    for name in ("weight.value", "weight.velocity"):
        after = workspace.tensors()[name]
        for block in workspace.table.blocks:
            rows, old, held = block.rows(after), block.rows(before[name]), still[block.kernels]
            assert torch.equal(rows[held], old[held])
            moved += int((rows != old).sum())
    assert moved > 0
    assert torch.equal(workspace.logit.value[paused], before["logit.value"][paused])
