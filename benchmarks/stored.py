"""What a further task adds to what is stored beside shared weights: mask bits, BatchNorm, biases, head.

Nothing is trained: the task picks 70 % of a 1x network's kernels at random, which is next to the worst case
for compressing its bits. Without masks in fully connected layers (`linear_masks: false`) it picks all there.
CPG keeps one float a weight for the same purpose.

    python -m benchmarks.stored
"""

from __future__ import annotations

import zlib

import torch

from lsg.bank import Bank, Solution
from lsg.cost import FLOAT_BYTES, stored_bytes
from lsg.initial import initial_weights
from lsg.networks import NETWORKS
from lsg.networks.architecture import HEAD, Architecture

CLASSES, PICKED = 5, 0.7
NETWORK_OPTIONS: tuple[tuple[str, tuple[int, int, int], dict[str, int]], ...] = (
    ("lenet", (3, 32, 32), {}),
    ("vgg16-bn", (3, 32, 32), {"hidden": 0}),
    ("vgg16-bn", (3, 32, 32), {"hidden": 4096}),
    ("resnet18", (3, 84, 84), {}),
)


def second_task(architecture: Architecture, linear_masks: bool) -> dict[str, torch.Tensor]:
    """What is stored for a task that picks from a full network and adds no kernel."""
    bank, widths, draws = Bank(architecture), dict(architecture.streams), torch.Generator().manual_seed(1)
    weights = initial_weights(architecture, widths, CLASSES, 1, 1)
    shapes = {layer.name: architecture.shape(layer, widths)[:2] for layer in architecture.layers}
    private = dict(architecture.make(widths, CLASSES).state_dict())
    own = {name: private[name] for name in architecture.private_streams()}
    everything = {name: torch.ones(shape, dtype=torch.bool) for name, shape in shapes.items()}
    bank.add(1, Solution(widths, CLASSES, weights, everything, own))
    whole = {layer.name for layer in architecture.layers if layer.is_linear and not linear_masks}
    picked = {
        name: torch.rand(shape, generator=draws) < (1.0 if name in whole else PICKED)
        for name, shape in shapes.items()
    }
    bank.add(2, Solution(widths, CLASSES, weights, picked, own))
    return bank.tensors(2)


def report(architecture: Architecture, linear_masks: bool) -> str:
    """Bytes of the task and of its parts."""
    stored = second_task(architecture, linear_masks)
    bits = {key: tensor for key, tensor in stored.items() if key.endswith(".used")}
    head = {key: tensor for key, tensor in stored.items() if key.startswith(HEAD)}
    packed = sum(len(zlib.compress(tensor.numpy().tobytes(), 9)) for tensor in bits.values() if len(tensor))
    total, floats = stored_bytes(stored), FLOAT_BYTES * architecture.weights(architecture.streams)
    rest = total - stored_bytes(bits) - stored_bytes(head)
    masks = "" if linear_masks else ", no linear masks"
    return (
        f"{total:>10,}{masks}: bits {stored_bytes(bits):,} (deflated {packed:,}), "
        f"head {stored_bytes(head):,}, BatchNorm and biases {rest:,}; a float a weight: {floats:,}"
    )


def main() -> None:
    print("bytes of a further task that adds no kernel to the 1x network")
    for name, shape, options in NETWORK_OPTIONS:
        architecture = NETWORKS[name](shape, **options)
        for linear_masks in (
            (True, False) if any(layer.is_linear for layer in architecture.layers) else (True,)
        ):
            print(f"{name:9}{options!s:18}", report(architecture, linear_masks))


if __name__ == "__main__":
    main()
