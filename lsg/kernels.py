"""The kernel table: one flat layout for all kernels of a network, its head included.

Every masked layer is a grid of kernels `[outputs, inputs, area]`. The table puts all grids behind one
another, layers of equal area together, so that a quantity a weight is one vector of `weights` entries, a
quantity a kernel one of `count` entries, and the update of `lsg.update` a handful of vector operations on
each block: on an accelerator a block for each area (few launches), on a CPU blocks that fit its cache.
Channels have an index too: 0 is the channel that is always on (an image's, a class's), then come the
streams one after the other. `input` and `output` name the channels that each kernel reads and writes.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby

import torch
from torch import Tensor

from lsg.networks.architecture import CLASSES, IMAGE, Architecture, Widths

ALWAYS_ON = 0
MOST_WEIGHTS, MOST_KERNELS = 2**19, 2**16
"""Of a block on a CPU: what a step computes there stays in its caches, and calls still cost little."""


@dataclass(frozen=True)
class Block:
    """Consecutive kernels of one area, and the consecutive weights that they are made of."""

    area: int
    kernels: slice
    weights: slice

    def rows(self, per_weight: Tensor) -> Tensor:
        """The block's part of a per-weight vector, as a view `[kernels, area]`."""
        return per_weight[self.weights].view(-1, self.area)

    def pieces(self) -> list[Block]:
        """The block as consecutive ones within `MOST_WEIGHTS` and `MOST_KERNELS`."""
        first, last = self.kernels.start, self.kernels.stop
        step = min(MOST_KERNELS, MOST_WEIGHTS // self.area)
        origin = self.weights.start - first * self.area
        return [
            Block(self.area, slice(begin, end), slice(origin + begin * self.area, origin + end * self.area))
            for begin, end in ((begin, min(begin + step, last)) for begin in range(first, last, step))
        ]


class KernelTable:
    """Where each kernel, weight and channel of a network of given widths stands in the flat vectors."""

    def __init__(
        self, architecture: Architecture, widths: Widths, classes: int, device: torch.device | str = "cpu"
    ) -> None:
        self.widths = {stream: widths[stream] for stream in architecture.streams}
        self.layers = sorted((*architecture.layers, architecture.head), key=lambda layer: layer.area)
        self.shapes = {layer.name: architecture.shape(layer, widths, classes) for layer in self.layers}
        self._lay_out_kernels(in_pieces=torch.device(device).type == "cpu")
        self._lay_out_channels()
        inputs, outputs = [], []
        for layer in self.layers:
            rows, columns = (
                architecture.channels(stream, widths, classes) for stream in (layer.target, layer.source)
            )
            row = self.channel_indices(layer.target, rows)
            column = self.channel_indices(layer.source, columns).repeat_interleave(layer.repeat)
            inputs.append(column.repeat(len(row)))
            outputs.append(row.repeat_interleave(len(column)))
        self.input = torch.cat(inputs).to(device, torch.int32)
        self.output = torch.cat(outputs).to(device, torch.int32)

    def _lay_out_kernels(self, in_pieces: bool) -> None:
        self.kernels_of: dict[str, slice] = {}
        self.weights_of: dict[str, slice] = {}
        self.blocks: list[Block] = []
        kernel = weight = 0
        for area, layers in groupby(self.layers, key=lambda layer: layer.area):
            first_kernel, first_weight = kernel, weight
            for layer in layers:
                count = self.shapes[layer.name][0] * self.shapes[layer.name][1]
                self.kernels_of[layer.name] = slice(kernel, kernel + count)
                self.weights_of[layer.name] = slice(weight, weight + count * area)
                kernel, weight = kernel + count, weight + count * area
            whole = Block(area, slice(first_kernel, kernel), slice(first_weight, weight))
            self.blocks += whole.pieces() if in_pieces else [whole]
        self.count, self.weights = kernel, weight

    def _lay_out_channels(self) -> None:
        self.channels_of: dict[str, slice] = {}
        channel = ALWAYS_ON + 1
        for stream, width in self.widths.items():
            self.channels_of[stream] = slice(channel, channel + width)
            channel += width
        self.channels = channel

    def channel_indices(self, stream: str, size: int) -> Tensor:
        """The index of each of a stream's `size` channels; an image's and classes' are always on."""
        if stream in (IMAGE, CLASSES):
            return torch.full((size,), ALWAYS_ON)
        span = self.channels_of[stream]
        return torch.arange(span.start, span.stop)

    def grid(self, per_weight: Tensor, layer: str) -> Tensor:
        """The layer's part of a per-weight vector, as a view `[outputs, inputs, area]`."""
        return per_weight[self.weights_of[layer]].view(self.shapes[layer])

    def spans(self, block: Block) -> dict[str, slice]:
        """The layers that a block has weights of, in its order, and which of each layer's weights."""
        spans = {}
        for layer, whole in self.weights_of.items():
            first, last = max(block.weights.start, whole.start), min(block.weights.stop, whole.stop)
            if first < last:
                spans[layer] = slice(first - whole.start, last - whole.start)
        return spans

    def kernel_grid(self, per_kernel: Tensor, layer: str) -> Tensor:
        """The layer's part of a per-kernel vector, as a view `[outputs, inputs]`."""
        return per_kernel[self.kernels_of[layer]].view(self.shapes[layer][:2])
