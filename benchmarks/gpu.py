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
from benchmarks.steppers import stepper
from benchmarks.timing import machine, spread
from lsg.graphs import CudaGraph
from lsg.networks.architecture import Architecture
from lsg.stepper import Stepper

DEVICE, STEPS, RUNS = "cuda", 50, 8


def on_gpu(architecture: Architecture, seed: int) -> Stepper:
    """Our step of the 1x network."""
    return stepper(architecture, architecture.streams, DEVICE, make_graph=CudaGraph, seed=seed)


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
    own = on_gpu(architecture, 1)
    ordinary = partial(own.step, RATE, MASK_RATE, own.batches.rows(1)[0])
    print("our step            ", milliseconds(ordinary, arguments.rounds))
    print("our step, graph     ", milliseconds(replayed(own), arguments.rounds))
    together = side_by_side([replayed(on_gpu(architecture, seed)) for seed in range(RUNS)])
    print(f"{RUNS} runs, graphs       ", milliseconds(together, arguments.rounds))


if __name__ == "__main__":
    main()
