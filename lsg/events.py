"""The log of a run: one JSON object a line, appended while it runs, cut back when it resumes.

A run that was killed and goes on from its checkpoint first cuts the log back to what it held at that
checkpoint, and drops a task that was told but not recorded, so no line ever stands twice.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from lsg.files import DamagedFileError

Event = dict[str, object]
Report = Callable[[Event], None]


def ignore(event: Event) -> None:
    """A report that nobody reads."""


class EventLog:
    """`events.jsonl` of one directory; each event also goes to `report`."""

    def __init__(self, path: Path, report: Report = ignore) -> None:
        self.path, self.report = path, report

    def append(self, event: Event) -> None:
        """Add one event, durably: a checkpoint counts on the lines before it. Raises OSError."""
        with self.path.open("a") as file:
            file.write(json.dumps(event, sort_keys=True, allow_nan=False) + "\n")
            file.flush()
            os.fsync(file.fileno())
        self.report(event)

    def size(self) -> int:
        """Bytes of the log, to be stored in a checkpoint."""
        return self.path.stat().st_size if self.path.exists() else 0

    def cut_to(self, size: int) -> None:
        """Drop everything behind the first `size` bytes."""
        if self.size() > size:
            os.truncate(self.path, size)

    def size_behind_task(self, task: int | None) -> int:
        """Bytes up to and with the event that closes `task` (None: nothing). Raises DamagedFileError."""
        return next((end for event, of, end in self._lines() if event == "task" and of == task), 0)

    def drop_unrecorded(self, recorded: Callable[[int], bool]) -> None:
        """Drop a last line that was not written to its end, and a task's event if the task is not recorded.

        Raises DamagedFileError.
        """
        sound = 0
        for event, task, end in self._lines():
            if event == "task" and not recorded(task):
                break
            sound = end
        self.cut_to(sound)

    def _lines(self) -> Iterator[tuple[str, int, int]]:
        """Each whole line's event and task, and the size of the log with it. Raises DamagedFileError."""
        end = 0
        for line in self.path.read_bytes().splitlines(keepends=True) if self.path.exists() else ():
            end += len(line)
            if not line.endswith(b"\n"):
                return
            try:
                event = json.loads(line)
                yield event["event"], event["task"], end
            except (ValueError, KeyError, TypeError) as error:
                raise DamagedFileError(self.path, error) from error
