"""A network small enough to follow by hand that has every shape growth must cope with, and tasks for it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from lsg import digest
from lsg.batches import Batches
from lsg.data import Split, Task
from lsg.networks.architecture import CLASSES, HEAD, IMAGE, Architecture, Layer, Widths

IMAGE_SHAPE = (2, 4, 4)


class TinyNet(nn.Module):
    """Convolution, BatchNorm, a residual stream, a flattened layer with biases, a head."""

    def __init__(self, widths: Widths, classes: int) -> None:
        super().__init__()
        outer, inner, hidden = widths["outer"], widths["inner"], widths["hidden"]
        self.stem = nn.Conv2d(2, outer, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(outer)
        self.conv1 = nn.Conv2d(outer, inner, 3, padding=1)
        self.conv2 = nn.Conv2d(inner, outer, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(outer)
        self.pool = nn.MaxPool2d(2)
        self.fc = nn.Linear(outer * 4, hidden)
        self.head = nn.Linear(hidden, classes)

    def forward(self, images: Tensor) -> Tensor:
        x = torch.relu(self.norm(self.stem(images)))
        x = torch.relu(self.norm2(self.conv2(torch.relu(self.conv1(x)))) + x)
        logits: Tensor = self.head(torch.relu(self.fc(self.pool(x).flatten(1))))
        return logits


def tiny_architecture() -> Architecture:
    return Architecture(
        name="tiny",
        image_shape=IMAGE_SHAPE,
        streams={"outer": 8, "inner": 8, "hidden": 16},
        layers=(
            Layer("stem", IMAGE, "outer", 9, 16),
            Layer("conv1", "outer", "inner", 9, 16),
            Layer("conv2", "inner", "outer", 9, 16),
            Layer("fc", "outer", "hidden", 4, 1),
        ),
        head=Layer(HEAD, "hidden", CLASSES, 1, 1),
        norms={"norm": "outer", "norm2": "outer"},
        biased=frozenset({"conv1", "fc"}),
        make=TinyNet,
    )


def tiny_split(count: int, seed: int, shift: int) -> Split:
    """Noise images whose mean brightness tells their class, so that they can be learned."""
    draws = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 2
    images = torch.randint(0, 128, (count, *IMAGE_SHAPE), generator=draws)
    images[:, shift % 2] += 100 * labels.view(-1, 1, 1)
    return Split(images.to(torch.uint8), labels)


def tiny_task(number: int) -> Task:
    train, validation, test = (
        tiny_split(count, 10 * number + place, number) for place, count in enumerate((40, 16, 16))
    )
    return Task(
        number, f"task {number}", ("dark", "bright"), train, validation, test, mean=(0.3, 0.3), std=(0.2, 0.2)
    )


def contrary_task(number: int) -> Task:
    """A tiny task whose validation labels are the wrong way round: who is right in test is wrong there."""
    task = tiny_task(number)
    return replace(task, validation=Split(task.validation.images, 1 - task.validation.labels))


def write_tiny_tasks(folder: Path, count: int, make: Callable[[int], Task] = tiny_task) -> Path:
    """Prepared data of `count` tiny tasks, as the pipeline's stage prepare writes it."""
    folder.mkdir(parents=True)
    entries = []
    for number in range(1, count + 1):
        task = make(number)
        tensors: dict[str, torch.Tensor] = {}
        for name in ("train", "validation", "test"):
            tensors |= {f"{name}_images": task.split(name).images, f"{name}_labels": task.split(name).labels}
        save_file(tensors, folder / f"task_{number:02d}.safetensors")
        entries.append(
            {
                "task": number,
                "name": task.name,
                "classes": list(task.classes),
                "mean": list(task.mean),
                "std": list(task.std),
                "digest": digest.combined(tensors),
            }
        )
    manifest = {
        "format": 1,
        "benchmark": "tiny",
        "image_shape": list(IMAGE_SHAPE),
        "tasks": entries,
        "digest": "tiny",
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def epoch_of(batches: Batches, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
    """The epoch's batches, images and labels."""
    return map(batches.batch, batches.rows(epoch))


def deterministic_files(directory: Path) -> dict[str, bytes]:
    """What is equal between two equal runs, by name."""
    return {path.name: path.read_bytes() for path in directory.iterdir() if path.name != "seconds.json"}
