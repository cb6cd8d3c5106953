"""Folders that hold what they should: put in place whole, and cleared of what is no longer written."""

from __future__ import annotations

import errno
import filecmp
import os
import re
import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from lsg.files import sync_folder


@contextmanager
def aside(out: Path) -> Iterator[Path]:
    """An empty folder of this process's own on the disk of `out`, to be renamed to it; else it is gone after.

    It has the name of `out` and lies a folder deeper, so that nobody takes it, or what a kill leaves of it,
    for what lies beside `out`.
    """
    own = out.with_name(f".{out.name}.{os.getpid()}.partial")
    shutil.rmtree(own, ignore_errors=True)
    try:
        (own / out.name).mkdir(parents=True)
        yield own / out.name
    finally:
        shutil.rmtree(own, ignore_errors=True)


def put_in_place(partial: Path, out: Path) -> None:
    """Make `partial`, written aside, the folder `out`, durably. Raises OSError; `out` stays then."""
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
    sync_folder(out.parent)
    remove_leftovers(out, "old")  # what was replaced here, or by a process that died


def remove_leftovers(out: Path, *kinds: str) -> None:
    """Remove what processes left of `out`: `partial` what they had begun, `old` what they had replaced."""
    name = re.compile(rf"\.{re.escape(out.name)}\.\d+\.({'|'.join(kinds)})")
    for path in out.parent.glob(".*"):
        if name.fullmatch(path.name):
            shutil.rmtree(path, ignore_errors=True)


def is_leftover(path: Path) -> bool:
    """Whether the path lies in what a process has begun or replaced, and may be dead since."""
    return any(re.fullmatch(r"\..+\.\d+\.(partial|old)", part) for part in path.parts)


def copy_file(source: Path, path: Path) -> None:
    """Copy a file, times included.

    OSError names the copy, where Python names the source, on another disk; of a missing source it names that.
    """
    try:
        shutil.copy2(source, path)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error


def rename_unless_there(partial: Path, out: Path) -> bool:
    """Make `partial` the folder `out`; False where that holds files, when the disk itself refuses."""
    try:
        partial.rename(out)
    except OSError as error:
        if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
            raise
        return False
    return True


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
