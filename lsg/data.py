"""Prepared tasks: their images and labels, read from files whose digests the manifest holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from lsg import digest
from lsg.files import DamagedFileError, read_json, read_tensors

SPLITS = ("train", "validation", "test")
MANIFEST = "manifest.json"


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
        return read_json(self.path / MANIFEST)

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
