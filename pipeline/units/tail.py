"""Follows a unit's log of events while it grows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, BinaryIO


class Tail:
    """Reads what a growing JSON-lines file gained since the last call.

    A resumed unit cuts its file back to its checkpoint. The last line read must therefore still stand where
    it stood; else the file is read again from its start.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0
        self._last = b""

    def read(self) -> list[dict[str, Any]]:
        """The new complete lines, in order; [] while the file does not exist."""
        try:
            with self._path.open("rb") as file:
                data = self._fresh(file)
        except FileNotFoundError:
            return []
        lines = data[: data.rfind(b"\n") + 1].splitlines(keepends=True)
        if lines:
            self._offset += sum(map(len, lines))
            self._last = lines[-1]
        return [event for line in lines if (event := _event(line))]

    def _fresh(self, file: BinaryIO) -> bytes:
        file.seek(self._offset - len(self._last))
        if file.read(len(self._last)) != self._last:
            self._offset, self._last = 0, b""
        file.seek(self._offset)
        return file.read()


def _event(line: bytes) -> dict[str, Any] | None:
    """The event of one line; None where a power cut left it torn: events are a view, not the record."""
    try:
        event = json.loads(line)
    except ValueError:
        return None
    return event if isinstance(event, dict) else None
