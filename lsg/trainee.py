"""What the training loop trains, as the loop sees it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from torch import Tensor, nn

from lsg.seeds import Uniform


class Trainee(Protocol):
    """What the loop trains: `lsg.masked.MaskedTraining` or `lsg.plain.PlainTraining`."""

    @property
    def network(self) -> nn.Module:
        """Images to logits; its parameters' gradients are what `step` works from."""

    @property
    def macs(self) -> int:
        """Multiply-accumulate operations of one image's forward pass."""

    @property
    def layout(self) -> object | None:
        """What a captured step belongs to: another object once a step touches other tensors than before.

        None where a step counts or decides on the host, which a replay would leave out: such steps are never
        captured. All others must not look into a tensor (`item`, `nonzero`, a tensor as a condition or as a
        mask of an index), and must keep what one step leaves for the next in tensors that stay in place.
        """

    def penalty(self) -> Tensor | None:
        """A term of the loss beside the cross entropy."""

    def begin_epoch(self, epoch: int, uniform: Uniform) -> None:
        """Draw and decide what stands for the epoch (from 1)."""

    def step(self, rate: float, mask_rate: float, uniform: Uniform) -> None:
        """One step from the gradients, which are then cleared."""

    def end_epoch(self) -> None:
        """Settle what stood for the epoch alone, before anything else looks at the state."""

    def progress(self) -> dict[str, Any]:
        """What the epoch's event says beside loss and accuracy."""

    def tensors(self) -> dict[str, Tensor]:
        """The state for a checkpoint, with `position` for what is no tensor."""

    def position(self) -> dict[str, Any]: ...

    def load(self, tensors: Mapping[str, Tensor], position: Mapping[str, Any]) -> None:
        """Take up the state of a checkpoint."""
