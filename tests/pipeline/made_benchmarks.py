"""Hand-made results of a benchmark with any methods: accuracies and sizes by method, seed and task."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.report.frames import Frames, read_frames
from tests.pipeline import made_units as made

Changes = Mapping[str, Any]
"""What a task's record has instead of the plain values."""


class Results:
    """Units of one benchmark below `root`, and the listing that names them."""

    def __init__(self, root: Path, benchmark: str) -> None:
        self.root, self.benchmark = root, benchmark
        self.places: dict[str, str] = {}

    def add(
        self,
        method: str,
        reached: Sequence[float],
        seed: int = 1,
        sizes: Sequence[float] | None = None,
        changes: Mapping[int, Changes] | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        """One unit of all tasks: `reached` in % and, where they matter, `sizes` after each task."""
        tasks = range(1, len(reached) + 1)
        own_settings = {"settings": dict(settings)} if settings else {}
        definition = made.definition(method, seed, tasks, benchmark=self.benchmark, **own_settings)
        directory = made.begin(self.root / "runs", definition)
        shares = [value / 100 for value in reached]
        for task in tasks:
            own = dict((changes or {}).get(task, {}))
            if sizes is not None:
                own["size"] = dict.fromkeys(("allocated", "used", "stored"), sizes[task - 1])
            made.learn(directory, task, shares[:task], **own)
        made.finish(directory)
        self.places[f"{method} seed{seed}"] = directory.relative_to(self.root / "runs").as_posix()

    def forget(self, method: str, row: Sequence[float], seed: int = 1) -> None:
        """After its last task the unit's accuracies are `row`, in %."""
        directory = self.root / "runs" / self.places[f"{method} seed{seed}"]
        made.learn(directory, len(row), [value / 100 for value in row])
        made.finish(directory)

    def frames(self) -> Frames:
        listing = self.root / "learned.json"
        made.write(listing, {"format": 1, "units": self.places})
        return read_frames(self.benchmark, [listing], self.root / "runs")
