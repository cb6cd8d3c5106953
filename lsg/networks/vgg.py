"""VGG16-BN for small images as CPG uses it on CIFAR-100 (its `custom_vgg_cifar100`).

3x3 convolutions without bias, BatchNorm, ReLU, five 2x2 max poolings; then two fully connected layers
of 4096 units without BatchNorm or dropout. 33,584,832 shared weights at 1x on 32x32 images;
`hidden=0` leaves the two out (linear head), 14,710,464. `width` is the channels of the first block (64);
the others keep their ratio to it, so `width=16, hidden=1024` is a quarter of every layer.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from lsg.networks.architecture import CLASSES, HEAD, IMAGE, Architecture, Layer, Widths
from lsg.networks.norm import BatchNorm2d
from lsg.settings import require

BLOCKS = ((1, 1), (2, 2), (4, 4, 4), (8, 8, 8), (8, 8, 8))
"""Channels of each layer, in widths of the first block."""
FC_STREAMS = ("fc1", "fc2")


class VGG(nn.Module):
    """Images `[N, C, H, W]` to logits `[N, classes]`."""

    def __init__(self, image_shape: tuple[int, int, int], widths: Widths, classes: int) -> None:
        super().__init__()
        inputs, height, width = image_shape
        self.blocks = nn.ModuleList()
        for number, block in enumerate(BLOCKS, start=1):
            parts: list[nn.Module] = []
            for place in range(1, len(block) + 1):
                outputs = widths[f"conv{number}_{place}"]
                parts += [
                    nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
                    BatchNorm2d(outputs),
                    nn.ReLU(),
                ]
                inputs = outputs
            self.blocks.append(nn.Sequential(*parts, nn.MaxPool2d(2)))
        inputs *= (height // 32) * (width // 32)
        self.fc = nn.ModuleList()
        for name in filter(widths.__contains__, FC_STREAMS):
            self.fc.append(nn.Linear(inputs, widths[name]))
            inputs = widths[name]
        self.head = nn.Linear(inputs, classes)

    def forward(self, images: Tensor) -> Tensor:
        x = images
        for block in self.blocks:
            x = block(x)
        x = x.flatten(1)
        for layer in self.fc:
            x = torch.relu(layer(x))
        logits: Tensor = self.head(x)
        return logits


def vgg16_bn(image_shape: tuple[int, int, int], hidden: int = 4096, width: int = 64) -> Architecture:
    """VGG16-BN for images whose sides are multiples of 32; `hidden` units in each of its two FC layers.

    This network is the dense 1x one that sizes are counted in, whatever its `width`. Raises ValueError for
    other image sizes, a negative `hidden`, or a `width` below 1.
    """
    _, height, breadth = image_shape
    _require_fit(height, breadth, hidden, width)
    area = (height // 32) * (breadth // 32)
    convolutions = _convolutions(height, breadth)
    connected = _fully_connected(convolutions[-1].target, area) if hidden else []
    layers = (*convolutions, *connected)
    return Architecture(
        name="vgg16-bn",
        image_shape=image_shape,
        streams=_channels(width) | {layer.target: hidden for layer in connected},
        layers=layers,
        head=Layer(HEAD, layers[-1].target, CLASSES, 1 if connected else area, positions=1),
        norms={f"blocks.{number}.{3 * place + 1}": stream for number, place, stream, _ in _places()},
        biased=frozenset(layer.name for layer in connected),
        make=lambda widths, classes: VGG(image_shape, widths, classes),
    )


def _require_fit(height: int, breadth: int, hidden: int, width: int) -> None:
    if height % 32 or breadth % 32:
        raise ValueError(
            f"vgg16-bn needs image sides that are multiples of 32, not {height}x{breadth}; set "
            "data.image_size to one, or take another network"
        )
    require(hidden >= 0, "network.hidden", hidden, "0 (linear head) or more")
    require(width >= 1, "network.width", width, "1 or more")


def _places() -> Iterator[tuple[int, int, str, int]]:
    """Each convolution's block and its place there, both from 0, its stream, and its channels in widths."""
    for number, block in enumerate(BLOCKS):
        for place, ratio in enumerate(block):
            yield number, place, f"conv{number + 1}_{place + 1}", ratio


def _channels(width: int) -> dict[str, int]:
    return {stream: width * ratio for _, _, stream, ratio in _places()}


def _convolutions(height: int, breadth: int) -> list[Layer]:
    """One after the other; each block works on sides half as long as the one before."""
    layers, source = [], IMAGE
    for number, place, stream, _ in _places():
        positions = (height >> number) * (breadth >> number)
        layers.append(Layer(f"blocks.{number}.{3 * place}", source, stream, 9, positions))
        source = stream
    return layers


def _fully_connected(source: str, area: int) -> list[Layer]:
    """The first of them reads a feature map of `area` places."""
    first, second = FC_STREAMS
    return [
        Layer("fc.0", source, first, area, positions=1),
        Layer("fc.1", first, second, area=1, positions=1),
    ]
