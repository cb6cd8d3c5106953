"""Tar files of other people: unpacked without links, devices or ways out of the folder."""

from __future__ import annotations

import errno
import lzma
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory, gettempdir

from pipeline.errors import UserError, first_line

END = bytes(2 * tarfile.BLOCKSIZE)
"""What a tar file ends with, before any padding."""
READ_BYTES = 1 << 20
NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS}
BROKEN = (tarfile.TarError, EOFError, OSError, zlib.error, lzma.LZMAError)


@contextmanager
def unpacked(path: Path) -> Iterator[Path]:
    """`path` itself, or, where it is a file, a temporary folder with what that tar file holds.

    The folder bears the tar file's name, so that messages about what is inside name it. Raises UserError like
    `_extract`.
    """
    if not path.is_file():
        yield path
        return
    with TemporaryDirectory(prefix="cl-lsg-") as folder:
        inside = Path(folder) / path.name
        _extract(path, inside)
        yield inside


def _extract(archive: Path, folder: Path) -> None:
    """Raises UserError for a file that is no whole tar file or holds anything but plain files (hard links of
    them too) and folders, and where there is no room for what it holds."""
    folder.mkdir()
    try:
        with tarfile.open(archive) as tar:
            for member in tar:
                _require_plain(member, archive)
                tar.extract(member, folder, filter="data")
            _require_end(tar)
    except BROKEN as error:
        if isinstance(error, OSError) and error.errno in NO_ROOM:
            raise UserError(
                f"{gettempdir()} has no room to unpack {archive} ({error.strerror}); free it, or set TMPDIR"
            ) from error
        raise UserError(
            f"{archive} cannot be unpacked as a tar file ({first_line(error)}); bring it again, whole"
        ) from error


def _require_end(tar: tarfile.TarFile) -> None:
    """Raise ReadError unless the members ended where a whole tar file ends.

    tarfile takes a damaged header, and a file that is cut between two members, for the end. A compressed
    file is read to its own end too, since its checksum stands there.
    """
    stream = tar.fileobj
    assert stream is not None
    stream.seek(tar.offset)
    if stream.read(len(END)) != END:
        raise tarfile.ReadError(f"no member and no end of the archive at byte {tar.offset}")
    while stream.read(READ_BYTES):
        pass


def _require_plain(member: tarfile.TarInfo, archive: Path) -> None:
    for place in (member.name, member.linkname) if member.islnk() else (member.name,):
        path = PurePosixPath(place)
        if path.is_absolute() or ".." in path.parts:
            raise UserError(f"{archive} holds {place}, which leads out of it; pack it again from inside")
    if not (member.isfile() or member.isdir() or member.islnk()):
        raise UserError(f"{archive} holds {member.name}, which is no plain file; pack it again without it")
