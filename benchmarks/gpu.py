"""A training step on a GPU: masks in the graph of autograd, our step as it is, our step as a CUDA graph.

Milliseconds a step by the GPU's clock, medians of rounds; then of a step of eight runs at once, graphs on a
stream each. Masks in autograd are timed in torch's context of a device, which costs each operation host time.

    python -m benchmarks.gpu --network vgg16-bn
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial

import torch

from benchmarks.compact import NaiveStep
from benchmarks.step import ARCHITECTURES, BATCH, CLASSES, MASK_RATE, RATE
from benchmarks.timing import machine, spread
from lsg.data import Batches, Split, Task
from lsg.graphs import CudaGraph
from lsg.growth import initial_weights
from lsg.masked import MaskedTraining
from lsg.masks import GateSchedule
from lsg.networks.architecture import HEAD, Architecture
from lsg.optimizers import SGD, Adam
from lsg.stepper import Stepper
from lsg.update import Masking
from lsg.workspace import Workspace

DEVICE, STEPS, RUNS = "cuda", 50, 8


def noise(shape: tuple[int, ...]) -> Task:
    """A task of one batch of random images."""
    images = torch.randint(256, (BATCH, *shape), dtype=torch.uint8)
    split, middle = Split(images, torch.arange(BATCH) % CLASSES), (0.5,) * shape[0]
    return Task(1, "noise", ("",) * CLASSES, split, split, split, mean=middle, std=middle)


def stepper(architecture: Architecture, seed: int) -> Stepper:
    """A 1x network with masks on all kernels but the head's, at the start of an epoch."""
    widths, optimizers = architecture.streams, (SGD(0.9), Adam())
    weights = initial_weights(architecture, widths, CLASSES, seed, 1)
    workspace = Workspace(architecture, widths, CLASSES, optimizers, weights, {}, DEVICE)
    workspace.masked[:] = True
    workspace.table.kernel_grid(workspace.masked, HEAD)[:] = False
    masking = Masking("logit", GateSchedule(100.0, 20.0, 20), 1e-4)
    trainee = MaskedTraining(workspace, masking, 4e-5)
    batches = Batches(noise(architecture.image_shape), BATCH, 4, True, seed, DEVICE)
    own = Stepper(trainee, batches, "float32", CudaGraph)
    trainee.begin_epoch(1, own.uniform)
    trainee.network.train()
    return own


def replayed(own: Stepper) -> Callable[[], None]:
    """The step as a graph, captured."""
    assert own.graphs is not None
    own.graphs.stand_for(own.trainee.layout, (RATE, MASK_RATE))
    step = partial(own.graphs.run, partial(own.step, RATE, MASK_RATE), own.batches.rows(1)[0])
    for _ in range(2):
        step()
    return step


def side_by_side(steps: list[Callable[[], None]]) -> Callable[[], None]:
    """One step of each, on a stream each, begun and ended together."""
    streams = [torch.cuda.Stream() for _ in steps]

    def together() -> None:
        here = torch.cuda.current_stream()
        for stream, step in zip(streams, steps, strict=True):
            stream.wait_stream(here)
            with torch.cuda.stream(stream):
                step()
        for stream in streams:
            here.wait_stream(stream)

    return together


def milliseconds(step: Callable[[], None], rounds: int) -> str:
    """Of one call, on the GPU's clock: the median of the rounds and its interval."""
    values = []
    for _ in range(rounds + 1):
        begun, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begun.record()
        for _ in range(STEPS):
            step()
        ended.record()
        ended.synchronize()
        values.append(begun.elapsed_time(ended) / STEPS)
    return str(spread(values[1:]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--network", choices=ARCHITECTURES, default="vgg16-bn")
    parser.add_argument("--rounds", type=int, default=9)
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        print("Nothing was measured: torch finds no GPU on this machine.")
        return
    architecture = ARCHITECTURES[arguments.network]
    print(f"{machine()}; {torch.cuda.get_device_name()}")
    with torch.device(DEVICE):
        images, labels = torch.randn(BATCH, *architecture.image_shape), torch.arange(BATCH) % CLASSES
        naive = partial(NaiveStep(architecture, dict(architecture.streams)), images, labels)
        print("masks in autograd   ", milliseconds(naive, arguments.rounds))
    own = stepper(architecture, 1)
    ordinary = partial(own.step, RATE, MASK_RATE, own.batches.rows(1)[0])
    print("our step            ", milliseconds(ordinary, arguments.rounds))
    print("our step, graph     ", milliseconds(replayed(own), arguments.rounds))
    together = side_by_side([replayed(stepper(architecture, seed)) for seed in range(RUNS)])
    print(f"{RUNS} runs, graphs       ", milliseconds(together, arguments.rounds))


if __name__ == "__main__":
    main()
