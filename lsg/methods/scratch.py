"""Scratch: every task trains a dense 1x network of its own from random weights.

It is the paper's yardstick: its accuracies are the targets of CL-LSG, CPG and DEN. Nothing is shared,
nothing is forgotten, and t tasks cost t networks. Source: CPG's `baseline_cifar100.sh` (last epoch).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from lsg.methods.dense import Dense


@dataclass(frozen=True)
class ScratchSettings:
    """Scratch has no coefficients of its own."""


class Scratch(Dense):
    """A fresh network for every task."""

    Settings: ClassVar[type] = ScratchSettings
