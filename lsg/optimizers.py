"""SGD, Adam and AdamW over entries of which some must not move at all.

Zeroing a gradient does not freeze a weight: momentum, Adam's moments and weight decay still move it. An
optimizer here takes a mask `moving`; where it is off, the value *and* the optimizer's state stay as
they are, bit for bit. State tensors have the shape of the values and start at zero, so they grow, shrink
and go to disk with them. Where everything moves, results equal those of `torch.optim`.

Such a mask is an integer an entry, all bits set where it moves (`lanes`), and what moves is copied by
exclusive or: `torch.where` takes a branch an entry and is seven times slower on a CPU.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

LANES = {torch.float32: torch.int32, torch.float64: torch.int64}
"""The integers as wide as a value."""


class Optimizer(Protocol):
    """One update rule; `slots` names the state tensors that it keeps for each value."""

    @property
    def slots(self) -> tuple[str, ...]: ...

    def step(
        self,
        value: Tensor,
        gradient: Tensor,
        state: Mapping[str, Tensor],
        moving: Tensor | None,
        rate: float,
        decay: Tensor | None,
    ) -> None:
        """Change `value` and `state` in place where `moving` (None: everywhere).

        `moving` (see `lanes`) and `decay` (the weight decay of each entry) broadcast to the shape of
        `value`; `gradient` may be overwritten.
        """


def lanes(moving: Tensor, dtype: torch.dtype) -> Tensor | None:
    """Booleans as `Optimizer.step` takes them for values of this type: integers with all bits or none set.

    None where everything moves, so that a dense network pays nothing for the possibility.
    """
    return None if bool(moving.all()) else moving.to(LANES[dtype]).neg_()


def assign(target: Tensor, new: Tensor, moving: Tensor | None) -> None:
    """Copy `new`, which is overwritten, into `target` where `moving`; elsewhere `target` keeps its bits."""
    if moving is None:
        target.copy_(new)
        return
    kept, changed = target.view(moving.dtype), new.view(moving.dtype)
    kept.bitwise_xor_(changed.bitwise_xor_(kept).bitwise_and_(moving))


@dataclass(frozen=True)
class SGD:
    """Stochastic gradient descent with Nesterov momentum and coupled weight decay (CPG's settings)."""

    momentum: float = 0.9

    @property
    def slots(self) -> tuple[str, ...]:
        return ("velocity",) if self.momentum else ()

    def step(
        self,
        value: Tensor,
        gradient: Tensor,
        state: Mapping[str, Tensor],
        moving: Tensor | None,
        rate: float,
        decay: Tensor | None,
    ) -> None:
        if decay is not None:
            gradient.addcmul_(value, decay)
        if self.momentum:
            velocity = gradient.add(state["velocity"], alpha=self.momentum)
            gradient.add_(velocity, alpha=self.momentum)
            assign(state["velocity"], velocity, moving)
        assign(value, value.add(gradient, alpha=-rate), moving)


@dataclass(frozen=True)
class Adam:
    """Adam (Kingma & Ba 2015). The bias corrections 1 - beta^t are kept for each entry, because entries
    that pause or that are born later have taken fewer steps than others."""

    decoupled: bool = False
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8

    @property
    def slots(self) -> tuple[str, ...]:
        return ("mean", "square", "correction1", "correction2")

    def step(
        self,
        value: Tensor,
        gradient: Tensor,
        state: Mapping[str, Tensor],
        moving: Tensor | None,
        rate: float,
        decay: Tensor | None,
    ) -> None:
        new = value
        if decay is not None and self.decoupled:
            new = value - rate * decay * value
        elif decay is not None:
            gradient.addcmul_(value, decay)
        mean = state["mean"].lerp(gradient, 1 - self.beta1)
        square = state["square"].lerp(gradient.square(), 1 - self.beta2)
        one = torch.ones((), dtype=value.dtype, device=value.device)
        correction1 = state["correction1"].lerp(one, 1 - self.beta1)
        correction2 = state["correction2"].lerp(one, 1 - self.beta2)
        denominator = (square / correction2).sqrt_().add_(self.epsilon)
        assign(value, new - rate * (mean / correction1) / denominator, moving)
        for slot, tensor in zip(self.slots, (mean, square, correction1, correction2), strict=True):
            assign(state[slot], tensor, moving)
