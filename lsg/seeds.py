"""Random streams named by what they are for, so that no stream depends on how often another was used."""

from __future__ import annotations

import zlib
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

Uniform = Callable[[int], Tensor]
"""Draws that many numbers from [0, 1)."""


def derived(purpose: str, *numbers: int) -> int:
    """A 63-bit seed for one purpose and position, such as ("order", seed, task, epoch)."""
    sequence = np.random.SeedSequence((zlib.crc32(purpose.encode()), *numbers))
    return int(sequence.generate_state(1, np.uint64)[0] >> 1)


def generator(device: torch.device | str, purpose: str, *numbers: int) -> torch.Generator:
    """A torch generator on `device`, seeded by `derived`."""
    return torch.Generator(device).manual_seed(derived(purpose, *numbers))
