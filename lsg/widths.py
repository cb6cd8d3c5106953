"""Widths of a network that are not its own: of the seed that growth starts from, and of a cap."""

from __future__ import annotations

import math

from lsg.networks.architecture import Architecture


def seed_widths(architecture: Architecture, fraction: float) -> dict[str, int]:
    """Channels of the seed network: a fraction of each stream, rounded half up, at least 1."""
    return {
        stream: max(1, math.floor(width * fraction + 0.5)) for stream, width in architecture.streams.items()
    }


def cap_widths(architecture: Architecture, cap: float) -> dict[str, int]:
    """Most channels of each stream for `cap` times the 1x network's weights (widths scale by its root)."""
    return {stream: int(width * math.sqrt(cap)) for stream, width in architecture.streams.items()}
