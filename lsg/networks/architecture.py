"""What growth has to know about a network: which layer reads and writes which stream of channels.

A *stream* is a group of channels that must grow together: the output of one layer, or, with residual
additions, of all layers that add into the same stream. A layer's weight is a grid of kernels
``[outputs, inputs, area]``; a flattened fully connected layer is a convolution whose kernel is the
feature map, so its area is the map's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from torch import Tensor, nn

IMAGE = "image"
CLASSES = "classes"
HEAD = "head"

Widths = Mapping[str, int]
Grids = dict[str, Tensor]
"""Kernels by layer, `[outputs, inputs, area]`."""


def widened(grid: Tensor, shape: Sequence[int]) -> Tensor:
    """The grid in the first corner of a larger one that is 0 everywhere else."""
    wider = grid.new_zeros(shape)
    wider[tuple(slice(size) for size in grid.shape)] = grid
    return wider


def without_head(vectors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What of these tensors by module name is not the head's."""
    return {name: vector for name, vector in vectors.items() if not name.startswith(HEAD)}


@dataclass(frozen=True)
class Layer:
    """A layer whose kernels can be masked. `name` is the module's path in the network."""

    name: str
    source: str
    target: str
    area: int
    positions: int
    """Places of the feature map at which each kernel is applied (1 for a fully connected layer)."""
    repeat: int = 1
    """Kernels a pair of channels: 1, or with element-wise masks as many as the pair has weights."""

    @property
    def is_linear(self) -> bool:
        """Fully connected to channels that are single numbers, so that a kernel is one weight.

        A 1x1 convolution of a 1x1 map is the same.
        """
        return self.area == self.positions == self.repeat == 1


@dataclass(frozen=True)
class Architecture:
    """A family of networks of one shape and any widths.

    `streams` holds the channels of the dense 1x network, `norms` the stream that each BatchNorm module
    normalises, `make(widths, classes)` a plain module; `biased` names the layers that carry a bias.
    """

    name: str
    image_shape: tuple[int, int, int]
    streams: Mapping[str, int]
    layers: tuple[Layer, ...]
    head: Layer
    norms: Mapping[str, str]
    biased: frozenset[str]
    make: Callable[[Widths, int], nn.Module]

    def channels(self, stream: str, widths: Widths, classes: int = 0) -> int:
        """Channels of `stream`, the image and the classes included."""
        if stream == IMAGE:
            return self.image_shape[0]
        return classes if stream == CLASSES else widths[stream]

    def shape(self, layer: Layer, widths: Widths, classes: int = 0) -> tuple[int, int, int]:
        """The layer's weight as a grid of kernels: outputs, inputs, area."""
        inputs = self.channels(layer.source, widths) * layer.repeat
        return self.channels(layer.target, widths, classes), inputs, layer.area

    def weights(self, widths: Widths) -> int:
        """Shared (maskable) weights at these widths; heads, biases and BatchNorm are not counted."""
        total = 0
        for layer in self.layers:
            outputs, inputs, area = self.shape(layer, widths)
            total += outputs * inputs * area
        return total

    def macs(self, widths: Widths, classes: int) -> int:
        """Multiply-accumulate operations of one image's forward pass, the head included."""
        total = 0
        for layer in (*self.layers, self.head):
            outputs, inputs, area = self.shape(layer, widths, classes)
            total += outputs * inputs * area * layer.positions
        return total

    def fan_in(self, layer: Layer) -> int:
        """Inputs of one unit in the dense 1x network, which sets the scale of every initial weight."""
        return self.channels(layer.source, self.streams) * layer.repeat * layer.area

    def elementwise(self) -> Architecture:
        """The same networks with every weight a kernel of its own, for methods that mask single weights."""
        single = [replace(layer, area=1, repeat=layer.area) for layer in (*self.layers, self.head)]
        return replace(self, layers=tuple(single[:-1]), head=single[-1])

    def private_streams(self) -> dict[str, str]:
        """Vectors that belong to a task (biases, BatchNorm's affine and statistics) and their streams."""
        owners = {f"{layer.name}.bias": layer.target for layer in self.layers if layer.name in self.biased}
        for norm, stream in self.norms.items():
            owners |= {f"{norm}.{part}": stream for part in ("weight", "bias", "running_mean", "running_var")}
        return owners | {f"{HEAD}.bias": CLASSES}
