"""Finished units beside the stages' files: data/units/<stage>/<benchmark>/, which DVC pushes and pulls.

The store of units, runs/, is outside DVC: it holds unfinished work and what other settings learned. A stage
keeps there, as its output, exactly the units it lists. The files are hard links where the disk has them, so
they take no room; nothing writes into a finished unit. In a fresh clone they become the store's again, each
checked first: a link shares what a fault of the disk does to a file.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from lsg.records import RESULT
from pipeline.errors import UserError
from pipeline.folders import aside, copy_file, rename_unless_there
from pipeline.units.proven import require_unchanged
from pipeline.units.store import LOCK, RunStore
from pipeline.units.unit import Unit

FOLDER = "units"
_LOG = logging.getLogger(__name__)


def keep(data: Path, stage: str, benchmark: str, units: Iterable[Unit], store: RunStore) -> None:
    """Make data/units/<stage>/<benchmark>/ hold the finished units, and no others."""
    folder = data / FOLDER / stage / benchmark
    folder.mkdir(parents=True, exist_ok=True)
    wanted = {folder / unit.method / store.directory(unit).name: store.directory(unit) for unit in units}
    for directory in folder.glob("*/*"):
        if directory not in wanted and directory.is_dir():
            shutil.rmtree(directory)
    for directory, source in wanted.items():
        if not _same(directory / RESULT, source / RESULT):
            with _linked(source, directory) as partial:
                shutil.rmtree(directory, ignore_errors=True)
                partial.rename(directory)


def restore(data: Path, store: RunStore, needed: bool = True) -> None:
    """Give the store those kept units of which it has nothing, as after `dvc pull` in a fresh clone.

    A unit that another process restores or begins meanwhile stays as that process has it. One that is damaged
    is left out with a warning, so that it is learned again; its stage then keeps what was learned.
    Raises UserError where the store cannot be written; a warning where the units are not `needed`, because
    whoever asks only looks at what is there.
    """
    for result in sorted(data.glob(f"{FOLDER}/*/*/*/*/{RESULT}")):
        kept = result.parent
        directory = store.root.joinpath(*kept.parts[-3:])
        if directory.exists():
            continue
        try:
            require_unchanged(kept)
        except UserError as error:
            _LOG.warning("%s is learned again, since its kept copy %s", directory, error)
            continue
        try:
            with _linked(kept, directory) as partial:
                rename_unless_there(partial, directory)
        except OSError as error:
            told = f"{directory} cannot get what {kept} holds ({error.strerror})"
            if needed:
                raise UserError(f"{told}; free space, mend its rights or set CL_LSG_RUNS") from error
            _LOG.warning("%s, nor other units that are kept; what is there is shown", told)
            return


@contextmanager
def _linked(source: Path, directory: Path) -> Iterator[Path]:
    """A folder aside of `directory` that holds the files of `source`."""
    with aside(directory) as partial:
        for file in source.iterdir():
            if file.name != LOCK:
                _link_file(file, partial / file.name)
        yield partial


def _link_file(source: Path, path: Path) -> None:
    try:
        os.link(source, path)
    except OSError:
        copy_file(source, path)


def _same(path: Path, source: Path) -> bool:
    """Whether both are the same file, or one is a copy of the other as old."""
    if not path.exists():
        return False
    return os.path.samefile(path, source) or path.stat().st_mtime_ns == source.stat().st_mtime_ns
