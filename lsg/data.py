"""A task's images on the device, and batches of them: shuffled, cropped and flipped by indexing.

The order of the images, the crops and the flips of an epoch are drawn on the CPU from a generator seeded
by (seed, task, epoch), so they are the same on any device and for any number of workers. A crop is a view
of the padded set: one gather makes a batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn.functional import pad

from lsg import digest, seeds
from lsg.files import DamagedFileError, read_json, read_tensors

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class Split:
    """Images uint8 `[N, C, H, W]` and labels int64 `[N]`, counted from 0 within the task."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Task:
    """One task: its splits, its classes' names, mean and deviation of its train pixels (0..1)."""

    number: int
    name: str
    classes: tuple[str, ...]
    train: Split
    validation: Split
    test: Split
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def split(self, name: str) -> Split:
        """The split called `train`, `validation` or `test`."""
        split: Split = getattr(self, name)
        return split


class TaskSource(Protocol):
    """Where the tasks of a benchmark come from: their files, or wherever they were brought from there."""

    def manifest(self) -> Mapping[str, Any]:
        """What stage prepare wrote of the benchmark and its tasks."""

    def tensors(self, number: int) -> Mapping[str, Tensor]:
        """A task's images and labels, `train_images` and on, as stage prepare wrote them; only to be read."""


@dataclass(frozen=True)
class TaskFolder:
    """The folder of a prepared benchmark (see pipeline.prepare).

    The manifest is read once: where the folder is prepared anew meanwhile, from other images or in another
    way, its tensors are no longer those of this manifest and are refused.
    """

    path: Path

    @cached_property
    def _manifest(self) -> Mapping[str, Any]:
        return read_json(self.path / "manifest.json")

    def manifest(self) -> Mapping[str, Any]:
        """Raises FileNotFoundError or DamagedFileError."""
        return self._manifest

    def file(self, number: int) -> Path:
        """Where a task's tensors are."""
        return self.path / f"task_{number:02d}.safetensors"

    def tensors(self, number: int) -> Mapping[str, Tensor]:
        """Checked against the manifest's digest. Raises FileNotFoundError, KeyError or DamagedFileError."""
        tensors = read_tensors(self.file(number))
        if digest.combined(tensors) != _entry(self.manifest(), number)["digest"]:
            raise DamagedFileError(self.file(number), "its digest is not the manifest's")
        return tensors


def load_task(source: TaskSource, number: int) -> Task:
    """One task of a benchmark. Raises KeyError if it has no such task, and what the source raises."""
    entry = _entry(source.manifest(), number)
    tensors = source.tensors(number)
    splits = {name: Split(tensors[f"{name}_images"], tensors[f"{name}_labels"]) for name in SPLITS}
    return Task(
        number,
        entry["name"],
        tuple(entry["classes"]),
        **splits,
        mean=tuple(entry["mean"]),
        std=tuple(entry["std"]),
    )


def _entry(manifest: Mapping[str, Any], number: int) -> Mapping[str, Any]:
    """What the manifest says of a task. Raises KeyError."""
    for entry in manifest["tasks"]:
        if entry["task"] == number:
            found: Mapping[str, Any] = entry
            return found
    raise KeyError(f"{manifest['benchmark']} has no task {number}, only 1 to {len(manifest['tasks'])}")


def normalised(images: Tensor, task: Task, device: torch.device | str, dtype: torch.dtype) -> Tensor:
    """uint8 images as floats with the task's mean at 0 and its deviation at 1, on the device.

    Channels last in memory, as networks then compute throughout: convolutions and pooling of these sizes take
    up to half as long.
    """
    shape = (1, -1, 1, 1)
    mean = torch.tensor(task.mean, dtype=dtype, device=device).view(shape)
    std = torch.tensor(task.std, dtype=dtype, device=device).view(shape)
    return ((images.to(device).to(dtype) / 255 - mean) / std).contiguous(memory_format=torch.channels_last)


def batch_sizes(images: int, batch_size: int) -> list[int]:
    """How many images each batch of an epoch has: the last one may be smaller.

    A last image alone joins the batch before it: where a network leaves one position of it, BatchNorm would
    have a single value to take the deviation of.
    """
    sizes = [batch_size] * (images // batch_size)
    left = images % batch_size
    if left == 1 and sizes:
        sizes[-1] += 1
    elif left:
        sizes.append(left)
    return sizes


class Batches:
    """The training batches of one task.

    Args:
        task: whose train split.
        batch_size: see `batch_sizes`.
        crop_padding: random crops out of the image padded with that many black pixels; 0 for none.
        flip: mirror each image with probability 1/2.
        seed: of the order, the crops and the flips.
    """

    def __init__(
        self,
        task: Task,
        batch_size: int,
        crop_padding: int,
        flip: bool,
        seed: int,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.task, self.seed = task.number, seed
        self.crop_padding, self.flip, self.device = crop_padding, flip, device
        height, width = task.train.images.shape[2:]
        padded = pad(task.train.images, (crop_padding,) * 4)
        windows = normalised(padded, task, device, dtype).unfold(2, height, 1).unfold(3, width, 1)
        self.windows = windows.permute(0, 2, 3, 4, 5, 1)
        """`[N, shifts down, shifts right, H, W, C]`, a view: an image in memory's order."""
        self.labels = task.train.labels.to(device)
        self.sizes = batch_sizes(len(self.labels), batch_size)

    def __len__(self) -> int:
        return len(self.sizes)

    def epoch(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """The epoch's batches: images `[B, C, H, W]`, labels `[B]`. Epochs count from 1."""
        return map(self.batch, self.rows(epoch))

    def rows(self, epoch: int) -> tuple[Tensor, ...]:
        """What to gather for each batch of the epoch, int64 `[4, B]` on the device: each image's place in the
        train split, the crop's shifts down and right, and whether it is mirrored."""
        count = len(self.labels)
        draws = seeds.generator("cpu", "batches", self.seed, self.task, epoch)
        order = torch.randperm(count, generator=draws)
        shifts = torch.randint(2 * self.crop_padding + 1, (2, count), generator=draws)
        flips = torch.rand(count, generator=draws) < 0.5
        plan = torch.stack([order, shifts[0], shifts[1], flips.long()]).to(self.device)
        rows: tuple[Tensor, ...] = plan.split(self.sizes, 1)
        return rows

    def batch(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """The images and labels that such rows `[4, B]` name."""
        index, down, right, flip = rows.unbind(0)
        images = self.windows[index, down, right]
        if self.flip:
            images = torch.where(flip.bool().view(-1, 1, 1, 1), images.flip(2), images)
        return images.permute(0, 3, 1, 2), self.labels[index]
