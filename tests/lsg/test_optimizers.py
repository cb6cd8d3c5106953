"""The optimizers equal torch's where everything moves, and move nothing where nothing may."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lsg.optimizers import SGD, UNMOVED, Adam, Optimizer, give_back, moving_or_none

CASES: dict[str, tuple[Optimizer, Callable[[torch.nn.Parameter, float], torch.optim.Optimizer]]] = {
    "sgd": (SGD(0.0), lambda p, wd: torch.optim.SGD([p], 0.1, weight_decay=wd)),
    "momentum": (SGD(0.9), lambda p, wd: torch.optim.SGD([p], 0.1, 0.9, nesterov=True, weight_decay=wd)),
    "adam": (Adam(), lambda p, wd: torch.optim.Adam([p], 0.1, weight_decay=wd)),
    "adamw": (Adam(decoupled=True), lambda p, wd: torch.optim.AdamW([p], 0.1, weight_decay=wd)),
}


def gradients() -> list[torch.Tensor]:
    draw = torch.Generator().manual_seed(0)
    return [torch.randn(6, generator=draw, dtype=torch.float64) for _ in range(7)]


def run(
    optimizer: Optimizer, moving: torch.Tensor | None, decay: float
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    value = torch.arange(6, dtype=torch.float64) - 2
    state = optimizer.state(value)
    for gradient in gradients():
        optimizer.step(
            value,
            gradient,
            state,
            None if moving is None else moving_or_none(moving, value.dtype),
            0.1,
            decay or None,
        )
    return value, state


@pytest.mark.parametrize("decay", [0.0, 0.05])
@pytest.mark.parametrize("name", CASES)
def test_equals_torch(name: str, decay: float) -> None:
    optimizer, make = CASES[name]
    parameter = torch.nn.Parameter(torch.arange(6, dtype=torch.float64) - 2)
    theirs = make(parameter, decay)
    for gradient in gradients():
        parameter.grad = gradient
        theirs.step()
    torch.testing.assert_close(run(optimizer, None, decay)[0], parameter.data, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", CASES)
def test_what_may_not_move_keeps_value_and_state(name: str) -> None:
    moving = torch.tensor([True, False, True, False, False, True])
    value, state = run(CASES[name][0], moving, 0.05)
    free, free_state = run(CASES[name][0], None, 0.05)
    assert torch.equal(value[~moving], (torch.arange(6, dtype=torch.float64) - 2)[~moving])
    assert torch.equal(value[moving], free[moving])
    for slot, tensor in state.items():
        assert (tensor[~moving] == (UNMOVED if slot.startswith("correction") else 0)).all()
        assert torch.equal(tensor[moving], free_state[slot][moving])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", CASES)
@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_what_may_not_move_keeps_its_bits_at_any_size_of_number(
    name: str, dtype: torch.dtype, data: st.DataObject
) -> None:
    """Denormals, large numbers and zero as values, states and gradients; a mask for whole rows."""
    width: Literal[32, 64] = 32 if dtype == torch.float32 else 64
    numbers = st.floats(-(2.0**30), 2.0**30, width=width).map(lambda number: number + 0.0)
    grids = st.lists(numbers, min_size=6, max_size=6).map(
        lambda row: torch.tensor(row, dtype=dtype).view(3, 2)
    )
    optimizer = CASES[name][0]
    value, gradient = data.draw(grids), data.draw(grids)
    state = {slot: data.draw(grids).abs().clamp(UNMOVED, 1) for slot in optimizer.state(value)}
    moving = torch.tensor([[0.0], [1.0], [0.0]], dtype=dtype).expand(3, 2)
    optimizer.pause(state, moving > 0)
    before = {slot: tensor.clone() for slot, tensor in {**state, "value": value}.items()}
    optimizer.step(value, gradient, state, moving, 0.1, 0.01)
    for slot, tensor in {**state, "value": value}.items():
        assert tensor[::2].numpy().tobytes() == before[slot][::2].numpy().tobytes()


@pytest.mark.parametrize(("optimizer", "left"), [(SGD(0.9), 0.0), (Adam(), 1.0)])
def test_a_pause_puts_momentum_aside_and_leaves_adams_state(optimizer: Optimizer, left: float) -> None:
    state = {slot: torch.ones(3, 2) for slot in optimizer.state(torch.zeros(3, 2))}
    aside = optimizer.pause(state, torch.tensor([[True], [False], [True]]))
    assert state
    for tensor in state.values():
        assert tensor.tolist() == [[1.0, 1.0], [left, left], [1.0, 1.0]]
    give_back(state, aside)
    assert aside == {}
    for tensor in state.values():
        assert tensor.tolist() == [[1.0, 1.0]] * 3


def test_where_everything_moves_there_is_no_mask() -> None:
    assert moving_or_none(torch.ones(3, dtype=torch.bool), torch.float32) is None


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_start_of_bias_corrections_leaves_no_trace(dtype: torch.dtype) -> None:
    """An entry's first step gives the correction that counting from 0 gives, to the bit."""
    value = torch.zeros(3, dtype=dtype)
    state = Adam().state(value)
    Adam().step(
        value,
        torch.tensor([1.0, 1.0, 0.0], dtype=dtype),
        state,
        torch.tensor([1.0, 0.0, 1.0], dtype=dtype),
        0.1,
        None,
    )
    from_zero = [
        torch.zeros(1, dtype=dtype).lerp(torch.ones(1, dtype=dtype), 1 - beta) for beta in (0.9, 0.999)
    ]
    for slot, correction in zip(("correction1", "correction2"), from_zero, strict=True):
        assert state[slot][[0, 2]].tolist() == [float(correction)] * 2
    assert value[1:].tolist() == [0.0, 0.0]
    assert float(value[0]) == pytest.approx(-0.1, rel=1e-6)
