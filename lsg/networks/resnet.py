"""ResNet18 with BatchNorm for 84x84 images (MiniImageNet), after TRGP's loader and He et al. 2016.

Stem: one 3x3 convolution with stride 2, no max pooling; four stages of two basic blocks; global average
pooling. `width` is the channels of the first stage (64; TRGP's small variant has 20).

All layers that add into one stage's residual stream share its channels, the stem in stage 1's; the
inner convolution of each block has a stream of its own.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lsg.networks.architecture import CLASSES, HEAD, IMAGE, Architecture, Layer, Widths
from lsg.networks.norm import BatchNorm2d
from lsg.settings import require

STAGES = 4
BLOCKS = 2


class Shortcut(nn.Conv2d):
    """1x1 convolution of every second pixel, as one with stride 2.

    The stride is taken before: on CPUs with AVX2 alone, oneDNN's gradient of a strided 1x1 convolution of
    fewer than 8 channels, channels last, writes past its buffer (uxlfoundation/oneDNN#6035), and small
    networks have such layers.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, 1, bias=False)

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input[:, :, ::2, ::2])


class BasicBlock(nn.Module):
    """relu(shortcut(x) + conv(relu(conv(x)))), each convolution followed by BatchNorm."""

    def __init__(self, inputs: int, inner: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, inner, 3, stride=stride, padding=1, bias=False)
        self.norm1 = BatchNorm2d(inner)
        self.conv2 = nn.Conv2d(inner, outputs, 3, padding=1, bias=False)
        self.norm2 = BatchNorm2d(outputs)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1:
            self.shortcut = nn.Sequential(Shortcut(inputs, outputs), BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        inner = torch.relu(self.norm1(self.conv1(x)))
        return torch.relu(self.norm2(self.conv2(inner)) + self.shortcut(x))


class ResNet(nn.Module):
    """Images `[N, C, H, W]` to logits `[N, classes]`."""

    def __init__(self, channels: int, widths: Widths, classes: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(channels, widths["stage1"], 3, stride=2, padding=1, bias=False)
        self.norm = BatchNorm2d(widths["stage1"])
        self.stages = nn.ModuleList()
        inputs = widths["stage1"]
        for stage in range(1, STAGES + 1):
            outputs, blocks = widths[f"stage{stage}"], nn.ModuleList()
            for block in range(1, BLOCKS + 1):
                stride = 2 if stage > 1 and block == 1 else 1
                blocks.append(BasicBlock(inputs, widths[f"inner{stage}_{block}"], outputs, stride))
                inputs = outputs
            self.stages.append(blocks)
        self.head = nn.Linear(inputs, classes)

    def forward(self, images: Tensor) -> Tensor:
        x = torch.relu(self.norm(self.stem(images)))
        for blocks in self.stages:
            assert isinstance(blocks, nn.ModuleList)
            for block in blocks:
                x = block(x)
        logits: Tensor = self.head(x.mean((2, 3)))
        return logits


def resnet18(image_shape: tuple[int, int, int], width: int = 64) -> Architecture:
    """ResNet18 for any image size; `width` channels in the first stage, doubled in each further one."""
    require(width >= 1, "network.width", width, "1 or more")
    channels, height, breadth = image_shape
    side = (halved(height), halved(breadth))
    layers = [Layer("stem", IMAGE, "stage1", 9, side[0] * side[1])]
    norms, streams, source = {"norm": "stage1"}, {}, "stage1"
    for stage in range(1, STAGES + 1):
        target = f"stage{stage}"
        streams[target] = width << (stage - 1)
        if stage > 1:
            side = (halved(side[0]), halved(side[1]))
        for block in range(1, BLOCKS + 1):
            path, inner, area = f"stages.{stage - 1}.{block - 1}", f"inner{stage}_{block}", side[0] * side[1]
            streams[inner] = width << (stage - 1)
            layers += [
                Layer(f"{path}.conv1", source, inner, 9, area),
                Layer(f"{path}.conv2", inner, target, 9, area),
            ]
            norms |= {f"{path}.norm1": inner, f"{path}.norm2": target}
            if stage > 1 and block == 1:
                layers.append(Layer(f"{path}.shortcut.0", source, target, 1, area))
                norms[f"{path}.shortcut.1"] = target
            source = target
    return Architecture(
        name="resnet18",
        image_shape=image_shape,
        streams=streams,
        layers=tuple(layers),
        head=Layer(HEAD, source, CLASSES, area=1, positions=1),
        norms=norms,
        biased=frozenset(),
        make=lambda widths, classes: ResNet(channels, widths, classes),
    )


def halved(size: int) -> int:
    """Length of a side after a 3x3 (padding 1) or 1x1 convolution with stride 2."""
    return (size - 1) // 2 + 1
