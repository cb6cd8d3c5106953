"""Checkpoints of a stage of training: one safetensors file, replaced atomically.

It holds the tensors of what is trained and, in its metadata, a JSON object with the position (epoch) and
what was counted so far. Random streams need no state: each is named by its position
(lsg.seeds). Every stage of a task has a file of its own, and all go when the task's record is written.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from lsg.files import write_bytes

Position = dict[str, Any]


class Checkpoints:
    """The checkpoints of one run directory, written at most every `seconds` seconds."""

    def __init__(self, directory: Path, seconds: float) -> None:
        self.directory, self.seconds, self.task = directory, seconds, 0
        self._last = time.monotonic()

    def path(self, stage: int) -> Path:
        """Where the checkpoint of the stage of the task under way is."""
        return self.directory / f"checkpoint_{self.task:02d}_{stage}.safetensors"

    def due(self) -> bool:
        """Whether enough time has passed since the last one."""
        return time.monotonic() - self._last >= self.seconds

    def save(self, stage: int, tensors: Mapping[str, Tensor], position: Position) -> None:
        """Replace the stage's checkpoint."""
        plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        write_bytes(self.path(stage), save(plain, {"position": json.dumps(position, sort_keys=True)}))
        self._last = time.monotonic()

    def load(self, stage: int) -> tuple[dict[str, Tensor], Position] | None:
        """The stage's tensors and position; None where there is no checkpoint or it cannot be read.

        A checkpoint that cannot be read is deleted: the stage starts again, and nothing but time is lost.
        """
        path = self.path(stage)
        if not path.exists():
            return None
        try:
            with safe_open(path, framework="pt") as file:
                position = json.loads(file.metadata()["position"])
                return {name: file.get_tensor(name) for name in file.keys()}, position  # noqa: SIM118
        except (SafetensorError, ValueError, KeyError, TypeError):
            path.unlink()
            return None

    def clear(self) -> None:
        """Remove all checkpoints; the task is done."""
        for path in self.directory.glob("checkpoint_*.safetensors"):
            path.unlink()
