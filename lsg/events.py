"""The log of a run: one JSON object a line, appended while it runs, cut back when it resumes.

A run that was killed and goes on from its checkpoint first cuts the log back to what it held at that
checkpoint, so no line ever stands twice.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

Event = dict[str, object]
Report = Callable[[Event], None]


def ignore(event: Event) -> None:
    """A report that nobody reads."""


class EventLog:
    """`events.jsonl` of one directory; each event also goes to `report`."""

    def __init__(self, path: Path, report: Report = ignore) -> None:
        self.path, self.report = path, report

    def append(self, event: Event) -> None:
        """Add one event, flushed to the file."""
        with self.path.open("a") as file:
            file.write(json.dumps(event, sort_keys=True, allow_nan=False) + "\n")
        self.report(event)

    def size(self) -> int:
        """Bytes of the log, to be stored in a checkpoint."""
        return self.path.stat().st_size if self.path.exists() else 0

    def cut_to(self, size: int) -> None:
        """Drop everything behind the first `size` bytes."""
        if self.size() > size:
            os.truncate(self.path, size)

    def size_behind_task(self, task: int | None) -> int:
        """Bytes up to and with the event that closes `task` (None: nothing)."""
        size = 0
        for line in self.path.read_bytes().splitlines(keepends=True) if self.path.exists() and task else ():
            size += len(line)
            event = json.loads(line) if line.endswith(b"\n") else {}
            if event.get("event") == "task" and event["task"] == task:
                return size
        return 0
