"""A training step with all masks against the same dense network under torch's SGD.

Same widths, same batch, same forward and backward pass, channels last; 70 % of the kernels are preserved and
frozen with a mask m^s, the others train with a mask m^a, and a quarter of each stream are candidates with
gates m^g. The dense step's SGD is torch's fused one, the fastest.

    python -m benchmarks.step --network lenet vgg16-bn-linear resnet18 --share 0.125 0.55 1.0
    python -m benchmarks.step --dense        # our step of a network without masks, over torch's
    python -m benchmarks.step --operations
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from functools import partial
from unittest.mock import patch

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from benchmarks.operations import counted
from benchmarks.timing import interleaved, machine, ratios, spread
from lsg import kernels
from lsg.initial import initial_weights
from lsg.masks import GateSchedule
from lsg.networks import NETWORKS
from lsg.networks.architecture import HEAD, Architecture
from lsg.optimizers import SGD, Adam
from lsg.update import Masking, Update
from lsg.widths import widths_at
from lsg.workspace import Workspace

CLASSES, BATCH, RATE, MASK_RATE = 10, 32, 0.01, 5e-4
ARCHITECTURES: dict[str, Architecture] = {
    "lenet": NETWORKS["lenet"]((3, 32, 32)),
    "vgg16-bn-linear": NETWORKS["vgg16-bn"]((3, 32, 32), hidden=0),
    "vgg16-bn": NETWORKS["vgg16-bn"]((3, 32, 32)),
    "resnet18": NETWORKS["resnet18"]((3, 84, 84)),
}
PRESERVED, CANDIDATES = 0.7, 0.25


class MaskedStep:
    """A workspace with every kind of mask, and one step of it."""

    def __init__(
        self,
        architecture: Architecture,
        widths: dict[str, int],
        linear_masks: bool = True,
        single_weights: bool = False,
    ) -> None:
        architecture = architecture.elementwise() if single_weights else architecture
        draws = torch.Generator().manual_seed(1)
        weights = initial_weights(architecture, widths, CLASSES, 1, 1)
        optimizers = (SGD(0.9), Adam())
        self.workspace = Workspace(architecture, widths, CLASSES, optimizers, weights, {})
        preserved = torch.rand(self.workspace.table.count, generator=draws) < PRESERVED
        self.workspace.trainable[preserved] = False
        self.workspace.masked[:] = True
        for each in (self.workspace.trainable, self.workspace.masked):
            self.workspace.table.kernel_grid(each, HEAD)[:] = each is self.workspace.trainable
        for layer in architecture.layers:
            if layer.is_linear and not linear_masks:
                self.workspace.table.kernel_grid(self.workspace.masked, layer.name)[:] = False
        for span in self.workspace.table.channels_of.values():
            first = span.stop - round((span.stop - span.start) * CANDIDATES)
            self.workspace.candidate[first : span.stop] = True
            self.workspace.gate_logit.value[first : span.stop] = 0.02
        masking = Masking("logit", GateSchedule(100.0, 20.0, 20), 1e-4)
        self.update, self.draws = Update(self.workspace, masking, 4e-5), draws
        self.update.begin_epoch(self.uniform)

    def uniform(self, count: int) -> Tensor:
        return torch.rand(count, generator=self.draws)

    def __call__(self, images: Tensor, labels: Tensor) -> None:
        self.backward(images, labels)
        self.update.step(RATE, MASK_RATE, self.uniform)

    def backward(self, images: Tensor, labels: Tensor) -> None:
        cross_entropy(self.workspace.network(images), labels).backward()


class BareStep:
    """A workspace without masks, as Scratch trains it, and one step of it."""

    def __init__(self, architecture: Architecture, widths: dict[str, int]) -> None:
        weights = initial_weights(architecture, widths, CLASSES, 1, 1)
        optimizers = (SGD(0.9), Adam())
        workspace = Workspace(architecture, widths, CLASSES, optimizers, weights, {}, dense=True)
        self.network, self.update = workspace.network, Update(workspace, None, 4e-5)
        self.update.begin_epoch(torch.rand)

    def __call__(self, images: Tensor, labels: Tensor) -> None:
        cross_entropy(self.network(images), labels).backward()
        self.update.step(RATE, 0.0, torch.rand)


class DenseStep:
    """The same network without masks, under torch's own SGD."""

    def __init__(self, architecture: Architecture, widths: dict[str, int]) -> None:
        self.network = architecture.make(widths, CLASSES)
        self.optimizer = torch.optim.SGD(
            self.network.parameters(), RATE, 0.9, weight_decay=4e-5, nesterov=True, fused=True
        )

    def __call__(self, images: Tensor, labels: Tensor) -> None:
        self.optimizer.zero_grad()
        cross_entropy(self.network(images), labels).backward()
        self.optimizer.step()


