"""Training a growing network at the size it has, against masking one of full size from the start.

For each size that the paper's Table 3 prints (VGG16-BN, 20 tasks): a step of the network of that size with
all masks; a step of the 1.5x network with the same masks and update; and the 1.5x network with masks in the
graph, as a straight implementation has them (w * mask as a module, autograd through it). The sum over the
sizes is the cost of the sequence.

    python -m benchmarks.compact --network vgg16-bn-linear
"""

from __future__ import annotations

import argparse
from math import sqrt

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import cross_entropy

from benchmarks.step import ARCHITECTURES, CLASSES, MASK_RATE, RATE, MaskedStep, batch
from benchmarks.timing import interleaved, machine, ratios, spread
from lsg.masks import INITIAL_LOGIT, sample_kernels
from lsg.networks.architecture import Architecture
from lsg.widths import cap_widths

FIRST_TEN = (0.3, 0.4, 0.48, 0.56, 0.65, 0.75, 0.75, 0.83, 0.94, 0.94)
TABLE_3 = (*FIRST_TEN, 1.12, 1.18, 1.24, 1.24, 1.30, 1.30, 1.38, 1.44, 1.44, 1.5)
FULL = 1.5


class NaiveStep:
    """Masks as a straight implementation has them: hard + (soft - soft.detach()) in the graph."""

    def __init__(self, architecture: Architecture, widths: dict[str, int]) -> None:
        self.network = architecture.make(widths, CLASSES)
        names = [f"{layer.name}.weight" for layer in architecture.layers]
        self.weights: dict[str, nn.Parameter] = {name: self.network.get_parameter(name) for name in names}
        self.logits: dict[str, Tensor] = {}
        for layer in architecture.layers:
            shape = architecture.shape(layer, widths)[:2]
            self.logits[f"{layer.name}.weight"] = torch.full(shape, INITIAL_LOGIT).requires_grad_()
        self.areas = {f"{layer.name}.weight": layer.area for layer in architecture.layers}
        self.sgd = torch.optim.SGD(
            self.network.parameters(), RATE, 0.9, weight_decay=4e-5, nesterov=True, fused=True
        )
        self.adam = torch.optim.Adam(self.logits.values(), MASK_RATE, fused=True)

    def __call__(self, images: Tensor, labels: Tensor) -> None:
        self.sgd.zero_grad()
        self.adam.zero_grad()
        masked = {name: self._masked(name) for name in self.weights}
        cross_entropy(functional_call(self.network, masked, (images,)), labels).backward()
        self.sgd.step()
        self.adam.step()

    def _masked(self, name: str) -> Tensor:
        logits, weight = self.logits[name], self.weights[name]
        sample = sample_kernels(logits.detach(), torch.rand(logits.shape), "logit")
        soft = sample.slope * logits
        mask = sample.bits + (soft - soft.detach())
        kernels = weight.view(*logits.shape, self.areas[name]) * mask.unsqueeze(2)
        return kernels.view_as(weight)


def widths_of(architecture: Architecture, size: float) -> dict[str, int]:
    """Uniform widths with about `size` times the 1x weights."""
    return {stream: max(1, round(width * sqrt(size))) for stream, width in architecture.streams.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--network", choices=ARCHITECTURES, default="vgg16-bn-linear")
    parser.add_argument("--rounds", type=int, default=9)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    architecture = ARCHITECTURES[arguments.network]
    images, labels = batch(architecture)
    full = cap_widths(architecture, FULL)
    steps = {
        f"{size}x": MaskedStep(architecture, widths_of(architecture, size)) for size in sorted(set(TABLE_3))
    }
    naive, ours = NaiveStep(architecture, full), MaskedStep(architecture, full)

    def sequence() -> None:
        for size in TABLE_3:
            steps[f"{size}x"](images, labels)

    def repeated(step: MaskedStep | NaiveStep) -> None:
        for _ in TABLE_3:
            step(images, labels)

    actions = {
        "compact": sequence,
        "full, our update": lambda: repeated(ours),
        "full, masks in graph": lambda: repeated(naive),
    }
    seconds = interleaved(actions, arguments.rounds)
    print(machine())
    for name, values in seconds.items():
        print(f"{name:22} {1000 * spread(values).median / len(TABLE_3):8.1f} ms a step")
    for name in list(actions)[1:]:
        print(f"{name} / compact: {ratios(seconds, name, 'compact')}")


if __name__ == "__main__":
    main()
