"""Folders are put in place whole or not at all, compared by their bytes, and cleared of other files."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from unittest.mock import Mock

import pytest

from pipeline.folders import (
    aside,
    copy_file,
    holds_the_same,
    leave_only,
    put_in_place,
    remove_leftovers,
    rename_unless_there,
)


def made(folder: Path, **texts: str) -> Path:
    """A folder of text files."""
    folder.mkdir()
    for stem, text in texts.items():
        (folder / f"{stem}.txt").write_text(text)
    return folder


def contents(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir()}


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("there", [True, False])
def test_a_folder_takes_the_place_of_the_old_one(tmp_path: Path, there: bool) -> None:
    if there:
        made(tmp_path / "a", old="1", same="2")
    put_in_place(made(tmp_path / ".a.partial", new="3", same="4"), tmp_path / "a")
    assert contents(tmp_path / "a") == {"new.txt": "3", "same.txt": "4"}
    assert names(tmp_path) == ["a"]


def test_what_a_dead_process_left_goes_too_whatever_the_folder_is_called(tmp_path: Path) -> None:
    made(tmp_path / "a [1]", old="1")
    made(tmp_path / ".a [1].99999999.old", older="0")
    put_in_place(made(tmp_path / ".partial", new="2"), tmp_path / "a [1]")
    assert names(tmp_path) == ["a [1]"]
    assert contents(tmp_path / "a [1]") == {"new.txt": "2"}


def test_leftovers_are_those_of_the_folder_and_not_of_one_whose_name_begins_alike(tmp_path: Path) -> None:
    for name in (".a.7.old", ".a.7.partial", ".a.2.7.old", ".a.b.7.partial", ".ab.7.old"):
        made(tmp_path / name, file="1")
    remove_leftovers(tmp_path / "a", "old")
    assert names(tmp_path) == [".a.2.7.old", ".a.7.partial", ".a.b.7.partial", ".ab.7.old"]
    remove_leftovers(tmp_path / "a.2", "old", "partial")
    assert names(tmp_path) == [".a.7.partial", ".a.b.7.partial", ".ab.7.old"]


def test_a_copy_that_fails_is_named_by_where_it_should_stand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made(tmp_path / "a", file="1")
    full = OSError(errno.ENOSPC, "No space left on device", str(tmp_path / "a/file.txt"))
    monkeypatch.setattr("shutil.copyfile", Mock(side_effect=full))
    with pytest.raises(OSError, match=r"No space left on device: .*/b\.txt"):
        copy_file(tmp_path / "a/file.txt", tmp_path / "b.txt")


def test_a_folder_aside_lies_deeper_and_is_gone_after(tmp_path: Path) -> None:
    with aside(tmp_path / "a") as partial:
        assert (partial.name, partial.parent.parent, names(partial)) == ("a", tmp_path, [])
        (partial / "new.txt").write_text("1")
        assert rename_unless_there(partial, tmp_path / "a")
    with aside(tmp_path / "a") as partial:
        assert not rename_unless_there(partial, tmp_path / "a"), "it holds files"
    assert names(tmp_path) == ["a"]
    assert contents(tmp_path / "a") == {"new.txt": "1"}


def test_the_old_folder_stays_where_the_new_one_cannot_take_its_place(tmp_path: Path) -> None:
    made(tmp_path / "a", old="1")
    with pytest.raises(FileNotFoundError, match=r"\.a\.partial"):
        put_in_place(tmp_path / ".a.partial", tmp_path / "a")
    assert contents(tmp_path / "a") == {"old.txt": "1"}
    assert names(tmp_path) == ["a"]


def test_what_fails_without_an_old_folder_says_so(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"\.a\.partial"):
        put_in_place(tmp_path / ".a.partial", tmp_path / "a")
    assert names(tmp_path) == []


def test_folders_hold_the_same_if_they_have_the_same_files_with_the_same_bytes(tmp_path: Path) -> None:
    one = made(tmp_path / "one", a="1", b="2")
    assert holds_the_same(one, made(tmp_path / "same", a="1", b="2"))
    for name, texts in {
        "bytes": {"a": "1", "b": "3"},
        "more": {"a": "1", "b": "2", "c": "3"},
        "fewer": {"a": "1"},
    }.items():
        other = made(tmp_path / name, **texts)
        for path in (*one.iterdir(), *other.iterdir()):
            os.utime(path, (0, 0))
        assert not holds_the_same(one, other), name
    assert not holds_the_same(one, tmp_path / "none")
    assert not holds_the_same(tmp_path / "none", one)


def test_files_of_other_stems_go_and_folders_stay(tmp_path: Path) -> None:
    for name in ("kept.csv", "kept.tex", "other.csv", "kept.more.csv"):
        (tmp_path / name).write_text(name)
    made(tmp_path / "folder", other="1")
    leave_only(tmp_path, ["kept", "absent"])
    assert names(tmp_path) == ["folder", "kept.csv", "kept.tex"]
    assert contents(tmp_path / "folder") == {"other.txt": "1"}
