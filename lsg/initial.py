"""Initial weights that depend on nothing but who they are: (seed, task, layer, output channel).

Each output channel of each layer has a random stream of its own, read along the input channels. A
network of candidates in chunks and one built at full size at once therefore start from equal numbers,
and so does a run that was killed and started again.
"""

from __future__ import annotations

import math
import zlib

import numpy as np
import torch
from torch import Tensor

from lsg.networks.architecture import HEAD, Architecture, Layer, Widths

HEAD_DEVIATION = 0.01


def deviation(architecture: Architecture, layer: Layer) -> float:
    """Kaiming normal with the fan-in of the dense 1x network; N(0, 0.01) for a head (as CPG)."""
    return HEAD_DEVIATION if layer.name == HEAD else math.sqrt(2 / architecture.fan_in(layer))


def draw(
    architecture: Architecture,
    layer: Layer,
    outputs: int,
    inputs: int,
    seed: int,
    task: int,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """Initial kernels `[outputs, inputs, area]` of a layer."""
    name = zlib.crc32(layer.name.encode())
    weights = np.empty((outputs, inputs * layer.area))
    for row in range(outputs):
        stream = np.random.Generator(np.random.Philox(np.random.SeedSequence((seed, task, name, row))))
        weights[row] = stream.standard_normal(inputs * layer.area)
    scaled = torch.from_numpy(weights * deviation(architecture, layer))
    return scaled.to(dtype).view(outputs, inputs, layer.area)


def initial_weights(
    architecture: Architecture,
    widths: Widths,
    classes: int,
    seed: int,
    task: int,
    dtype: torch.dtype = torch.float32,
) -> dict[str, Tensor]:
    """Freshly drawn kernels of every layer, the head included, at these widths."""
    grids = {}
    for layer in (*architecture.layers, architecture.head):
        outputs, inputs, _ = architecture.shape(layer, widths, classes)
        grids[layer.name] = draw(architecture, layer, outputs, inputs, seed, task, dtype)
    return grids
