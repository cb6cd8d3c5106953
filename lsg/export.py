"""One task's network on its own: a file that PyTorch loads without this library, from raw pixels to logits.

The network is compact: it has the channels that the task had, and kernels whose bit is off are zeros. The
task's normalisation is inside, so that images go in as they are stored; the names of its classes stand in
the file beside it.
"""

from __future__ import annotations

import io
import json
from pathlib import Path

import torch
from torch import Tensor, nn

from lsg.files import write_bytes
from lsg.reading import read_run
from lsg.records import RunDirectory

CLASSES = "classes.json"
"""Name of the file inside an exported one that lists the task's classes, in the order of the logits."""


class UnknownTaskError(RuntimeError):
    """A run has not learned the task that is asked for."""


class Standalone(nn.Module):
    """A task's network behind its normalisation: images 0 to 255 `[B, C, H, W]` to logits.

    As a module it takes any type of numbers; the exported file takes uint8.
    """

    def __init__(self, network: nn.Module, mean: list[float], std: list[float]) -> None:
        super().__init__()
        self.network = network
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, -1, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.network((images.to(self.mean.dtype) / 255 - self.mean) / self.std)
        return logits


def standalone(directory: Path, task: int) -> tuple[Standalone, list[str]]:
    """A learned task's network with its normalisation, in evaluation mode, and its classes' names.

    Raises UnknownTaskError for a task that the run has not learned, UnknownRunError for a run of another
    version of this library, DamagedFileError for a damaged file and FileNotFoundError where there is no run.
    """
    run = RunDirectory(directory)
    learned = run.learned()
    if task not in learned:
        raise UnknownTaskError(f"{directory} has learned tasks {learned}, not task {task}")
    record = run.record(task)
    network = Standalone(read_run(directory).network(task), **record["pixels"])
    return network.eval(), list(record["classes"])


def export(directory: Path, task: int, path: Path) -> None:
    """Write the task's network to `path` (.pt2), for any size of batch. Raises like `standalone`.

    `torch.export.load(path).module()` is the network; nothing of this library is needed to load it.
    """
    network, classes = standalone(directory, task)
    images = torch.zeros(2, *RunDirectory(directory).job()["image_shape"], dtype=torch.uint8)
    program = torch.export.export(network, (images,), dynamic_shapes=({0: torch.export.Dim("batch")},))
    content = io.BytesIO()
    torch.export.save(program, content, extra_files={CLASSES: json.dumps(classes)})
    write_bytes(path, content.getvalue())
