"""A tar file of a stranger is unpacked, or refused by the name of what it should not hold."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

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
        (entry("link", tarfile.LNKTYPE, "first"), "which is no plain file"),
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


def test_a_file_that_is_no_whole_tar_is_one_error(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(b"no tar")
    whole = packed(tmp_path / "b.tar.gz", first=bytes(range(256)) * 400).read_bytes()
    (tmp_path / "b.tar.gz").write_bytes(whole[: len(whole) // 2])
    for name in ("a.tar", "b.tar.gz"):
        with (
            pytest.raises(UserError, match=f"{name} cannot be unpacked .*; bring it again"),
            unpacked(tmp_path / name),
        ):
            pass
