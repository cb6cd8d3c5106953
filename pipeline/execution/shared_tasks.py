"""Prepared tasks in Ray's object store: put there once by the driver, read by workers where they lie."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import ray
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.dlpack import from_dlpack

from lsg.data import TaskFolder
from pipeline.units.unit import Unit

Reference: TypeAlias = "ray.ObjectRef[dict[str, NDArray[Any]]]"


@dataclass(frozen=True)
class SharedTasks:
    """A source of tasks (`lsg.data.TaskSource`) for any process of the cluster, without files."""

    described: Mapping[str, Any]
    references: Mapping[int, Reference]

    def manifest(self) -> Mapping[str, Any]:
        return self.described

    def tensors(self, number: int) -> Mapping[str, Tensor]:
        """Views of the object store's memory, which all workers of a node share; checked by the driver.

        They come by DLPack, which may hand on memory that nobody may write to.
        """
        return {name: from_dlpack(array) for name, array in ray.get(self.references[number]).items()}


class Shelf:
    """The driver's side. What it has put stays in the object store as long as this or a unit refers to it."""

    def __init__(self) -> None:
        self._put: dict[str, Reference] = {}
        """By the digest of their images and labels."""

    def tasks(self, prepared: Path, numbers: Iterable[int]) -> SharedTasks:
        """The tasks of a prepared folder; those that are new here are read, checked and put.

        Raises like `lsg.data.TaskFolder`, and Ray's ObjectStoreFullError.
        """
        folder = TaskFolder(prepared)
        digests = {entry["task"]: entry["digest"] for entry in folder.manifest()["tasks"]}
        wanted = {number: self._reference(folder, number, digests[number]) for number in numbers}
        return SharedTasks(folder.manifest(), wanted)

    def _reference(self, folder: TaskFolder, number: int, digest: str) -> Reference:
        if digest not in self._put:
            arrays = {name: tensor.numpy() for name, tensor in folder.tensors(number).items()}
            self._put[digest] = ray.put(arrays)
        return self._put[digest]


def data_bytes(units: Iterable[Unit]) -> int:
    """Bytes of all the tasks that the units learn; one that is missing counts nothing."""
    files = {TaskFolder(unit.prepared).file(task) for unit in units for task in unit.tasks}
    return sum(file.stat().st_size for file in files if file.exists())
