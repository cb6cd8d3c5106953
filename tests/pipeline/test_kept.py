"""Finished units beside the stages' files: exactly the listed ones; in a fresh clone the store's again."""

import errno
import os
import re
import shutil
from pathlib import Path

import pytest

from lsg.events import ignore
from pipeline.errors import UserError
from pipeline.units.kept import keep, restore
from pipeline.units.store import RunStore, checkout, run_unit
from pipeline.units.unit import Unit
from tests.pipeline.sweep.made_trials import write_unit
from tests.pipeline.tiny_experiment import contents, tiny_plan


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    return RunStore(tmp_path / "runs")


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> RunStore:
    """Two real units: scratch on each of two tasks of digits."""
    made = RunStore(tmp_path_factory.mktemp("learned"))
    for unit in two_units():
        run_unit(unit, made, ignore)
    return made


def two_units() -> list[Unit]:
    return [unit for unit in tiny_plan().units("targets") if unit.method == "scratch"]


@pytest.fixture
def units(learned: RunStore, store: RunStore) -> list[Unit]:
    shutil.copytree(learned.root, store.root)
    return two_units()


def test_a_stage_keeps_its_units_without_room_and_drops_others(
    tmp_path: Path, store: RunStore, units: list[Unit]
) -> None:
    data = tmp_path / "data"
    keep(data, "targets", "digits", units, store)
    keep(data, "targets", "digits", units[1:], store)
    kept = data / "units/targets/digits"
    (directory,) = kept.glob("*/*")
    assert directory == kept / "scratch" / store.directory(units[1]).name
    assert contents(directory) == contents(store.directory(units[1]))
    assert not (directory / ".lock").exists()
    for file in directory.iterdir():
        assert os.path.samefile(file, store.directory(units[1]) / file.name)


def test_a_file_of_another_program_is_left_alone(tmp_path: Path, store: RunStore, units: list[Unit]) -> None:
    data = tmp_path / "data"
    keep(data, "targets", "digits", units, store)
    stray = data / "units/targets/digits/scratch/.DS_Store"
    stray.touch()
    keep(data, "targets", "digits", units[1:], store)
    assert stray.exists()
    assert len(list(stray.parent.iterdir())) == 2


def test_a_stage_without_units_leaves_the_folder_that_dvc_expects(tmp_path: Path, store: RunStore) -> None:
    keep(tmp_path / "data", "learn", "digits", [], store)
    assert list((tmp_path / "data/units/learn/digits").iterdir()) == []


def test_a_unit_that_was_learned_again_is_kept_anew(
    tmp_path: Path, store: RunStore, units: list[Unit]
) -> None:
    data = tmp_path / "data"
    keep(data, "targets", "digits", units, store)
    again = store.directory(units[0])
    shutil.rmtree(again)
    write_unit(units[0], again, [0.8])
    os.utime(again / "result.json", ns=(1, 1))
    keep(data, "targets", "digits", units, store)
    assert contents(data / "units/targets/digits/scratch" / again.name) == contents(again)


def test_a_fresh_clone_s_store_gets_the_kept_units_and_keeps_its_own(
    tmp_path: Path, store: RunStore, units: list[Unit]
) -> None:
    data, fresh = tmp_path / "data", RunStore(tmp_path / "clone")
    keep(data, "targets", "digits", units, store)
    begun = fresh.directory(units[1])
    begun.mkdir(parents=True)
    (begun / "unit.json").write_text(units[1].text)
    restore(data, fresh)
    assert fresh.finished(units[0])
    assert contents(fresh.directory(units[0])) == contents(store.directory(units[0]))
    assert [path.name for path in begun.iterdir()] == ["unit.json"]


def test_a_unit_that_another_process_begins_meanwhile_stays_as_it_is(
    tmp_path: Path, store: RunStore, units: list[Unit], monkeypatch: pytest.MonkeyPatch
) -> None:
    data, fresh = tmp_path / "data", RunStore(tmp_path / "clone")
    keep(data, "targets", "digits", units, store)
    begun, link = fresh.directory(units[0]), os.link

    def begin_and_link(source: Path, path: Path) -> None:
        begun.mkdir(exist_ok=True)
        (begun / "unit.json").write_text("of the other process")
        link(source, path)

    with monkeypatch.context() as patched:
        patched.setattr(os, "link", begin_and_link)
        restore(data, fresh)
    assert (begun / "unit.json").read_text() == "of the other process"
    assert [path.name for path in begun.iterdir()] == ["unit.json"]
    assert fresh.finished(units[1])
    assert sorted(begun.parent.iterdir()) == sorted(fresh.directory(unit) for unit in units)


