"""What a further task adds to what is stored beside shared weights: mask bits, BatchNorm, biases, head.

Nothing is trained: the task picks 70 % of a 1x network's kernels at random, which is the worst case for
compressing its bits. CPG keeps one float a weight for the same purpose.

    python -m benchmarks.stored
"""

from __future__ import annotations

import zlib

import torch

from lsg.bank import Bank, Solution
from lsg.cost import FLOAT_BYTES, stored_bytes
from lsg.growth import initial_weights
from lsg.networks import NETWORKS
from lsg.networks.architecture import HEAD, Architecture

CLASSES, PICKED = 5, 0.7
NETWORK_OPTIONS: tuple[tuple[str, tuple[int, int, int], dict[str, int]], ...] = (
    ("lenet", (3, 32, 32), {}),
    ("vgg16-bn", (3, 32, 32), {"hidden": 0}),
    ("vgg16-bn", (3, 32, 32), {"hidden": 4096}),
    ("resnet18", (3, 84, 84), {}),
)


def second_task(architecture: Architecture) -> dict[str, torch.Tensor]:
    """What is stored for a task that picks from a full network and adds no kernel."""
    bank, widths, draws = Bank(architecture), dict(architecture.streams), torch.Generator().manual_seed(1)
    weights = initial_weights(architecture, widths, CLASSES, 1, 1)
    shapes = {layer.name: architecture.shape(layer, widths)[:2] for layer in architecture.layers}
    private = dict(architecture.make(widths, CLASSES).state_dict())
    own = {name: private[name] for name in architecture.private_streams()}
    everything = {name: torch.ones(shape, dtype=torch.bool) for name, shape in shapes.items()}
    bank.add(1, Solution(widths, CLASSES, weights, everything, own))
    picked = {name: torch.rand(shape, generator=draws) < PICKED for name, shape in shapes.items()}
    bank.add(2, Solution(widths, CLASSES, weights, picked, own))
    return bank.tensors(2)


def main() -> None:
    print("bytes of a further task that adds no kernel to the 1x network")
    for name, shape, options in NETWORK_OPTIONS:
        architecture = NETWORKS[name](shape, **options)
        stored = second_task(architecture)
        bits = {key: tensor for key, tensor in stored.items() if key.endswith(".used")}
        head = {key: tensor for key, tensor in stored.items() if key.startswith(HEAD)}
        packed = sum(len(zlib.compress(tensor.numpy().tobytes(), 9)) for tensor in bits.values())
        total, floats = stored_bytes(stored), FLOAT_BYTES * architecture.weights(architecture.streams)
        rest = total - stored_bytes(bits) - stored_bytes(head)
        print(
            f"{name:9}{options!s:20} {total:>10,}: bits {stored_bytes(bits):,} (deflated {packed:,}), head "
            f"{stored_bytes(head):,}, BatchNorm and biases {rest:,}; a float a weight: {floats:,}"
        )


if __name__ == "__main__":
    main()
