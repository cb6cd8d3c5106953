"""What a network costs: size three ways, stored bytes, training. MACs are `Architecture.macs`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from lsg.networks.architecture import Architecture, Widths

FLOAT_BYTES = 4
BACKWARD_COST = 3
"""MACs of forward and backward together, in units of the forward pass."""


@dataclass(frozen=True)
class Size:
    """Model size over the weights of the dense 1x network (docs/methods.md).

    allocated: shared weights in the allocated channels, used or not (the paper's "Model Size").
    used: shared weights that some task owns, or as the method counts them (docs/methods.md).
    stored: bytes in the tasks' files (weights, mask bits, biases, BatchNorm, heads, answers to the probe)
        over the bytes of the dense network's weights in float32.
    """

    allocated: float
    used: float
    stored: float


def stored_bytes(tensors: Mapping[str, Tensor]) -> int:
    """Bytes of the tensors' data."""
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())


def macs_of_frozen(whole: int, frozen: int) -> int:
    """MACs of an image to count where `frozen` of `whole` have no backward pass."""
    return whole - frozen + frozen // BACKWARD_COST


def training_macs(architecture: Architecture, widths: Widths, classes: int, images: int) -> int:
    """Multiply-accumulates of a training run at these widths, forward and backward.

    `images` counts each image once an epoch.
    """
    return BACKWARD_COST * images * architecture.macs(widths, classes)
