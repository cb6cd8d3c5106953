"""Checkpoints of a stage of training: one safetensors file, replaced atomically.

It holds the tensors of what is trained and, in its metadata, a JSON object with the position (epoch) and
what was counted so far, and the digest of both. Random streams need no state: each is named by its position
(lsg.seeds). Every stage of a task has a file of its own, and all go when the task's record is written.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from lsg import digest
from lsg.files import DamagedFileError, write_bytes

Position = dict[str, Any]
_LOG = logging.getLogger(__name__)


class Checkpoints:
    """The checkpoints of one run directory, written at most every `seconds` seconds."""

    def __init__(self, directory: Path, seconds: float) -> None:
        self.directory, self.seconds, self.task = directory, seconds, 0
        self._last = time.monotonic()
        self._passed: set[Path] = set()
        """Checkpoints that this process has written or taken up."""

    def path(self, stage: int) -> Path:
        """Where the checkpoint of the stage of the task under way is."""
        return self.directory / f"checkpoint_{self.task:02d}_{stage}.safetensors"

    def due(self) -> bool:
        """Whether enough time has passed since the last one."""
        return time.monotonic() - self._last >= self.seconds

    def save(self, stage: int, tensors: Mapping[str, Tensor], position: Position) -> None:
        """Replace the stage's checkpoint."""
        plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        text = json.dumps(position, sort_keys=True)
        write_bytes(self.path(stage), save(plain, {"position": text, "digest": _digest(plain, text)}))
        self._passed.add(self.path(stage))
        self._last = time.monotonic()

    def load(self, stage: int) -> tuple[dict[str, Tensor], Position] | None:
        """The stage's tensors and position; None where there is no sound checkpoint.

        A damaged one is named in a warning and deleted with those of the stages behind it: the stage starts
        again, and nothing but time is lost.
        """
        path = self.path(stage)
        if not path.exists():
            return None
        try:
            saved = _read(path)
        except DamagedFileError:
            _LOG.warning("%s is damaged; stage %d of task %d starts again", path, stage, self.task)
            for other in set(self.directory.glob(f"checkpoint_{self.task:02d}_*.safetensors")) - self._passed:
                other.unlink()
            return None
        self._passed.add(path)
        return saved

    def clear(self) -> None:
        """Remove all checkpoints: their task is done, or given up."""
        for path in self.directory.glob("checkpoint_*.safetensors"):
            path.unlink()


def _read(path: Path) -> tuple[dict[str, Tensor], Position]:
    """A checkpoint's tensors and position. Raises DamagedFileError."""
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        text, expected = metadata["position"], metadata["digest"]
    except (SafetensorError, ValueError, KeyError) as error:
        raise DamagedFileError(path, error) from error
    if _digest(tensors, text) != expected:
        raise DamagedFileError(path, "its digest is not that of its content")
    position: Position = json.loads(text)
    return tensors, position


def _digest(tensors: Mapping[str, Tensor], position: str) -> str:
    return digest.of_json([digest.of_tensors(tensors), position])
