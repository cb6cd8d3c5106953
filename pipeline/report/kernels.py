"""Whose the shared kernels are, and which tasks use them: read from the bits in the tasks' files.

A task's file tells which kernels its network uses. One that was free before is the task's own from then on,
so the bits alone give the owners, and no weight is read. One layer of one run is held at a time.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import safe_open

from lsg.bank import FREE, unpacked
from lsg.methods import METHODS
from lsg.methods.banked import Banked
from lsg.networks.architecture import Architecture, Layer
from lsg.reading import UnknownRunError, empty_method
from lsg.records import RunDirectory
from pipeline.errors import UserError
from pipeline.units.histories import Learned
from pipeline.units.records import UnitDirectory, damage_named

MAP = 96
"""Most rows and columns of a layer's map: of larger layers it shows so many, evenly spread."""

Owners = NDArray[np.uint8]
Row = dict[str, Any]


@dataclass(frozen=True)
class LayerMap:
    """A layer after the last task. `owners` `[rows, columns]`: a sample of its kernels, 0 is nobody's.

    shape: outputs and inputs of the whole layer.
    outputs: how many outputs it had after each task.
    """

    name: str
    owners: Owners
    shape: tuple[int, int]
    outputs: tuple[int, ...]


@dataclass(frozen=True)
class Kernels:
    """One run's kernels. A row of `rows`: task layer owner weights used - after `task` so many weights of
    the layer belong to `owner` (0: nobody), and the task uses so many of them."""

    rows: tuple[Row, ...]
    maps: tuple[LayerMap, ...]


def read_kernels(learned: Sequence[Learned]) -> Kernels | None:
    """The kernels of one run; None for a method that shares no kernels between tasks.

    Raises UserError for a task's file that is damaged, and for a run of another version.
    """
    unit = learned[-1].unit
    architecture = _architecture(unit)
    if architecture is None:
        return None
    files = [step.unit.tensors(step.record.task) for step in learned]
    read = [_read_layer(layer, architecture, files) for layer in architecture.layers]
    return Kernels(tuple(row for rows, _ in read for row in rows), tuple(found for _, found in read))


def _architecture(unit: UnitDirectory) -> Architecture | None:
    """The run's network as its bank divides it into kernels; None where no bank keeps them."""
    method = METHODS[unit.definition.method]
    if not issubclass(method, Banked):
        return None
    try:
        with damage_named():
            return empty_method(RunDirectory(unit.path)).architecture
    except UnknownRunError as error:
        raise UserError(str(error)) from error


def _read_layer(
    layer: Layer, architecture: Architecture, files: Sequence[Path]
) -> tuple[list[Row], LayerMap]:
    """One layer through all tasks."""
    owners: Owners = np.zeros((0, 0), np.uint8)
    rows: list[Row] = []
    outputs = []
    for task, path in enumerate(files, 1):
        bits = _bits(path, layer, architecture)
        owners = _widened(owners, bits.shape)
        owners[bits & (owners == FREE)] = task
        outputs.append(len(owners))
        rows += _counted(task, layer, owners, bits)
    return rows, LayerMap(layer.name, _sampled(owners), (len(owners), owners.shape[1]), tuple(outputs))


def _bits(path: Path, layer: Layer, architecture: Architecture) -> NDArray[np.bool_]:
    """Which of the layer's kernels the task uses, `[outputs, inputs]`."""
    with safe_open(path, "pt") as file:
        sizes: list[int] = file.get_tensor("widths").tolist()
        widths: Mapping[str, int] = dict(zip(architecture.streams, sizes, strict=True))
        packed: torch.Tensor = file.get_tensor(f"{layer.name}.used")
    return unpacked(packed, architecture.shape(layer, widths)[:2]).numpy()


def _widened(owners: Owners, shape: tuple[int, ...]) -> Owners:
    wider = np.zeros(shape, np.uint8)
    wider[: owners.shape[0], : owners.shape[1]] = owners
    return wider


def _counted(task: int, layer: Layer, owners: Owners, bits: NDArray[np.bool_]) -> Iterator[Row]:
    """Weights of each owner, and how many of them the task uses."""
    owned = np.bincount(owners.ravel(), minlength=task + 1)
    used = np.bincount(owners[bits], minlength=task + 1)
    for owner in range(task + 1):
        if owned[owner]:
            weights = {"weights": int(owned[owner]) * layer.area, "used": int(used[owner]) * layer.area}
            yield {"task": task, "layer": layer.name, "owner": owner} | weights


def _sampled(owners: Owners) -> Owners:
    """At most `MAP` rows and columns, evenly spread."""
    rows, columns = (_spread(length) for length in owners.shape)
    sample: Owners = owners[np.ix_(rows, columns)]
    return sample


def _spread(length: int) -> NDArray[np.int_]:
    return np.linspace(0, length - 1, min(length, MAP)).round().astype(int)
