"""An architecture from its description, beside the registry: a new network there leaves results valid."""

from collections.abc import Mapping, Sequence
from typing import Any

from lsg.networks import NETWORKS
from lsg.networks.architecture import Architecture


def architecture_of(network: Mapping[str, Any], image_shape: Sequence[int]) -> Architecture:
    """The architecture that `name` and options describe, for images of (channels, height, width).

    Raises ValueError where the options do not fit them.
    """
    options = {option: value for option, value in network.items() if option != "name"}
    return NETWORKS[network["name"]](tuple(image_shape), **options)
