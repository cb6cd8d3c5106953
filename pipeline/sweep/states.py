"""Tune's own files of a sweep, of which a kill may leave some cut short.

Each time that it runs, a session, Tune writes which trials there are and what its search has drawn, in place
and again and again. What it finds of the newest session it goes on with, so files of one session stand or
fall together.
"""

from __future__ import annotations

import json
import pickletools
import re
from collections import deque
from pathlib import Path

STATES = "experiment_state-*.json"
"""Which trials there are and how far they came; search states, which are pickles, lie beside it."""
_OF_SESSION = re.compile(r".+-(\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d)\.(?:json|pkl)")


def remove_torn(folder: Path) -> None:
    """Remove the files of sessions of which one cannot be read. An earlier one goes on, or a new run.

    What trials have learned stays, and is found in their units' directories.
    """
    sessions: dict[str, list[Path]] = {}
    for path in folder.glob("*"):
        if named := _OF_SESSION.fullmatch(path.name):
            sessions.setdefault(named[1], []).append(path)
    for files in sessions.values():
        if not (any(path.match(STATES) for path in files) and all(map(_is_whole, files))):
            for path in files:
                path.unlink()


def _is_whole(path: Path) -> bool:
    content = path.read_bytes()
    try:
        if path.match(STATES):
            json.loads(content)
        else:
            deque(pickletools.genops(content), maxlen=0)  # reads it to its end, makes nothing of it
    except ValueError:
        return False
    return True
