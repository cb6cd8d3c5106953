"""Putting a folder in place whole: a reader, or a kill, finds the old one, the new one or none."""

from __future__ import annotations

import os
import shutil
from pathlib import Path


def put_in_place(partial: Path, out: Path) -> None:
    """Make `partial`, written beside it, the folder `out`, durably. Raises OSError."""
    old = out.with_name(f".{out.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if out.exists():
        out.rename(old)
    partial.rename(out)
    _sync_folder(out.parent)
    shutil.rmtree(old, ignore_errors=True)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
