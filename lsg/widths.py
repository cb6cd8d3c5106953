"""Widths of a network that are not its own: of the seed that growth starts from, of a chunk, of a cap."""

from __future__ import annotations

import math

from lsg.networks.architecture import Architecture

ROUNDING = 1e-9
"""A product such as 50 * 1.14 may lie this little beside the whole number that it is."""


def widths_at(architecture: Architecture, fraction: float) -> dict[str, int]:
    """Channels of a fraction of each stream, rounded half up, at least 1: of the seed, or of a chunk."""
    return {
        stream: max(1, math.floor(width * fraction + 0.5)) for stream, width in architecture.streams.items()
    }


def cap_widths(architecture: Architecture, cap: float) -> dict[str, int]:
    """Most channels of each stream for `cap` times the 1x network's weights (widths scale by its root)."""
    return scaled_widths(architecture, math.sqrt(cap))


def scaled_widths(architecture: Architecture, factor: float) -> dict[str, int]:
    """Channels of each stream, so many times those of the 1x network, rounded down."""
    return {stream: int(width * factor + ROUNDING) for stream, width in architecture.streams.items()}
