"""The `data` section of a benchmark: which images, and how they become tasks."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from lsg.settings import require
from pipeline.benchmarks import SOURCES, orders

ORDERS = ("given", "superclass", "seeded")


@dataclass(frozen=True)
class DataSettings:
    """Which images, and how they are cut into tasks and splits.

    source            one of `pipeline.benchmarks.SOURCES`
    folder            where the images lie, for the sources that read a folder; or one tar file of that folder
    classes_per_task  classes of each task, in class order; or null where a tasks file lists them
    tasks             a JSON or YAML file: a list of {name, classes}; null to cut by classes_per_task
    order             class order: given (the source's own), superclass (CIFAR-100) or seeded
    task_order        which task is learned first, second, ...: a list of the tasks' numbers (from 1, in class
                      order), or a letter for one of CIFAR-100's published orders (`orders`); null keeps them
    order_seed        seed of the order `seeded`: classes by `numpy.random.RandomState(seed).permutation`
    validation        share of each class's training images (what the test split left), below 1
    test              share of each class's images (below 1) or a number of images a class (1 and more);
                      0 where the source has a test split of its own
    split_seed        seed of the splits
    image_size        side in pixels that images are brought to; null keeps them (84 for MiniImageNet)

    Raises ValueError that names the field and the allowed values.
    """

    source: str
    folder: str | None = None
    classes_per_task: int | None = None
    tasks: str | None = None
    order: str = "given"
    order_seed: int | None = None
    task_order: str | tuple[int, ...] | None = None
    validation: float = 0.0
    test: float = 0.0
    split_seed: int = 1
    image_size: int | None = None

    def __post_init__(self) -> None:
        require(self.source in SOURCES, "source", self.source, f"one of {', '.join(SOURCES)}")
        require(self.order in ORDERS, "order", self.order, f"one of {', '.join(ORDERS)}")
        require(0 <= self.validation < 1, "validation", self.validation, "a share from 0 to below 1")
        require(
            0 <= self.test < 1 or (self.test >= 1 and float(self.test).is_integer()),
            "test",
            self.test,
            "a share from 0 to below 1, or a whole number of images a class",
        )
        require(0 <= self.split_seed < 2**63, "split_seed", self.split_seed, "0 to 2^63 - 1")
        self._check_source()
        self._check_tasks()

    def cut(self) -> dict[str, Any]:
        """How tasks are made of the images, wherever these lie and classes are listed; as JSON values."""
        told = {name: value for name, value in asdict(self).items() if name not in ("folder", "tasks")}
        return dict(json.loads(json.dumps(told)))

    def _check_source(self) -> None:
        source = SOURCES[self.source]
        if source.folder == "unused":
            require(self.folder is None, "folder", self.folder, f"null: {self.source} reads no folder")
        if source.folder == "required":
            require(bool(self.folder), "folder", self.folder, f"the folder with the images of {self.source}")
        if self.image_size is not None:
            require(source.resizes, "image_size", self.image_size, f"null: {self.source} has one size")
            require(8 <= self.image_size <= 1024, "image_size", self.image_size, "8 to 1024, or null")

    def _check_tasks(self) -> None:
        if self.tasks is None:
            count = self.classes_per_task
            require(count is not None, "classes_per_task", count, "a number from 2 on, or name a tasks file")
            require(count is not None and count >= 2, "classes_per_task", count, "a number from 2 on")
        else:
            listed = "null: the tasks file lists the classes"
            require(self.classes_per_task is None, "classes_per_task", self.classes_per_task, listed)
            require(self.order == "given", "order", self.order, "given: the tasks file orders the classes")
            ordered = "null: the tasks file orders the tasks"
            require(self.task_order is None, "task_order", self.task_order, ordered)
        if self.task_order is not None:
            fault = orders.fault(self.source, self.order, self.task_order)
            require(fault is None, "task_order", self.task_order, str(fault))
        if self.order == "seeded":
            seed = self.order_seed
            require(
                seed is not None and 0 <= seed < 2**32, "order_seed", seed, "0 to 2^32 - 1 with order: seeded"
            )
        else:
            require(self.order_seed is None, "order_seed", self.order_seed, "null unless order is seeded")
