"""What a run is asked for: one method over one sequence of tasks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from lsg.data import TaskFolder, TaskSource
from lsg.protocol import Protocol
from lsg.records import FORMAT, RunDirectory
from lsg.settings import require
from lsg.train_settings import TrainSettings


@dataclass(frozen=True)
class Job:
    """One method over one sequence of tasks.

    Args:
        tasks: numbers that rise; for another order, number the tasks of `data` in it.
        data: folder of the prepared tasks, or another source of them.
        network: `name` and options of the architecture.
        settings: of the method, an instance of its `Settings`.
        goals: target accuracy of tasks on the decision split.
        start: directory of a finished run whose tasks come before this one's. For Fine-tune alone, whose
            tasks have a network each; other methods need their earlier tasks in the same directory.
        threads: of torch on the CPU; sums differ in their last bits between numbers of threads.
    """

    benchmark: str
    method: str
    protocol: Protocol
    seed: int
    tasks: tuple[int, ...]
    data: Path | TaskSource
    network: Mapping[str, Any]
    train: TrainSettings
    settings: Any
    goals: Mapping[int, float] = field(default_factory=dict)
    start: Path | None = None
    threads: int = 1
    device: str = "cpu"

    def __post_init__(self) -> None:
        rising = bool(self.tasks) and list(self.tasks) == sorted(set(self.tasks))
        require(rising, "tasks", self.tasks, "one or more numbers that rise")

    @cached_property
    def source(self) -> TaskSource:
        """Where the tasks come from."""
        return TaskFolder(self.data) if isinstance(self.data, Path) else self.data

    def described(self) -> dict[str, Any]:
        """The job as `job.json` keeps it: without paths, with the shape of the images and the end of the
        chain of records that it starts from."""
        manifest = self.source.manifest()
        return {
            "format": FORMAT,
            "benchmark": self.benchmark,
            "method": self.method,
            "protocol": self.protocol,
            "seed": self.seed,
            "tasks": list(self.tasks),
            "network": dict(self.network),
            "image_shape": manifest["image_shape"],
            "data": manifest["digest"],
            "train": asdict(self.train),
            "settings": asdict(self.settings),
            "start": None if self.start is None else RunDirectory(self.start).end_of_chain(),
            "goals": {str(task): goal for task, goal in self.goals.items()},
            "threads": self.threads,
            "device": self.device,
        }