def batch(architecture: Architecture) -> tuple[Tensor, Tensor]:
    """Random images, channels last, and labels."""
    images = torch.randn(BATCH, *architecture.image_shape)
    return images.contiguous(memory_format=torch.channels_last), torch.arange(BATCH) % CLASSES


Step = Callable[[Tensor, Tensor], None]


def measure(network: str, share: float, rounds: int, name: str, make: Callable[..., Step]) -> str:
    """One line: size, milliseconds, and the ratio of the step that is made to torch's dense one."""
    architecture = ARCHITECTURES[network]
    widths = widths_at(architecture, share)
    size = architecture.weights(widths) / architecture.weights(architecture.streams)
    images, labels = batch(architecture)
    ours, dense = make(architecture, widths), DenseStep(architecture, widths)
    actions = {name: lambda: ours(images, labels), "dense": lambda: dense(images, labels)}
    seconds = interleaved(actions, rounds)
    milliseconds = {step: 1000 * spread(values).median for step, values in seconds.items()}
    return (
        f"{network:16} {size:6.3f}x  dense {milliseconds['dense']:7.2f} ms  {name} "
        f"{milliseconds[name]:7.2f} ms  {name} / dense {ratios(seconds, name, 'dense')}"
    )


def operations(network: str) -> tuple[int, int]:
    """ATen operations of a masked step, and of its update alone, as many as an accelerator is given."""
    architecture = ARCHITECTURES[network]
    images, labels = batch(architecture)
    with patch.multiple(kernels, MOST_WEIGHTS=sys.maxsize, MOST_KERNELS=sys.maxsize):
        step = MaskedStep(architecture, widths_at(architecture, 0.125))

    def backward_alone() -> None:
        step.backward(images, labels)
        step.workspace.network.zero_grad()

    whole = counted(lambda: step(images, labels))
    return whole, whole - counted(backward_alone)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--network", nargs="+", choices=ARCHITECTURES, default=list(ARCHITECTURES))
    parser.add_argument(
        "--share", nargs="+", type=float, default=[0.125, 0.55, 1.0], help="of the 1x channels"
    )
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument(
        "--no-linear-masks", action="store_true", help="as `linear_masks: false` of CL-LSG has it"
    )
    parser.add_argument(
        "--single-weights", action="store_true", help="a mask a weight, as `later_masks: weight` has it"
    )
    parser.add_argument("--dense", action="store_true", help="our step without masks instead of the masked")
    parser.add_argument("--operations", action="store_true", help="count operations instead")
    arguments = parser.parse_args()
    masked = partial(
        MaskedStep,
        linear_masks=not arguments.no_linear_masks,
        single_weights=arguments.single_weights,
    )
    name, make = ("ours", BareStep) if arguments.dense else ("masked", masked)
    torch.set_num_threads(arguments.threads)
    print(machine())
    for network in arguments.network:
        if arguments.operations:
            whole, update = operations(network)
            print(f"{network:16} {whole} operations a step, {update} of them the update")
            continue
        for share in arguments.share:
            print(measure(network, share, arguments.rounds, name, make), flush=True)


if __name__ == "__main__":
    main()
