"""Learns a unit in a forked child process, with a fault that the child brings upon itself.

The fork comes from a server that has imported torch and trained nothing, so a child costs milliseconds. The
certificate's fresh process, which every run ends with, is left out here: other tests run it.
"""

from __future__ import annotations

import multiprocessing
import os
import resource
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from lsg import certificate
from pipeline.errors import first_line
from pipeline.units.store import RunStore, run_unit
from pipeline.units.unit import Unit

FAILED = 1
Fault = Callable[[Path], None]
"""Called in the child with the unit's directory before it begins."""

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload([__name__])


def learn_in_child(unit: Unit, store: RunStore, fault: Fault | None = None, seconds: float = 0.0) -> str:
    """Learn the unit in a child. Returns `killed`, `finished` or, for an error, its first line."""
    reader, writer = _context.Pipe(duplex=False)
    child: BaseProcess = _context.Process(target=_learn, args=(unit, store, fault, seconds, writer))
    child.start()
    writer.close()
    try:
        said = str(reader.recv())
    except EOFError:
        said = "killed"
    child.join()
    assert (child.exitcode == -signal.SIGKILL) == (said == "killed"), (child.exitcode, said)
    return said


def _learn(unit: Unit, store: RunStore, fault: Fault | None, seconds: float, answer: Any) -> None:
    certificate.verify_in_fresh_process = lambda directory: None
    if fault is not None:
        fault(store.directory(unit))
    try:
        run_unit(unit, store, lambda event: None, seconds)
    except Exception as error:
        answer.send(first_line(error))
    else:
        answer.send("finished")


@dataclass(frozen=True)
class KillAtWrite:
    """SIGKILL before the `number`-th change (from 0) to the unit's files, which leaves half of what was being
    written.

    A change is what CPython reports to audit hooks: a file opened for writing, renamed, removed or cut.
    """

    number: int

    def __call__(self, directory: Path) -> None:
        left = self.number

        def hook(event: str, arguments: tuple[Any, ...]) -> None:
            nonlocal left
            if not _changes(event, arguments, directory):
                return
            if left == 0:
                if event == "os.rename":
                    os.truncate(arguments[0], os.stat(arguments[0]).st_size // 2)
                os.kill(os.getpid(), signal.SIGKILL)
            left -= 1

        sys.addaudithook(hook)


def _changes(event: str, arguments: tuple[Any, ...], directory: Path) -> bool:
    """Whether the audited event is a change to a file of the directory."""
    if event == "open":
        writes = isinstance(arguments[1], str) and arguments[1][0] in "wa"
    else:
        writes = event in ("os.rename", "os.remove", "os.truncate")
    return writes and str(arguments[0]).startswith(f"{directory}{os.sep}")


@dataclass(frozen=True)
class DiskFull:
    """The kernel's "No space left on device" for the write of one of the unit's files: what is written aside
    for it lands in /dev/full."""

    name: str

    def __call__(self, directory: Path) -> None:
        aside = directory / f".{self.name}.{os.getpid()}.part"

        def hook(event: str, arguments: tuple[Any, ...]) -> None:
            if event == "open" and str(arguments[0]) == str(aside) and not aside.is_symlink():
                aside.symlink_to("/dev/full")

        sys.addaudithook(hook)


@dataclass(frozen=True)
class FileLimit:
    """The kernel refuses to let any file grow beyond so many bytes."""

    bytes: int

    def __call__(self, directory: Path) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (self.bytes, self.bytes))
