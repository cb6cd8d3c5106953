"""Any module in the training loop: gradients by autograd, steps by an optimizer of torch.

For methods whose network is not a masked dense one (columns, sums of tensors, regularised units). They
share loop, data path, checkpoints and counting with all others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from lsg.seeds import Uniform
from lsg.train_settings import TrainSettings


class PlainTraining:
    """Trains a module's parameters with an optimizer of torch.

    Args:
        network: images to logits; only what the optimizer holds is trained.
        optimizer: its parameter groups' rates are set to the schedule's rate, or to its mask rate in groups
            with `mask` true. On a GPU one of Adam's kind counts its steps there.
        macs: multiply-accumulate operations of one image's forward pass.
        penalty: added to the cross entropy.
        before_step, after_step: called before each step of the optimizer, and after it with its rate (frozen
            entries' gradients; proximal steps). They do the same in every step (see `Trainee.layout`).
    """

    def __init__(
        self,
        network: nn.Module,
        optimizer: torch.optim.Optimizer,
        macs: int,
        penalty: Callable[[], Tensor] | None = None,
        before_step: Callable[[], None] | None = None,
        after_step: Callable[[float], None] | None = None,
    ) -> None:
        self.network, self.optimizer, self.macs = network, optimizer, macs
        self._penalty, self._before_step, self._after_step = penalty, before_step, after_step
        for group in optimizer.param_groups:
            if "capturable" in group:
                group["capturable"] = all(parameter.is_cuda for parameter in group["params"])

    @property
    def layout(self) -> object | None:
        """The module: its parameters, their gradients and the optimizer's state stay where they are."""
        return self.network

    def penalty(self) -> Tensor | None:
        return self._penalty() if self._penalty is not None else None

    def begin_epoch(self, epoch: int, uniform: Uniform) -> None:
        """Nothing is drawn."""

    def end_epoch(self) -> None:
        """Nothing stands for an epoch alone."""

    def step(self, rate: float, mask_rate: float, uniform: Uniform) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = mask_rate if group.get("mask") else rate
        if self._before_step is not None:
            self._before_step()
        self.optimizer.step()
        if self._after_step is not None:
            with torch.no_grad():
                self._after_step(rate)
        # In place: gradients that are dropped go back to the system after a step, and the next one waits for
        # new pages.
        self.optimizer.zero_grad(set_to_none=False)

    def progress(self) -> dict[str, Any]:
        return {}

    def tensors(self) -> dict[str, Tensor]:
        """The module's state and the optimizer's, by name."""
        state = {f"network.{name}": tensor for name, tensor in self.network.state_dict().items()}
        for place, slots in self.optimizer.state_dict()["state"].items():
            state |= {
                f"optimizer.{place}.{slot}": value for slot, value in slots.items() if value is not None
            }
        return state

    def position(self) -> dict[str, Any]:
        return {}

    def load(self, tensors: Mapping[str, Tensor], position: Mapping[str, Any]) -> None:
        network = {
            name.removeprefix("network."): t for name, t in tensors.items() if name.startswith("network.")
        }
        self.network.load_state_dict(network)
        states: dict[int, dict[str, Tensor]] = {}
        for name, tensor in tensors.items():
            if name.startswith("optimizer."):
                _, place, slot = name.split(".")
                states.setdefault(int(place), {})[slot] = tensor
        self.optimizer.load_state_dict(self.optimizer.state_dict() | {"state": states})


def load_optimizers() -> None:
    """Make a process' first optimizer of torch, which loads torch's compiler: seconds that are no task's."""
    torch.optim.SGD([nn.Parameter(torch.zeros(1))], 0.1)


def torch_optimizer(
    decayed: Iterable[nn.Parameter], free: Iterable[nn.Parameter], train: TrainSettings
) -> torch.optim.Optimizer:
    """The benchmark's optimizer; weight decay on the first parameters only."""
    groups = [
        {"params": list(decayed), "weight_decay": train.weight_decay},
        {"params": list(free), "weight_decay": 0.0},
    ]
    if train.optimizer == "sgd":
        return torch.optim.SGD(groups, train.lr, train.momentum, nesterov=train.momentum > 0)
    kind = torch.optim.AdamW if train.optimizer == "adamw" else torch.optim.Adam
    return kind(groups, train.lr)
