"""LeNet 20-50-800-500, as APD and the CL-LSG paper use it on CIFAR-100 Split, without normalisation.

5x5 convolutions (padding 2) with biases, ReLU, 3x3 max pooling with stride 2; two fully connected layers.
Local response normalisation is left out: it mixes neighbouring channels, so a channel grown later
would change what an earlier task computes. 2,986,500 shared weights at 1x on 32x32 RGB images.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lsg.networks.architecture import CLASSES, HEAD, IMAGE, Architecture, Layer, Widths


class LeNet(nn.Module):
    """Images `[N, C, H, W]` to logits `[N, classes]`."""

    def __init__(self, image_shape: tuple[int, int, int], widths: Widths, classes: int) -> None:
        super().__init__()
        channels, height, width = image_shape
        area = pooled(pooled(height)) * pooled(pooled(width))
        self.conv1 = nn.Conv2d(channels, widths["conv1"], 5, padding=2)
        self.conv2 = nn.Conv2d(widths["conv1"], widths["conv2"], 5, padding=2)
        self.pool = nn.MaxPool2d(3, stride=2, padding=1)
        self.fc1 = nn.Linear(widths["conv2"] * area, widths["fc1"])
        self.fc2 = nn.Linear(widths["fc1"], widths["fc2"])
        self.head = nn.Linear(widths["fc2"], classes)

    def forward(self, images: Tensor) -> Tensor:
        x = self.pool(torch.relu(self.conv1(images)))
        x = self.pool(torch.relu(self.conv2(x))).flatten(1)
        x = torch.relu(self.fc2(torch.relu(self.fc1(x))))
        logits: Tensor = self.head(x)
        return logits


def pooled(size: int) -> int:
    """Length of a side after 3x3 max pooling with stride 2 and padding 1."""
    return (size - 1) // 2 + 1


def lenet(image_shape: tuple[int, int, int]) -> Architecture:
    """LeNet 20-50-800-500 for images of `image_shape` (channels, height, width)."""
    _, height, width = image_shape
    once, twice = (pooled(height), pooled(width)), (pooled(pooled(height)), pooled(pooled(width)))
    return Architecture(
        name="lenet",
        image_shape=image_shape,
        streams={"conv1": 20, "conv2": 50, "fc1": 800, "fc2": 500},
        layers=(
            Layer("conv1", IMAGE, "conv1", area=25, positions=height * width),
            Layer("conv2", "conv1", "conv2", area=25, positions=once[0] * once[1]),
            Layer("fc1", "conv2", "fc1", area=twice[0] * twice[1], positions=1),
            Layer("fc2", "fc1", "fc2", area=1, positions=1),
        ),
        head=Layer(HEAD, "fc2", CLASSES, area=1, positions=1),
        norms={},
        biased=frozenset({"conv1", "conv2", "fc1", "fc2"}),
        make=lambda widths, classes: LeNet(image_shape, widths, classes),
    )
