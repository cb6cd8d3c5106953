"""A unit of work: one method and seed on one task, or on a sequence of tasks.

A unit's key is the digest of everything that decides its bytes. What is not in the key (where it runs, how
often it is saved, what watches it) may change freely.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from lsg.protocol import Protocol

DATA = Path("data")
"""Where the stages' files lie."""


@dataclass(frozen=True)
class Numerics:
    """What changes the bits of a result without changing what is computed."""

    torch: str
    threads: int
    device: Literal["cpu", "cuda"]


@dataclass(frozen=True)
class Unit:
    """One directory of work. `data` and `code` are digests.

    Not in the key: `prepared`, the folder of the tasks, and what training takes at most: optimiser steps of
    each task, and multiply-accumulates (forward and backward) of all.
    """

    benchmark: str
    method: str
    protocol: Protocol
    seed: int
    tasks: tuple[int, ...]
    network: dict[str, Any]
    train: Any
    settings: Any
    data: str
    code: str
    numerics: Numerics
    goals: dict[int, float] = field(default_factory=dict)
    start: Unit | None = None
    prepared: Path = DATA / "tasks"
    task_steps: tuple[int, ...] = ()
    macs: int = 0

    def covers(self) -> dict[str, Any]:
        """What the key covers, as JSON values: the content of unit.json."""
        return {
            "format": 1,
            "benchmark": self.benchmark,
            "method": self.method,
            "protocol": self.protocol,
            "seed": self.seed,
            "tasks": list(self.tasks),
            "network": self.network,
            "train": asdict(self.train),
            "settings": asdict(self.settings),
            "goals": {str(task): goal for task, goal in self.goals.items()},
            "data": self.data,
            "code": self.code,
            "numerics": asdict(self.numerics) | {"dtype": "float32"},  # of weights, whatever `precision` is
            "start": self.start.key if self.start else None,
        }

    @cached_property
    def text(self) -> str:
        """unit.json's text: one way to write what the key covers."""
        return json.dumps(self.covers(), sort_keys=True, indent=2) + "\n"

    @cached_property
    def key(self) -> str:
        """Sha256 of all that decides the unit's bytes."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    @property
    def steps(self) -> int:
        """Optimiser steps at most."""
        return sum(self.task_steps)

    @property
    def label(self) -> str:
        """The unit in words, unique within its method and settings: seed1, or seed1-task03."""
        return label(self.seed, self.tasks)

    @property
    def name(self) -> str:
        """The unit as tables and messages call it: `scratch seed1-task03`."""
        return f"{self.method} {self.label}"


def label(seed: int, tasks: Sequence[int]) -> str:
    """A unit's seed, and its task where it holds one alone."""
    return f"seed{seed}" + (f"-task{tasks[0]:02d}" if len(tasks) == 1 else "")


def short(key: str) -> str:
    """As much of a key as directories are named by."""
    return key[:12]


def data_digest(manifest: Mapping[str, Any]) -> str:
    """Over what a manifest says of images and tasks, with the tasks' digests and their classes' names."""
    content = {name: manifest[name] for name in ("image_shape", "tasks")}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
