"""When learning rates drop: shares of a stage's epochs."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from lsg.settings import require


def is_rising(shares: Sequence[float]) -> bool:
    """Whether the numbers rise strictly and lie between 0 and 1."""
    return all(0 < share < 1 for share in shares) and list(shares) == sorted(set(shares))


def drops_before(epoch: int, epochs: int, shares: Sequence[float]) -> int:
    """How many of the drops lie before this epoch (from 1): a drop at 0.5 of 20 acts from epoch 11 on.

    None acts in the first epoch, however few there are; two may begin with the same one then.
    """
    return bisect_right([epochs_of(share, epochs) for share in shares], epoch - 1)


def epochs_of(share: float, epochs: int) -> int:
    """A share of the epochs, rounded half up, at least 1."""
    return max(1, math.floor(share * epochs + 0.5))


@dataclass(frozen=True)
class MaskRates:
    """Learning rate of masks and gates: `lr`, from each of the `drops` on times its factor.

    Raises ValueError that names them as settings do: mask_lr, mask_lr_drops, mask_lr_factors.
    """

    lr: float = 0.0
    drops: tuple[float, ...] = ()
    factors: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        require(self.lr >= 0, "mask_lr", self.lr, "0 or more")
        require(is_rising(self.drops), "mask_lr_drops", self.drops, "rising shares between 0 and 1")
        same = len(self.factors) == len(self.drops)
        require(same, "mask_lr_factors", self.factors, "one factor for each of mask_lr_drops")
        require(
            all(factor >= 0 for factor in self.factors), "mask_lr_factors", self.factors, "0 or more each"
        )

    def without_rest(self) -> MaskRates:
        """The same without drops to 0: masks rest for weights to settle, which is no use where none moves."""
        kept = [(drop, factor) for drop, factor in zip(self.drops, self.factors, strict=True) if factor]
        return MaskRates(self.lr, tuple(drop for drop, _ in kept), tuple(factor for _, factor in kept))

    def at(self, epoch: int, epochs: int) -> float:
        """The rate in this epoch (from 1)."""
        passed = drops_before(epoch, epochs, self.drops)
        return self.lr * (self.factors[passed - 1] if passed else 1.0)