@pytest.mark.parametrize("name", ["task_01.json", "task_01.safetensors", "job.json", "result.json"])
def test_a_unit_whose_kept_files_share_its_damage_is_learned_again_and_kept_anew(
    tmp_path: Path, store: RunStore, units: list[Unit], name: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The remedy that every such error names is to delete the unit's directory."""
    data, unit = tmp_path / "data", units[0]
    keep(data, "targets", "digits", units, store)
    good = contents(store.directory(unit))
    with (store.directory(unit) / name).open("r+b") as file:
        file.seek(len(good[name]) // 2)
        file.write(b"\x00")
    kept = data / "units/targets/digits/scratch" / store.directory(unit).name
    assert contents(kept)[name] == contents(store.directory(unit))[name] != good[name]
    shutil.rmtree(store.directory(unit))
    restore(data, store)
    assert not store.directory(unit).exists()
    assert f"{name} is damaged" in caplog.text
    run_unit(unit, store, ignore)
    keep(data, "targets", "digits", units, store)
    assert contents(kept) == contents(store.directory(unit)) == good


def test_what_a_kill_leaves_of_a_unit_is_nobody_s_unit(
    tmp_path: Path, store: RunStore, units: list[Unit], monkeypatch: pytest.MonkeyPatch
) -> None:
    data, fresh = tmp_path / "data", RunStore(tmp_path / "clone")
    keep(data, "targets", "digits", units, store)
    with monkeypatch.context() as patched:
        patched.setattr(shutil, "rmtree", lambda *_args, **_options: None)
        patched.setattr(Path, "rename", lambda *_paths: None)
        restore(data, fresh)
    assert list(fresh.root.glob("*/*/*/unit.json")) == []
    restore(data, fresh)
    assert all(fresh.finished(unit) for unit in units)


def test_files_are_copied_where_the_disk_has_no_links(
    tmp_path: Path, store: RunStore, units: list[Unit], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_paths: object) -> None:
        raise OSError("no links across devices")

    monkeypatch.setattr(os, "link", refuse)
    keep(tmp_path / "data", "learn", "digits", units, store)
    directory = tmp_path / "data/units/learn/digits/scratch" / store.directory(units[0]).name
    assert contents(directory) == contents(store.directory(units[0]))


def test_a_copy_that_finds_no_room_names_the_disk_it_was_for(
    tmp_path: Path, store: RunStore, units: list[Unit], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(source: object, path: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(source))

    monkeypatch.setattr(os, "link", fail)
    monkeypatch.setattr(shutil, "copy2", fail)
    with pytest.raises(OSError, match="No space left") as raised:
        keep(tmp_path / "data", "learn", "digits", units, store)
    assert str(raised.value.filename).startswith(str(tmp_path / "data"))


@pytest.mark.parametrize("needed", [True, False])
def test_a_store_that_cannot_be_written_stops_only_those_who_learn(
    tmp_path: Path,
    store: RunStore,
    units: list[Unit],
    needed: bool,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    data, full = tmp_path / "data", RunStore(tmp_path / "full")
    keep(data, "targets", "digits", units, store)

    def fail(source: object, path: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(source))

    monkeypatch.setattr(os, "link", fail)
    monkeypatch.setattr(shutil, "copy2", fail)
    said = rf"{full.root}.* cannot get what {data}.* holds \(No space left on device\)"
    if needed:
        with pytest.raises(UserError, match=f"{said}; free space"):
            restore(data, full)
    else:
        restore(data, full, needed=False)
        (warning,) = caplog.messages
        assert re.match(said, warning)
    assert not [path for path in full.root.rglob("*") if path.is_file()]


def test_dvc_s_copies_of_the_checkout_share_its_units(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CL_LSG_RUNS", raising=False)
    copy = tmp_path / ".dvc/tmp/exps/tmpabc"
    copy.mkdir(parents=True)
    for folder in (tmp_path, copy):
        monkeypatch.chdir(folder)
        assert checkout() == tmp_path
        assert RunStore.from_environment().root == tmp_path / "runs"
    monkeypatch.setenv("CL_LSG_RUNS", "/elsewhere")
    assert RunStore.from_environment().root == Path("/elsewhere")
