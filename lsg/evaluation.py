"""Accuracy of a network, and what a matrix of accuracies says of a sequence of tasks."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from lsg.data import Split, Task, normalised

EVALUATION_BATCH = 250

Matrix = Mapping[int, Mapping[int, float]]
"""After which task (outer key), test accuracy of which task (inner key)."""


@torch.no_grad()
def accuracy(network: nn.Module, task: Task, split: Split, device: torch.device | str = "cpu") -> float:
    """Share of the split's images that the network, in evaluation mode, classifies right.

    Raises ValueError for an empty split.
    """
    if not len(split):
        raise ValueError(f"task {task.number} ({task.name}) has no images in the split to be evaluated")
    network = network.to(device).eval()
    dtype = next(network.parameters()).dtype
    hits = 0
    for images, labels in zip(
        split.images.split(EVALUATION_BATCH), split.labels.split(EVALUATION_BATCH), strict=True
    ):
        predicted = network(normalised(images, task, device, dtype)).argmax(1)
        hits += int((predicted == labels.to(device)).sum())
    return hits / len(split)


def accuracies(network: nn.Module, task: Task, device: torch.device | str = "cpu") -> dict[str, float]:
    """The network's accuracy on the task's test split and, where it has one, on its validation split.

    Raises ValueError for an empty test split.
    """
    splits = {name: task.split(name) for name in ("validation", "test")}
    return {
        name: accuracy(network, task, split, device)
        for name, split in splits.items()
        if len(split) or name == "test"
    }


def average(matrix: Matrix) -> float:
    """Mean accuracy over all tasks after the last one."""
    last = matrix[max(matrix)]
    return sum(last.values()) / len(last)


def forgetting(matrix: Matrix) -> float:
    """Mean over earlier tasks of (best accuracy so far - accuracy after the last task); 0 for one task.

    Chaudhry et al., ECCV 2018, equation 3.
    """
    final = max(matrix)
    earlier = [task for task in matrix[final] if task != final]
    if not earlier:
        return 0.0
    best = {
        task: max(row[task] for after, row in matrix.items() if after < final and task in row)
        for task in earlier
    }
    return sum(best[task] - matrix[final][task] for task in earlier) / len(earlier)


def backward_transfer(matrix: Matrix) -> float:
    """Mean over earlier tasks of (accuracy after the last task - accuracy when learned); 0 for one task.

    Lopez-Paz & Ranzato, NeurIPS 2017.
    """
    final = max(matrix)
    earlier = [task for task in matrix[final] if task != final]
    if not earlier:
        return 0.0
    return sum(matrix[final][task] - matrix[task][task] for task in earlier) / len(earlier)


def forward_transfer(matrix: Matrix, alone: Mapping[int, float]) -> float:
    """Mean over tasks after the first of (accuracy when learned - accuracy of a network trained alone).

    In the multi-head setting a task has no head before it is learned, so zero-shot transfer is not
    defined; this is the difference to Scratch (as in Diaz-Rodriguez et al. 2018's intransigence, negated).
    """
    later = sorted(matrix)[1:]
    if not later:
        return 0.0
    return sum(matrix[task][task] - alone[task] for task in later) / len(later)
