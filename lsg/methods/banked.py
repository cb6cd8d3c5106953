"""What methods over a weight bank share: tasks own kernels of one network, and a task is its own record."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from lsg.bank import Bank, Solution
from lsg.data import Task
from lsg.methods.method import Method
from lsg.networks.architecture import Architecture, Widths, without_head
from lsg.protocol import Protocol
from lsg.training import Trainer


class Banked(Method):
    """A method whose tasks' networks are read from one bank."""

    def __init__(self, architecture: Architecture, settings: Any, protocol: Protocol, seed: int) -> None:
        super().__init__(architecture, settings, protocol, seed)
        self.bank = Bank(architecture)

    def judged(self, solution: Solution, task: Task, trainer: Trainer) -> float:
        """The solution's accuracy on the split that decides."""
        return self.judge(solution.network(self.architecture), task, trainer)

    def previous_private(self) -> dict[str, Tensor]:
        """Biases and BatchNorm that a task starts from: the previous task's (as CPG); the head is new."""
        if not self.bank.tasks:
            return {}
        return without_head(self.bank.private(self.bank.tasks[-1]))

    def grown(self, before: Widths, released: float) -> dict[str, Any]:
        """What a lesson tells of growth: channels and the released share, before (given) and now."""
        return {
            "channels_before": dict(before),
            "channels_after": dict(self.bank.widths),
            "released_share_before": released,
            "released_share": self.bank.released_share(),
        }

    def network(self, task: int) -> nn.Module:
        return self.bank.network(task)

    def tensors(self, task: int) -> dict[str, Tensor]:
        return self.bank.tensors(task)

    def restore(self, task: int, tensors: Mapping[str, Tensor]) -> None:
        self.bank.add_tensors(task, tensors)

    def weights(self) -> tuple[int, int]:
        allocated = self.architecture.weights(self.bank.widths)
        return allocated, allocated - round(allocated * self.bank.released_share())
