"""Bits of hand-made tasks: which kernels of the made units' LeNet a task's network uses."""

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file

from lsg.bank import packed
from tests.pipeline import made_units as made


def write_bits(directory: Path, task: int, conv1: list[list[int]], width: int = 2) -> None:
    """A task's file with these bits of conv1 `[outputs, inputs]`; others have `width` and use all."""
    widths = {"conv1": len(conv1), "conv2": width, "fc1": width, "fc2": width}
    shapes = {"conv2": (width, len(conv1)), "fc1": (width, width), "fc2": (width, width)}
    bits: Mapping[str, torch.Tensor] = {"conv1": torch.tensor(conv1, dtype=torch.bool)} | {
        name: torch.ones(shape, dtype=torch.bool) for name, shape in shapes.items()
    }
    stored = {f"{name}.used": packed(grid) for name, grid in bits.items()}
    save_file(
        stored | {"widths": torch.tensor(list(widths.values()))}, directory / f"task_{task:02d}.safetensors"
    )


def grow(directory: Path) -> None:
    """Three tasks: the second releases a kernel of the first and widens, the third only reuses."""
    write_bits(directory, 1, [[1], [0]])
    write_bits(directory, 2, [[0], [1], [1]])
    write_bits(directory, 3, [[1], [1], [0]])


def log_growth(directory: Path, task: int) -> None:
    """Two epochs of growing at a task: 1, then 3 of 4 candidates on."""
    for epoch, on in ((1, 1), (2, 3)):
        made.add_epoch(directory, task, epoch, stage=2, gates_on=on, candidates=4, size=0.2)
