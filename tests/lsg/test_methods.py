"""What every method promises (`lsg.methods.method.Method`)."""

from __future__ import annotations

import pytest
import torch

from lsg.methods import METHODS
from lsg.methods.method import Method
from tests.lsg.tiny import tiny_architecture


def made(name: str) -> Method:
    return METHODS[name](tiny_architecture(), METHODS[name].Settings(), "clean", seed=1)


@pytest.mark.parametrize("name", METHODS)
def test_a_task_that_has_not_been_learned_has_no_network(name: str) -> None:
    with pytest.raises(KeyError):
        made(name).network(7)


@pytest.mark.parametrize("name", METHODS)
def test_tensors_that_are_not_a_task_s_are_refused(name: str) -> None:
    with pytest.raises((KeyError, ValueError, RuntimeError)):
        made(name).restore(1, {"nonsense": torch.zeros(1)})
