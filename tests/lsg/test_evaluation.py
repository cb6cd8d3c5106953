"""What is read off an accuracy matrix, by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from lsg.data import Split
from lsg.evaluation import accuracies, accuracy, average, backward_transfer, forgetting, forward_transfer
from tests.lsg.tiny import contrary_task, tiny_task

MATRIX = {1: {1: 0.9}, 2: {1: 0.95, 2: 0.8}, 3: {1: 0.7, 2: 0.8, 3: 0.6}}


def test_matrix_by_hand() -> None:
    assert average(MATRIX) == pytest.approx((0.7 + 0.8 + 0.6) / 3)
    assert forgetting(MATRIX) == pytest.approx(((0.95 - 0.7) + (0.8 - 0.8)) / 2)
    assert backward_transfer(MATRIX) == pytest.approx(((0.7 - 0.9) + 0.0) / 2)
    assert forward_transfer(MATRIX, {1: 0.5, 2: 0.7, 3: 0.65}) == pytest.approx((0.1 - 0.05) / 2)


def test_one_task_forgets_nothing() -> None:
    assert (
        forgetting({1: {1: 0.5}})
        == backward_transfer({1: {1: 0.5}})
        == forward_transfer({1: {1: 0.5}}, {})
        == 0
    )


class Brightness(nn.Module):
    """Says 1 where the second channel is bright."""

    def __init__(self, bias: float) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.tensor(bias))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        mean = images[:, 1].mean((1, 2))
        return torch.stack([self.bias.expand_as(mean), mean], 1)


def test_validation_and_test_are_measured_on_their_own_images() -> None:
    assert accuracies(Brightness(0.5), contrary_task(1)) == {"validation": 0.0, "test": 1.0}
    assert accuracies(Brightness(0.5), tiny_task(1)) == {"validation": 1.0, "test": 1.0}


def test_accuracy_counts_hits() -> None:
    task = tiny_task(1)
    assert accuracy(Brightness(0.5), task, task.test) == 1.0
    assert accuracy(Brightness(1e9), task, task.test) == 0.5
    with pytest.raises(ValueError, match="no images"):
        accuracy(Brightness(0.0), task, Split(task.test.images[:0], task.test.labels[:0]))
