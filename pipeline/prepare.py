"""Stage prepare: a benchmark's images become one file a task and a manifest.

A folder `data/tasks/<benchmark>/` holds `task_01.safetensors` and on, with uint8 images [N, C, H, W] and
int64 labels of the three splits, and `manifest.json`. It is written aside and put in place whole; equal
settings and images give equal bytes. A folder that holds those bytes already stays as it is, so whoever reads
it meanwhile is not disturbed.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lsg import digest
from lsg.data import MANIFEST, SPLITS, TaskFolder
from lsg.files import write_json, write_tensors
from pipeline.benchmarks import load_images
from pipeline.benchmarks.images import Images
from pipeline.benchmarks.orders import numbered
from pipeline.benchmarks.settings import DataSettings
from pipeline.benchmarks.tasks_file import read_tasks
from pipeline.errors import UserError
from pipeline.folders import aside, holds_the_same, put_in_place, remove_leftovers
from pipeline.locks import held
from pipeline.split import TaskData, repeated_in_test, split_tasks

FORMAT = 1
SMALLEST_STD = 1 / 255
_LOG = logging.getLogger(__name__)


def prepare(benchmark: str, settings: DataSettings, out: Path) -> dict[str, Any]:
    """Makes the folder `out` hold the benchmark's tasks and manifest, and returns the manifest.

    One process at a time does so; another one waits. Raises UserError for images that are missing, broken or
    do not fit the settings, and for a disk that cannot be written; `out` is then what it was before.
    """
    with _of_preset(benchmark):
        listed = read_tasks(Path(settings.tasks)) if settings.tasks else None
        images = load_images(settings)
        tasks = split_tasks(images, settings, listed)
    waiting = f"another process prepares {out}; waiting for it"
    try:
        with held(out.with_name(f".{out.name}.lock"), waiting), _of_preset(benchmark):
            return _replaced(benchmark, settings, images, tasks, out)
    except OSError as error:
        raise UserError(
            f"{out} cannot be written ({error.strerror}); free space or mend its rights, then run again"
        ) from error


@contextmanager
def _of_preset(benchmark: str) -> Iterator[None]:
    """Names the preset in what is wrong with its images or settings."""
    try:
        yield
    except UserError as error:
        raise UserError(f"presets.{benchmark}: {error}") from error


def _replaced(
    benchmark: str, settings: DataSettings, images: Images, tasks: Iterable[TaskData], out: Path
) -> dict[str, Any]:
    """Writes the folder aside and, unless `out` holds the same, in its place; returns the manifest."""
    remove_leftovers(out, "partial", "old")  # of processes that died: this one holds the lock
    with aside(out) as partial:
        records, repeated = [], 0
        for task in tasks:
            records.append(_write_task(task, partial))
            repeated += repeated_in_test(task)
        manifest = {
            "format": FORMAT,
            "benchmark": benchmark,
            "resized": images.resized,
            "task_order": list(numbered(settings.order, settings.task_order, len(records))),
            "image_shape": list(images.train_images.shape[1:]),
            "settings": settings.cut(),
            "digest": digest.of_json(records),
            "tasks": records,
        }
        write_json(partial / MANIFEST, manifest)
        if not holds_the_same(partial, out):
            put_in_place(partial, out)
    if repeated:
        total = sum(record["test"] for record in records)
        _LOG.warning(
            "%s: %d of %d test images are also train or validation images of their task, which flatters test "
            "accuracy; take them out of one of the two",
            benchmark,
            repeated,
            total,
        )
    return manifest


def channel_statistics(images: Tensor) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of each channel of uint8 images [N, C, H, W], pixels divided by 255.

    From a histogram, so they are exact to rounding whatever the number of images. A constant channel has
    the deviation of one grey level, since networks divide by it.
    """
    levels = torch.arange(256, dtype=torch.float64) / 255
    means, deviations = [], []
    for channel in images.transpose(0, 1):
        share = torch.bincount(channel.flatten(), minlength=256).double() / channel.numel()
        mean = float((share * levels).sum())
        variance = float((share * (levels - mean) ** 2).sum())
        means.append(mean)
        deviations.append(max(variance**0.5, SMALLEST_STD))
    return means, deviations


def _write_task(task: TaskData, folder: Path) -> dict[str, Any]:
    names = [f"{split}_{kind}" for split in SPLITS for kind in ("images", "labels")]
    tensors: dict[str, Tensor] = {name: getattr(task, name) for name in names}
    write_tensors(TaskFolder(folder).file(task.task), tensors)
    mean, std = channel_statistics(task.train_images)
    counts = {split: len(tensors[f"{split}_labels"]) for split in SPLITS}
    return {
        "task": task.task,
        "name": task.name,
        "classes": list(task.classes),
        **counts,
        "mean": mean,
        "std": std,
        "digest": digest.combined(tensors),
    }
