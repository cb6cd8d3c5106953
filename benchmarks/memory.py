"""Peak memory of a sequence whose network is at its cap, and how little a further task adds.

A method learns tasks of random images, one epoch a stage. With CL-LSG task 1 grows to the cap and later
tasks mask what there is; other methods have their own settings. After each task it prints the most memory
that the process has had so far, above what it had after its imports, and how many copies of its float32
weights that is; on a GPU also the most that torch held.

    python -m benchmarks.memory --network vgg16-bn-linear --size 1.5 --tasks 6
    python -m benchmarks.memory --network vgg16-bn --method scratch --tasks 1
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.step import ARCHITECTURES, CLASSES
from benchmarks.timing import machine
from lsg.cost import FLOAT_BYTES
from lsg.job import Job
from lsg.methods import METHODS
from lsg.methods.cl_lsg import ClLsgSettings
from lsg.sequence import learn_sequence
from lsg.train_settings import TrainSettings

IMAGES, OUT_OF_REACH = 96, 2.0
NETWORKS: dict[str, dict[str, Any]] = {
    "lenet": {"name": "lenet"},
    "vgg16-bn-linear": {"name": "vgg16-bn", "hidden": 0},
    "vgg16-bn": {"name": "vgg16-bn"},
    "resnet18": {"name": "resnet18"},
}


class RandomTasks:
    """Tasks of random images, made when they are asked for."""

    def __init__(self, shape: tuple[int, ...], count: int) -> None:
        self.shape, self.count = shape, count

    def manifest(self) -> Mapping[str, Any]:
        middle = [0.5] * self.shape[0]
        classes = [str(label) for label in range(CLASSES)]
        tasks = [
            {"task": number, "name": "random", "classes": classes, "mean": middle, "std": middle}
            for number in range(1, self.count + 1)
        ]
        return {"benchmark": "random", "image_shape": list(self.shape), "tasks": tasks, "digest": "random"}

    def tensors(self, number: int) -> Mapping[str, Tensor]:
        draws = torch.Generator().manual_seed(number)
        images = torch.randint(256, (IMAGES, *self.shape), dtype=torch.uint8, generator=draws)
        labels = torch.arange(IMAGES) % CLASSES
        return {
            f"{split}_{what}": tensor
            for split in ("train", "validation", "test")
            for what, tensor in (("images", images), ("labels", labels))
        }


def peak() -> int:
    """Bytes of memory that this process has had at most."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


class Printer:
    """Prints a line after each task."""

    def __init__(self, one_copy: int) -> None:
        self.one_copy, self.start = one_copy, peak()

    def __call__(self, event: dict[str, Any]) -> None:
        if event["event"] != "task":
            return
        grown, size = peak() - self.start, event["size"]["allocated"]
        copies = grown / (size * self.one_copy)
        line = f"after task {event['task']:2}: {size:.2f}x, peak {grown / 2**20:5.0f} MB, {copies:.1f} copies"
        if torch.cuda.is_available():
            line += f", on the GPU {torch.cuda.max_memory_allocated() / 2**20:.0f} MB"
        print(line, flush=True)


def settings_of(method: str, size: float) -> Any:
    """CL-LSG's from which task 1 grows from the 1x network to the cap; other methods' own."""
    if method == "cl-lsg":
        return ClLsgSettings(seed_fraction=1.0, cap=size, gate_init=0.1)
    return METHODS[method].Settings()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--network", choices=NETWORKS, default="vgg16-bn-linear")
    parser.add_argument("--method", choices=METHODS, default="cl-lsg")
    parser.add_argument("--size", type=float, default=1.5, help="CL-LSG's cap, in dense 1x networks")
    parser.add_argument("--tasks", type=int, default=6)
    options = parser.parse_args()
    architecture = ARCHITECTURES[options.network]
    numbers = range(1, options.tasks + 1)
    job = Job(
        "random",
        options.method,
        "clean",
        1,
        tuple(numbers),
        RandomTasks(architecture.image_shape, options.tasks),
        NETWORKS[options.network],
        TrainSettings(epochs=1),
        settings_of(options.method, options.size),
        dict.fromkeys(numbers, OUT_OF_REACH),
        device="cuda" if torch.cuda.is_available() else "cpu",
    )
    print(machine())
    report = Printer(FLOAT_BYTES * architecture.weights(architecture.streams))
    with tempfile.TemporaryDirectory() as folder:
        learn_sequence(job, Path(folder), report)


if __name__ == "__main__":
    main()
