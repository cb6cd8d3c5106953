"""Networks by name. A new network is one file that returns an `Architecture`, and one line here."""

from collections.abc import Callable

from lsg.networks.architecture import Architecture
from lsg.networks.lenet import lenet
from lsg.networks.resnet import resnet18
from lsg.networks.vgg import vgg16_bn

NETWORKS: dict[str, Callable[..., Architecture]] = {
    "lenet": lenet,
    "vgg16-bn": vgg16_bn,
    "resnet18": resnet18,
}

__all__ = ["NETWORKS", "Architecture"]
