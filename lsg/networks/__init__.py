"""Networks by name. A new network is one file that returns an `Architecture`, and one line here."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from lsg.networks.architecture import Architecture, Layer, Widths
from lsg.networks.lenet import lenet
from lsg.networks.resnet import resnet18
from lsg.networks.vgg import vgg16_bn

NETWORKS: dict[str, Callable[..., Architecture]] = {
    "lenet": lenet,
    "vgg16-bn": vgg16_bn,
    "resnet18": resnet18,
}


def architecture_of(network: Mapping[str, Any], image_shape: Sequence[int]) -> Architecture:
    """The architecture that `name` and options describe, for images of (channels, height, width).

    Raises ValueError where the options do not fit them.
    """
    options = {option: value for option, value in network.items() if option != "name"}
    return NETWORKS[network["name"]](tuple(image_shape), **options)


__all__ = ["NETWORKS", "Architecture", "Layer", "Widths", "architecture_of"]
