"""A tar file of a stranger is unpacked, or refused by the name of what it should not hold."""

from __future__ import annotations

import errno
import gzip
import io
import lzma
import os
import tarfile
from collections.abc import Callable
from pathlib import Path
from tempfile import gettempdir

import pytest

from pipeline.archives import unpacked
from pipeline.errors import UserError


def packed(path: Path, **members: bytes | tarfile.TarInfo) -> Path:
    """A tar file of members by name, plain files from bytes."""
    with tarfile.open(path, "w:gz" if path.suffix == ".gz" else "w") as tar:
        for name, content in members.items():
            if isinstance(content, tarfile.TarInfo):
                tar.addfile(content)
                continue
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return path


def entry(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type, made.linkname = kind, target
    return made


@pytest.mark.parametrize("name", ["a.tar", "a.tar.gz"])
def test_what_is_inside_is_there_while_it_is_needed(tmp_path: Path, name: str) -> None:
    with unpacked(packed(tmp_path / name, **{"train/cat/1.png": b"one"})) as folder:
        assert (folder / "train/cat/1.png").read_bytes() == b"one"
        assert folder.name == name
    assert not folder.exists()


def test_a_folder_is_itself(tmp_path: Path) -> None:
    with unpacked(tmp_path) as folder:
        assert folder == tmp_path
    assert tmp_path.exists()


@pytest.mark.parametrize(
    ("member", "said"),
    [
        (
            entry("../out.txt", tarfile.REGTYPE),
            r"a.tar holds ../out.txt, which leads out of it; pack it again",
        ),
        (entry("in/../../out.txt", tarfile.REGTYPE), "which leads out of it"),
        (entry("/tmp/out.txt", tarfile.REGTYPE), "a.tar holds /tmp/out.txt, which leads out of it"),
        (entry("link", tarfile.SYMTYPE, "/etc/passwd"), "a.tar holds link, which is no plain file"),
        (entry("link", tarfile.SYMTYPE, "first"), "which is no plain file"),
        (entry("link", tarfile.LNKTYPE, "/etc/passwd"), "a.tar holds /etc/passwd, which leads out of it"),
        (entry("link", tarfile.LNKTYPE, "../first"), "a.tar holds ../first, which leads out of it"),
        (entry("pipe", tarfile.FIFOTYPE), "a.tar holds pipe, which is no plain file"),
    ],
)
def test_a_member_that_is_no_plain_file_inside_is_refused(
    tmp_path: Path, member: tarfile.TarInfo, said: str
) -> None:
    path = packed(tmp_path / "a.tar", first=b"1", bad=member)
    with pytest.raises(UserError, match=said), unpacked(path):
        pass
    assert not Path("/tmp/out.txt").exists()


def test_a_hard_link_is_the_file_that_it_links_to(tmp_path: Path) -> None:
    """`runs` and `data/units` packed together hold many."""
    path = packed(tmp_path / "a.tar", first=b"1", link=entry("link", tarfile.LNKTYPE, "first"))
    with unpacked(path) as folder:
        assert (folder / "link").read_bytes() == b"1"


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EFBIG])
def test_no_room_to_unpack_is_not_told_as_a_damaged_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def full(*_arguments: object, **_options: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(tarfile.TarFile, "extract", full)
    said = rf"{gettempdir()} has no room to unpack .*a\.tar .*; free it, or set TMPDIR"
    with pytest.raises(UserError, match=said), unpacked(packed(tmp_path / "a.tar", first=b"1")):
        pass


def test_a_file_that_is_no_whole_tar_is_one_error(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(b"no tar")
    whole = packed(tmp_path / "b.tar.gz", first=bytes(range(256)) * 400).read_bytes()
    (tmp_path / "b.tar.gz").write_bytes(whole[: len(whole) // 2])
    xz = bytearray(lzma.compress(whole))
    xz[len(xz) // 2] ^= 255
    (tmp_path / "c.tar.xz").write_bytes(xz)
    for name in ("a.tar", "b.tar.gz", "c.tar.xz"):
        with (
            pytest.raises(UserError, match=f"{name} cannot be unpacked .*; bring it again"),
            unpacked(tmp_path / name),
        ):
            pass


TWO = {"first": bytes(range(256)) * 400, "last": b"2"}
SECOND_HEADER = 512 + -(-len(TWO["first"]) // 512) * 512


def flipped(content: bytes, place: int) -> bytes:
    """The bytes with one bit turned over."""
    damaged = bytearray(content)
    damaged[place] ^= 1
    return bytes(damaged)


@pytest.mark.parametrize(
    "damage",
    [
        lambda tar: tar[:SECOND_HEADER],
        lambda tar: tar[: SECOND_HEADER + 100],
        lambda tar: tar[: SECOND_HEADER + 1024],
        lambda tar: flipped(tar, SECOND_HEADER + 3),
        lambda tar: flipped(tar, SECOND_HEADER + 1024),
    ],
    ids=["cut between members", "cut in a header", "without its end", "flipped header", "flipped end"],
)
@pytest.mark.parametrize("name", ["a.tar", "a.tar.gz"])
def test_a_damaged_tar_is_not_taken_for_a_smaller_one(
    tmp_path: Path, name: str, damage: Callable[[bytes], bytes]
) -> None:
    damaged = damage(packed(tmp_path / "whole.tar", **TWO).read_bytes())
    path = tmp_path / name
    path.write_bytes(gzip.compress(damaged) if name.endswith("gz") else damaged)
    with (
        pytest.raises(UserError, match=f"{name} cannot be unpacked .*; bring it again, whole"),
        unpacked(path),
    ):
        pytest.fail("it was unpacked")


@pytest.mark.parametrize("from_end", [1, 8, 9, 200], ids=["size", "checksum", "padding", "member"])
def test_a_compressed_tar_with_a_flipped_bit_is_refused(tmp_path: Path, from_end: int) -> None:
    path = packed(tmp_path / "a.tar.gz", **TWO)
    content = path.read_bytes()
    path.write_bytes(flipped(content, len(content) - from_end))
    with pytest.raises(UserError, match="a.tar.gz cannot be unpacked .*; bring it again"), unpacked(path):
        pytest.fail("it was unpacked")


def test_a_refused_tar_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = packed(tmp_path / "a.tar", **TWO)
    path.write_bytes(path.read_bytes()[:SECOND_HEADER])
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    with pytest.raises(UserError, match="cannot be unpacked"), unpacked(path):
        pytest.fail("it was unpacked")
    assert not list(folder.iterdir())
