"""What figures are drawn from: the tables' frames, and what only they read from the unit directories."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from lsg.records import EVENTS
from pipeline.report.frames import Frames
from pipeline.report.kernels import LayerMap, read_kernels
from pipeline.units.histories import Learned
from pipeline.units.tail import Tail

_EPOCH = [
    *("task", "stage", "epoch", "train_loss", "train_accuracy", "test_accuracy"),
    *("size", "gates_on", "candidates"),
]
_LOG = logging.getLogger(__name__)
_KERNELS = ["task", "layer", "owner", "weights", "used"]


@dataclass(frozen=True)
class Material:
    """One benchmark's results and their raw material.

    epochs: of every run: what was logged in each epoch of each task.
    kernels: of the first seed of every method with shared kernels: weights of each owner, and how many of
        them each task uses (see `pipeline.report.kernels`).
    maps: of the same runs, by method: the owners in each layer after the last task.
    """

    frames: Frames
    epochs: pd.DataFrame
    kernels: pd.DataFrame
    maps: dict[str, tuple[LayerMap, ...]]


def read_material(frames: Frames) -> Material:
    """Reads what the figures need beside the frames. Raises UserError for a damaged file."""
    epochs = [
        {"method": method, "seed": seed} | row
        for (method, seed), learned in frames.runs.items()
        for row in _epochs(learned)
    ]
    found = {method: read_kernels(frames.runs[method, frames.seeds[0]]) for method in frames.methods}
    kernels = [
        {"method": method, "seed": frames.seeds[0]} | row
        for method, read in found.items()
        if read
        for row in read.rows
    ]
    return Material(
        frames,
        pd.DataFrame(epochs, columns=["method", "seed", *_EPOCH, "unit"]),
        pd.DataFrame(kernels, columns=["method", "seed", *_KERNELS]),
        {method: read.maps for method, read in found.items() if read},
    )


def _epochs(learned: Sequence[Learned]) -> Iterator[dict[str, Any]]:
    """What each unit logged in the epochs of the tasks that count."""
    tasks_of: dict[tuple[Path, str], set[int]] = {}
    for step in learned:
        tasks_of.setdefault((step.unit.path, step.unit.place), set()).add(step.record.task)
    for (directory, place), tasks in tasks_of.items():
        told = [event for event in Tail(directory / EVENTS).read() if event.get("event") == "epoch"]
        if lost := tasks - {event.get("task") for event in told}:
            _LOG.warning("%s lacks epochs of task %d; figures leave them out", directory / EVENTS, min(lost))
        for event in told:
            if event.get("task") in tasks:
                yield {name: event.get(name) for name in _EPOCH} | {"unit": place}
