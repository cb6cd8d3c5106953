"""A workspace in the training loop: masks, gates and growth behind the loop's small interface."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, cast

from torch import Tensor, nn

from lsg.seeds import Uniform
from lsg.update import Masking, Update
from lsg.workspace import Workspace


class Widening(Protocol):
    """What widens a workspace between epochs: `lsg.growth.Growth`."""

    last_chunk: dict[str, int]
    """Of each stream the first channel of its newest candidates; all that a checkpoint has to keep of it."""

    def before_epoch(self, workspace: Workspace, epoch: int) -> Workspace:
        """The workspace, or a wider one that goes on where it stands. Epochs count from 1."""


class MaskedTraining:
    """Trains a workspace by `lsg.update`, widening it where `growth` says so.

    Args:
        workspace: what is trained; replaced by a wider one when it grows.
        masking: None for a dense network.
        weight_decay: of shared weights.
        growth: None where nothing grows.
    """

    def __init__(
        self,
        workspace: Workspace,
        masking: Masking | None,
        weight_decay: float,
        growth: Widening | None = None,
    ) -> None:
        self.masking, self.weight_decay, self.growth = masking, weight_decay, growth
        self._take(workspace)

    def _take(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self.update = Update(workspace, self.masking, self.weight_decay)

    @property
    def network(self) -> nn.Module:
        return self.workspace.network

    @property
    def macs(self) -> int:
        return self.workspace.architecture.macs(self.workspace.widths, self.workspace.classes)

    @property
    def layout(self) -> object | None:
        """The update's parts: made anew with a wider workspace, and whenever gates are drawn."""
        return self.update.parts

    def penalty(self) -> Tensor | None:
        return None

    def begin_epoch(self, epoch: int, uniform: Uniform) -> None:
        if self.growth is not None:
            wider = self.growth.before_epoch(self.workspace, epoch)
            if wider is not self.workspace:
                self._take(wider)
        self.update.begin_epoch(uniform)

    def step(self, rate: float, mask_rate: float, uniform: Uniform) -> None:
        self.update.step(rate, mask_rate, uniform)

    def end_epoch(self) -> None:
        self.update.end_epoch()

    def progress(self) -> dict[str, Any]:
        workspace, architecture = self.workspace, self.workspace.architecture
        scores = workspace.gate_logit.value[workspace.candidate]
        dense = architecture.weights(architecture.streams)
        size = architecture.weights(workspace.widths) / dense
        return {"candidates": len(scores), "gates_on": int((scores > 0).sum()), "size": size}

    def tensors(self) -> dict[str, Tensor]:
        return self.workspace.tensors()

    def position(self) -> dict[str, Any]:
        return {"widths": self.workspace.widths, "last_chunk": self.growth.last_chunk if self.growth else {}}

    def load(self, tensors: Mapping[str, Tensor], position: Mapping[str, Any]) -> None:
        widths = cast(dict[str, int], position["widths"])
        workspace = self.workspace if widths == self.workspace.widths else self.workspace.like(widths)
        workspace.load(tensors)
        if self.growth is not None:
            self.growth.last_chunk = dict(position["last_chunk"])
        self._take(workspace)
