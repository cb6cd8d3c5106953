"""Columns with lateral connections, made of any architecture's plain networks.

Beside a column's network stands an adapter for each layer that reads a stream of channels. In column t that
layer computes

    W x + U relu(V [a_1 h_1, ..., a_(t-1) h_(t-1)] + b)

with x its input in column t and h_j the input of the same layer in column j, as that column computes it with
its own lateral connections. What follows the layer (BatchNorm, ReLU, pooling, a residual addition) follows
the sum. A column depends on earlier columns only, so they run one after the other.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.init import kaiming_normal_
from torch.utils.flop_counter import FlopCounterMode

from lsg.networks.architecture import IMAGE, Architecture, Layer, Widths

Hook = Callable[[nn.Module, tuple[Tensor], Tensor], Tensor]


def lateral_layers(architecture: Architecture) -> tuple[Layer, ...]:
    """The layers with adapters: all but the head and those that read the image."""
    return tuple(layer for layer in architecture.layers if layer.source != IMAGE)


class Adapter(nn.Module):
    """U relu(V [a_1 h_1, ..., a_n h_n] + b), what earlier columns add to the output of one layer.

    V is a 1x1 convolution to the column's own width, also before a flattened layer (on the channels of the
    feature map); U is a layer like the one that it adds to, without its bias.

    Args:
        layer: convolution or linear layer of this column.
        own: channels that this column's layer reads.
        earlier: channels that it reads in each earlier column.
    """

    def __init__(self, layer: nn.Module, own: int, earlier: Sequence[int]) -> None:
        super().__init__()
        self.channels = tuple(earlier)
        self.scales = nn.Parameter(torch.ones(len(earlier)))
        self.reduce = nn.Conv2d(sum(earlier), own, 1)
        self.spread = copy.deepcopy(layer)
        self.spread.register_parameter("bias", None)

    @torch.no_grad()
    def initialise(self, scale: float, draws: torch.Generator) -> None:
        """a from N(0, scale^2); V and U Kaiming normal, each for its own fan-in; b zero."""
        self.scales.normal_(0, scale, generator=draws)
        for layer in (self.reduce, self.spread):
            assert isinstance(layer.weight, Tensor)
            kaiming_normal_(layer.weight, nonlinearity="relu", generator=draws)
        assert self.reduce.bias is not None
        self.reduce.bias.zero_()

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """What is added, from the layer's inputs in earlier columns: `[N, C_j, H, W]` or flattened."""
        flat = inputs[0].dim() == 2
        maps = [
            scale * (h.unflatten(1, (channels, -1)).unsqueeze(-1) if flat else h)
            for scale, channels, h in zip(self.scales, self.channels, inputs, strict=True)
        ]
        reduced = torch.relu(self.reduce(torch.cat(maps, 1)))
        added: Tensor = self.spread(reduced.flatten(1) if flat else reduced)
        return added


class Column(nn.Module):
    """A plain network of the architecture, and its adapters unless it is the first column.

    Args:
        own: widths of this column.
        earlier: widths of the columns before it.
    """

    def __init__(
        self, architecture: Architecture, own: Widths, earlier: Sequence[Widths], classes: int
    ) -> None:
        super().__init__()
        self.network = architecture.make(own, classes)
        self.layers = tuple(layer.name for layer in lateral_layers(architecture))
        self.adapters = nn.ModuleDict()
        for layer in lateral_layers(architecture) if earlier else ():
            plain = self.network.get_submodule(layer.name)
            adapter = Adapter(plain, own[layer.source], [widths[layer.source] for widths in earlier])
            self.adapters[adapter_key(layer.name)] = adapter

    def forward(self, images: Tensor, inputs: Mapping[str, list[Tensor]]) -> Tensor:
        """Logits; to each layer's `inputs` in the columns before, its input in this one is added."""
        handles = [
            self.network.get_submodule(name).register_forward_hook(self._joined(name, inputs[name]))
            for name in self.layers
        ]
        try:
            logits: Tensor = self.network(images)
        finally:
            for handle in handles:
                handle.remove()
        return logits

    def _joined(self, name: str, inputs: list[Tensor]) -> Hook:
        """A forward hook that joins the layer to the earlier columns."""

        def hook(_layer: nn.Module, arguments: tuple[Tensor], output: Tensor) -> Tensor:
            if self.adapters:
                output = output + self.adapters[adapter_key(name)](inputs)
            inputs.append(arguments[0])
            return output

        return hook


def adapter_key(layer: str) -> str:
    """A layer's name as a module's name may be: without dots."""
    return layer.replace(".", "_")


class Columns(nn.Module):
    """Images `[N, C, H, W]` to the logits of the last column; the columns before it are frozen.

    Args:
        widths, classes: of each column.
    """

    def __init__(self, architecture: Architecture, widths: Sequence[Widths], classes: Sequence[int]) -> None:
        super().__init__()
        self.columns = nn.ModuleList(
            Column(architecture, own, widths[:place], count)
            for place, (own, count) in enumerate(zip(widths, classes, strict=True))
        )
        self.frozen.requires_grad_(False)

    @property
    def frozen(self) -> nn.ModuleList:
        """The columns of earlier tasks."""
        return self.columns[:-1]

    @property
    def last(self) -> Column:
        """The column of the task itself."""
        return cast(Column, self.columns[-1])

    def train(self, mode: bool = True) -> Columns:
        """Training mode is for the last column only: frozen BatchNorm keeps its statistics, and uses them."""
        super().train(mode)
        for column in self.frozen:
            column.eval()
        return self

    def forward(self, images: Tensor) -> Tensor:
        inputs: dict[str, list[Tensor]] = {name: [] for name in self.last.layers}
        with torch.no_grad():
            for column in self.frozen:
                column(images, inputs)
        return self.last.forward(images, inputs)


def adapter_weights(architecture: Architecture, own: Widths, earlier: Sequence[Widths]) -> int:
    """Weights of U and V of all adapters of a column; biases and scalars are not counted, as in layers."""
    total = 0
    for layer in lateral_layers(architecture) if earlier else ():
        outputs, inputs, area = architecture.shape(layer, own)
        total += outputs * inputs * area
        total += inputs * sum(widths[layer.source] for widths in earlier)
    return total


def column_weights(architecture: Architecture, widths: Sequence[Widths]) -> int:
    """Weights of all columns and their adapters, heads not counted."""
    return sum(
        architecture.weights(own) + adapter_weights(architecture, own, widths[:place])
        for place, own in enumerate(widths)
    )


@torch.no_grad()
def forward_macs(network: nn.Module, image_shape: tuple[int, int, int]) -> int:
    """Multiply-accumulate operations of one image's forward pass, counted by running it."""
    with FlopCounterMode(display=False) as counter:
        network.eval()(torch.zeros(1, *image_shape))
    return int(counter.get_total_flops()) // 2
