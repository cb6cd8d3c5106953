"""Folders that hold what they should: put in place whole, and cleared of what is no longer written."""

from __future__ import annotations

import filecmp
import os
import shutil
from collections.abc import Collection
from pathlib import Path


def put_in_place(partial: Path, out: Path) -> None:
    """Make `partial`, written beside it, the folder `out`, durably. Raises OSError; `out` stays then."""
    old = out.with_name(f".{out.name}.{os.getpid()}.old")
    shutil.rmtree(old, ignore_errors=True)
    if out.exists():
        out.rename(old)
    try:
        partial.rename(out)
    except OSError:
        if old.exists():
            old.rename(out)
        raise
    _sync_folder(out.parent)
    shutil.rmtree(old, ignore_errors=True)


def holds_the_same(folder: Path, other: Path) -> bool:
    """Whether both folders are there and hold the same files, byte by byte."""
    if not (folder.is_dir() and other.is_dir()):
        return False
    names = sorted(path.name for path in folder.iterdir())
    same, _, _ = filecmp.cmpfiles(folder, other, names, shallow=False)
    return same == names == sorted(path.name for path in other.iterdir())


def leave_only(folder: Path, stems: Collection[str]) -> None:
    """Removes what else stands in a folder of written files, such as of an earlier, larger experiment.

    Called after the writing, so that a full disk loses nothing.
    """
    for path in folder.iterdir():
        if path.is_file() and path.stem not in stems:
            path.unlink()


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
