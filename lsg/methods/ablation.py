"""The rows of the paper's ablation (table 8): CL-LSG with its parts added one after the other.

    grow-target    growth alone, where the target asks for it
    grow+sel       and masks m^s on preserved kernels
    grow+sel+lsg   and masks m^a on new kernels (learnable sparse growth)
    cl-lsg         and training of released kernels

All rows share one two-stage rule and one growth trigger; a row is CL-LSG with other defaults.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from lsg.methods.cl_lsg import PARTS, ClLsg, ClLsgSettings
from lsg.settings import require_own


@dataclass(frozen=True)
class _RowSettings(ClLsgSettings):
    """CL-LSG's coefficients, of which a row decides which parts there are."""

    fixed: ClassVar[tuple[str, ...]] = PARTS

    def __post_init__(self) -> None:
        super().__post_init__()
        require_own(self)


@dataclass(frozen=True)
class GrowTargetSettings(_RowSettings):
    """No part but growth."""

    selective: bool = False
    attentive: bool = False
    retrain: bool = False


@dataclass(frozen=True)
class GrowSelSettings(_RowSettings):
    """Growth and m^s."""

    attentive: bool = False
    retrain: bool = False


@dataclass(frozen=True)
class GrowSelLsgSettings(_RowSettings):
    """Growth, m^s and m^a."""

    retrain: bool = False


class GrowTarget(ClLsg):
    """Row 1."""

    Settings: ClassVar[type] = GrowTargetSettings
    extends: ClassVar[str | None] = "cl-lsg"


class GrowSel(ClLsg):
    """Row 2."""

    Settings: ClassVar[type] = GrowSelSettings
    extends: ClassVar[str | None] = "cl-lsg"


class GrowSelLsg(ClLsg):
    """Row 3."""

    Settings: ClassVar[type] = GrowSelLsgSettings
    extends: ClassVar[str | None] = "cl-lsg"
