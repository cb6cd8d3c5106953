"""The one place where classes become tasks and images become train, validation and test splits.

An image's place is decided by a digest of its pixels keyed with the split seed. So a split depends on
nothing else: not on file names, on where the images come from (CIFAR-100's archive and a folder of the same
images give the same tasks) or on what the other tasks are.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pipeline.benchmarks.images import Images
from pipeline.benchmarks.orders import numbered
from pipeline.benchmarks.settings import DataSettings
from pipeline.errors import UserError

Group = tuple[str, tuple[str, ...]]
Groups = list[Group]


@dataclass(frozen=True)
class TaskData:
    """One task: uint8 images [N, C, H, W], int64 labels [N] from 0 on in the order of classes."""

    task: int
    name: str
    classes: tuple[str, ...]
    train_images: Tensor
    train_labels: Tensor
    validation_images: Tensor
    validation_labels: Tensor
    test_images: Tensor
    test_labels: Tensor


def split_tasks(images: Images, settings: DataSettings, listed: Groups | None = None) -> Iterator[TaskData]:
    """The tasks in order, one at a time. `listed` is the tasks file's content, where the settings name one.

    Within a split, images come class by class, inside a class in the order of their digests. Raises UserError
    when classes do not fit the tasks or a class has too few images.
    """
    _check_test(images, settings)
    groups = task_groups(images, settings, listed)
    return (_task(number, group, images, settings) for number, group in enumerate(groups, start=1))


def repeated_in_test(task: TaskData) -> int:
    """How many of the test images are, pixel by pixel, also train or validation images of the task."""
    learned = {
        image.numpy().tobytes() for images in (task.train_images, task.validation_images) for image in images
    }
    return sum(image.numpy().tobytes() in learned for image in task.test_images)


def task_groups(images: Images, settings: DataSettings, listed: Groups | None = None) -> Groups:
    """Name and classes of each task: from the tasks file, or class order cut by classes_per_task.

    These are then brought into the settings' task order.
    """
    if listed is not None:
        _check_listed(listed, images.class_names, f"tasks file {settings.tasks}")
        return listed
    size = settings.classes_per_task or 0
    groups = (
        _superclass_groups(images, size)
        if settings.order == "superclass"
        else _cut_groups(images, settings, size)
    )
    order = numbered(settings.order, settings.task_order, len(groups))
    if len(order) != len(groups):
        raise UserError(
            f"data.task_order is {settings.task_order}, an order of {len(order)} tasks, but there are "
            f"{len(groups)}; list each of their numbers once"
        )
    return [groups[number - 1] for number in order]


def _cut_groups(images: Images, settings: DataSettings, size: int) -> Groups:
    classes = images.class_names
    if settings.order == "seeded":
        order = np.random.RandomState(settings.order_seed).permutation(len(classes))
        classes = tuple(classes[place] for place in order)
    if len(classes) % size:
        raise UserError(
            f"data.classes_per_task is {size}, which does not divide {len(classes)} classes; choose a divisor"
        )
    cut = [classes[start : start + size] for start in range(0, len(classes), size)]
    return [(f"{group[0]}-{group[-1]}", group) for group in cut]


def _superclass_groups(images: Images, size: int) -> Groups:
    if images.superclasses is None:
        raise UserError("data.order is superclass, which only cifar100 knows; set given or seeded")
    groups = list(images.superclasses.items())
    if any(len(classes) != size for _, classes in groups):
        raise UserError(
            f"data.classes_per_task is {size}; with order superclass set it to {len(groups[0][1])}"
        )
    return groups


def _check_listed(listed: Groups, known: Sequence[str], file: str) -> None:
    owner: dict[str, str] = {}
    for name, classes in listed:
        if len(classes) < 2:
            raise UserError(f"{file}: task {name} has {len(classes)} classes; give it two or more")
        for each in classes:
            if each not in known:
                raise UserError(f"{file}: class {each} of task {name} is not in the data; mend its name")
            if each in owner:
                raise UserError(f"{file}: class {each} is listed in {owner[each]} and {name}; keep one")
            owner[each] = name


def _check_test(images: Images, settings: DataSettings) -> None:
    if images.test_images is not None and settings.test > 0:
        raise UserError(f"data.test is {settings.test}, but {settings.source} has a test split; set it to 0")
    if images.test_images is None and settings.test == 0:
        raise UserError(f"data.test is 0, but {settings.source} has no test split; set a share such as 0.2")


def _task(number: int, group: Group, images: Images, settings: DataSettings) -> TaskData:
    name, classes = group
    parts = [_class_splits(each, images, settings) for each in classes]
    tensors: dict[str, Tensor] = {}
    for place, split in enumerate(("train", "validation", "test")):
        pieces = [part[place] for part in parts]
        counts = torch.tensor([len(piece) for piece in pieces])
        tensors[f"{split}_images"] = torch.cat(pieces)
        tensors[f"{split}_labels"] = torch.repeat_interleave(torch.arange(len(classes)), counts)
    return TaskData(number, name, classes, **tensors)


def _class_splits(name: str, images: Images, settings: DataSettings) -> tuple[Tensor, Tensor, Tensor]:
    """The train, validation and test images of a class."""
    label = images.class_names.index(name)
    pool = _in_digest_order(images.train_images[images.train_labels == label], settings.split_seed)
    if images.test_images is not None and images.test_labels is not None:
        test = _in_digest_order(images.test_images[images.test_labels == label], settings.split_seed)
        rest = pool
    else:
        tests = count_of(settings.test, len(pool))
        test, rest = pool[:tests], pool[tests:]
    validations = count_of(settings.validation, len(rest))
    validation, train = rest[:validations], rest[validations:]
    _check_sizes(name, settings, len(train), len(validation), len(test))
    return train, validation, test


def _in_digest_order(images: Tensor, seed: int) -> Tensor:
    key = seed.to_bytes(8, "little")
    digests = [hashlib.blake2b(image.numpy().tobytes(), key=key).digest() for image in images]
    return images[torch.tensor(sorted(range(len(digests)), key=digests.__getitem__), dtype=torch.int64)]


def count_of(part: float, total: int) -> int:
    """How many of `total` images: a share below 1 (rounded half up) or a number of images."""
    return min(total, int(part) if part >= 1 else math.floor(part * total + 0.5))


def _check_sizes(name: str, settings: DataSettings, train: int, validation: int, test: int) -> None:
    got = {"train": train, "validation": validation, "test": test}
    empty = [split for split, count in got.items() if not count]
    if settings.validation == 0:
        empty.remove("validation")
    if empty:
        raise UserError(
            f"class {name} has too few images for its {empty[0]} split; add images or change data.validation"
            " and data.test"
        )
