"""SGD, Adam and AdamW over entries of which some must not move at all.

Zeroing a gradient does not freeze a weight: momentum, Adam's moments and weight decay still move it. An
optimizer here takes a tensor `moving` of ones and zeros. By it every change of a value and of Adam's state is
multiplied, and SGD's gradient, which finds no momentum there (`pause`). So what may not move stays as it is
while numbers are finite; once they are not, training is lost, and the bank refuses its network
(`lsg.bank.Bank.add`). State tensors have the shape of the values, so they grow, shrink and go to disk with
them. Where everything moves, results equal those of `torch.optim`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Protocol

import torch
from torch import Tensor
from torch.optim.sgd import sgd

BETAS, EPSILON = (0.9, 0.999), 1e-8
"""Of Adam, as its paper has them."""
UNMOVED = 1e-30
"""Bias corrections start here and not at 0, so that what has never moved is 0 / UNMOVED, which is 0.
It leaves no trace: it is gone with the first step, which adds 0.1 or 0.001."""


class Optimizer(Protocol):
    """One update rule, and the state tensors that it keeps for each value."""

    def state(self, value: Tensor) -> dict[str, Tensor]:
        """The state of values that have not moved yet, by slot, each of the shape of `value`."""

    def pause(self, state: Mapping[str, Tensor], moving: Tensor) -> dict[str, Tensor]:
        """Settle the state of what does not move in the steps to come; `moving` are booleans.

        Returns what is taken out of the state for that time, by slot, to be added to it again afterwards.
        """

    def step(
        self,
        value: Tensor,
        gradient: Tensor,
        state: Mapping[str, Tensor],
        moving: Tensor | None,
        rate: float,
        decay: Tensor | float | None,
    ) -> None:
        """Change `value` and `state` in place where `moving` is 1 and not where it is 0 (None: everywhere).

        What is at 0 was settled by `pause` before. `decay` is the weight decay, one number or each entry's;
        it and `moving` broadcast to the shape of `value`. `gradient` may be overwritten.
        """


def moving_or_none(moving: Tensor, dtype: torch.dtype) -> Tensor | None:
    """Booleans as `Optimizer.step` takes them: ones and zeros.

    None where everything moves, so that a dense network pays nothing for the possibility.
    """
    return None if bool(moving.all()) else moving.to(dtype)


@cache
def ones(count: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """So many ones, made once; nobody writes into them."""
    return torch.ones(count, dtype=dtype, device=device)


def give_back(state: Mapping[str, Tensor], aside: dict[str, Tensor]) -> None:
    """Add to the state what `Optimizer.pause` took out of it, and forget that."""
    for slot in list(aside):
        state[slot].add_(aside.pop(slot))


def add_decay(gradient: Tensor, value: Tensor, decay: Tensor | float) -> None:
    """Add the gradient of weight decay."""
    if isinstance(decay, float):
        gradient.add_(value, alpha=decay)
    else:
        gradient.addcmul_(value, decay)


def move(value: Tensor, direction: Tensor, rate: float, moving: Tensor | None) -> None:
    """value -= rate * direction, where it moves."""
    if moving is None:
        value.add_(direction, alpha=-rate)
    else:
        value.addcmul_(direction, moving, value=-rate)


@dataclass(frozen=True)
class SGD:
    """Stochastic gradient descent with Nesterov momentum and coupled weight decay (CPG's settings).

    Torch's fused step, which goes through memory once. It moves whatever has momentum, so that of what pauses
    is put aside.
    """

    momentum: float = 0.9

    def state(self, value: Tensor) -> dict[str, Tensor]:
        return {"velocity": torch.zeros_like(value)} if self.momentum else {}

    def pause(self, state: Mapping[str, Tensor], moving: Tensor) -> dict[str, Tensor]:
        aside = {slot: torch.where(moving, 0.0, velocity) for slot, velocity in state.items()}
        aside = {slot: paused for slot, paused in aside.items() if bool(paused.any())}
        for slot, paused in aside.items():
            state[slot].sub_(paused)
        return aside

    def step(
        self,
        value: Tensor,
        gradient: Tensor,
        state: Mapping[str, Tensor],
        moving: Tensor | None,
        rate: float,
        decay: Tensor | float | None,
    ) -> None:
        coupled = 0.0
        if moving is None and isinstance(decay, float):
            coupled = decay
        elif decay is not None:
            add_decay(gradient, value, decay)
        if moving is not None:
            gradient.mul_(moving)
        sgd(
            [value],
            [gradient],
            list(state.values()) or [None],
            fused=True,
            weight_decay=coupled,
            momentum=self.momentum,
            lr=rate,
            dampening=0.0,
            nesterov=self.momentum > 0,
            maximize=False,
        )


@dataclass(frozen=True)
class Adam:
    """Adam (Kingma & Ba 2015). The bias corrections 1 - beta^t are kept for each entry, because entries
    that pause or that are born later have taken fewer steps than others."""

    decoupled: bool = False

    def state(self, value: Tensor) -> dict[str, Tensor]:
        starts = {"mean": 0.0, "square": 0.0, "correction1": UNMOVED, "correction2": UNMOVED}
        return {slot: torch.full_like(value, start) for slot, start in starts.items()}

    def pause(self, state: Mapping[str, Tensor], moving: Tensor) -> dict[str, Tensor]:
        """All of it stays: an entry goes on where it stopped."""
        return {}

    def step(
        self,
        value: Tensor,
        gradient: Tensor,
        state: Mapping[str, Tensor],
        moving: Tensor | None,
        rate: float,
        decay: Tensor | float | None,
    ) -> None:
        if decay is not None and self.decoupled:
            move(value, value * decay, rate, moving)
        elif decay is not None:
            add_decay(gradient, value, decay)
        mean, square = state["mean"], state["square"]
        correction1, correction2 = state["correction1"], state["correction2"]
        one = ones(1, value.dtype, value.device)
        share1, share2 = (1 - beta if moving is None else moving * (1 - beta) for beta in BETAS)
        mean.lerp_(gradient, share1)
        correction1.lerp_(one, share1)
        square.lerp_(gradient.square_(), share2)
        correction2.lerp_(one, share2)
        denominator = torch.div(square, correction2, out=gradient).sqrt_().add_(EPSILON)
        move(value, torch.div(mean, correction1).div_(denominator), rate, moving)
