"""Units of another machine come in whole and proven, or stay outside by name; nothing finished is touched."""

from __future__ import annotations

import json
import re
import shutil
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from lsg import certificate
from lsg.events import ignore
from lsg.methods import METHODS
from pipeline.cli import main
from pipeline.errors import UserError
from pipeline.units import imported
from pipeline.units.imported import bring
from pipeline.units.proven import prove
from pipeline.units.store import RunStore, run_unit
from tests.pipeline.tiny_experiment import contents, tiny_plan


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> RunStore:
    """Three real units of digits: scratch's task 1, fine-tune's task 2 from it, and two tasks of cl-lsg."""
    store, plan = RunStore(tmp_path_factory.mktemp("elsewhere") / "runs"), tiny_plan()
    targets = plan.units("targets")
    chosen = [
        next(unit for unit in targets if unit.name == name)
        for name in ("scratch seed1-task01", "fine-tune seed1-task02")
    ]
    for unit in (*chosen, *plan.units("learn", {1: {1: 0.9, 2: 0.9}})):
        run_unit(unit, store, ignore)
    return store


@pytest.fixture
def brought_along(elsewhere: RunStore, tmp_path: Path) -> Path:
    """A copy of their folder that a test may spoil."""
    return Path(shutil.copytree(elsewhere.root, tmp_path / "elsewhere/runs"))


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    return RunStore(tmp_path / "here/runs")


def unit_of(folder: Path, method: str) -> Path:
    (directory,) = (folder / "digits" / method).iterdir()
    return directory


def packed(folder: Path, path: Path) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        tar.add(folder, "runs")
    return path


@pytest.mark.parametrize("pack", [False, True])
def test_finished_units_come_in_whole_and_once(
    brought_along: Path, tmp_path: Path, store: RunStore, pack: bool
) -> None:
    (unit_of(brought_along, "cl-lsg") / ".lock").touch()
    (unit_of(brought_along, "cl-lsg") / "notes.txt").write_text("not a unit's file")
    source = packed(brought_along, tmp_path / "runs.tar.gz") if pack else brought_along
    brought = bring(source, store)
    names = [
        unit_of(brought_along, method).relative_to(brought_along).as_posix()
        for method in ("cl-lsg", "scratch", "fine-tune")
    ]
    assert (brought.new, brought.known, brought.unfinished, brought.faults) == (names, [], [], {})
    for name in names:
        assert contents(store.root / name) == {
            file: content for file, content in contents(brought_along / name).items() if file != "notes.txt"
        }
        result = store.root / name / "result.json"
        assert result.stat().st_mtime == pytest.approx(
            (brought_along / name / "result.json").stat().st_mtime, abs=1
        )
        certificate.verify(store.root / name)
    again = bring(source, store)
    assert (again.new, again.known, again.faults) == ([], names, {})


def test_a_finished_unit_here_is_not_overwritten(brought_along: Path, store: RunStore) -> None:
    bring(brought_along, store)
    mine = unit_of(store.root, "scratch") / "seconds.json"
    mine.write_text('{"1": 99.0}')
    assert bring(brought_along, store).new == []
    assert mine.read_text() == '{"1": 99.0}'


def test_a_unit_begun_here_is_not_replaced(brought_along: Path, store: RunStore) -> None:
    name = unit_of(brought_along, "scratch").relative_to(brought_along)
    (store.root / name).mkdir(parents=True)
    (store.root / name / "events.jsonl").write_text("")
    brought = bring(brought_along, store)
    assert "is begun here and not finished; finish it, or delete it" in brought.faults[name.as_posix()]
    assert [file.name for file in (store.root / name).iterdir()] == ["events.jsonl"]


def test_a_lost_file_that_proves_nothing_is_named_and_no_part_of_the_unit_stays(
    brought_along: Path, store: RunStore
) -> None:
    (unit_of(brought_along, "cl-lsg") / "seconds.json").unlink()
    (fault,) = bring(brought_along, store).faults.values()
    assert fault == "seconds.json is damaged (it is missing); bring it again, whole"
    assert list((store.root / "digits/cl-lsg").iterdir()) == []


@pytest.mark.parametrize("finished", [True, False])
def test_a_unit_that_another_process_brings_meanwhile_is_there_already(
    brought_along: Path, store: RunStore, monkeypatch: pytest.MonkeyPatch, finished: bool
) -> None:
    name = unit_of(brought_along, "scratch").relative_to(brought_along)

    def slow(directory: Path) -> certificate.Report:
        if directory == brought_along / name:
            (store.root / name).mkdir(parents=True)
            (store.root / name / ("result.json" if finished else "events.jsonl")).write_text("of the other")
        return prove(directory)

    monkeypatch.setattr(imported, "prove", slow)
    brought = bring(brought_along / name, store)
    assert (brought.new, brought.known) == ([], [name.as_posix()] if finished else [])
    assert ["is begun here and not finished" in fault for fault in brought.faults.values()] == [True] * (
        not finished
    )
    (only,) = (store.root / name).iterdir()
    assert only.read_text() == "of the other"
    assert [path.name for path in (store.root / name).parent.iterdir()] == [name.name]


def test_an_unfinished_unit_is_left_out_by_name(brought_along: Path, store: RunStore) -> None:
    directory = unit_of(brought_along, "cl-lsg")
    (directory / "result.json").unlink()
    brought = bring(brought_along, store)
    assert brought.unfinished == [directory.relative_to(brought_along).as_posix()]
    assert not (store.root / "digits/cl-lsg").exists()


def test_a_unit_without_the_one_that_it_starts_from_is_refused(brought_along: Path, store: RunStore) -> None:
    name = unit_of(brought_along, "fine-tune").relative_to(brought_along).as_posix()
    shutil.rmtree(brought_along / "digits/scratch")
    assert "which is not here; bring that one with it" in bring(brought_along, store).faults[name]


def flip(path: Path, place: int = -1) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


def edit(path: Path, change: Callable[[dict[str, object]], object]) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n")


Damage = Callable[[Path], object]
DAMAGES: dict[str, tuple[Damage, str]] = {
    "a weight": (lambda unit: flip(unit / "task_02.safetensors"), r"task_02.safetensors is damaged .*digest"),
    "no tensors": (
        lambda unit: (unit / "task_01.safetensors").unlink(),
        "task_01.safetensors is damaged .*missing",
    ),
    "an earlier record": (
        lambda unit: edit(unit / "task_01.json", lambda record: record.update(reason="luck")),
        "task_01.json is damaged .it was changed",
    ),
    "the last record": (
        lambda unit: edit(unit / "task_02.json", lambda record: record.update(reason="luck")),
        "task_02.json is damaged .it was changed",
    ),
    "the last record where no result holds its digest": (
        lambda unit: (
            edit(unit / "task_02.json", lambda record: record.update(reason="luck")),
            edit(unit / "result.json", lambda result: result.pop("last_record")),
        ),
        "record of task 2 is not the one in its events.jsonl",
    ),
    "no record": (lambda unit: (unit / "task_02.json").unlink(), "task_02.json"),
    "the matrix": (
        lambda unit: edit(unit / "result.json", lambda result: result["matrix"]["2"].update({"1": 1.5})),
        "result.json does not follow from its tasks' records",
    ),
    "the average": (
        lambda unit: edit(unit / "result.json", lambda result: result.update(average=1.0)),
        "result.json does not follow",
    ),
    "the job": (
        lambda unit: edit(unit / "job.json", lambda job: job.update(seed=2)),
        "job.json is damaged .it differs from unit.json in seed",
    ),
    "an empty job": (
        lambda unit: (unit / "job.json").write_text("{}"),
        "job.json is damaged .it has no tasks, method, ",
    ),
    "a job that is a list": (
        lambda unit: (unit / "job.json").write_text("[]"),
        "job.json is damaged .not a JSON object",
    ),
    "a result that is a list": (
        lambda unit: edit(unit / "result.json", lambda result: result.update(matrix=[])),
        "this version of the project cannot read it .AttributeError",
    ),
    "other settings": (
        lambda unit: edit(unit / "unit.json", lambda covers: covers.update(protocol="paper")),
        "its unit.json is that of digits/cl-lsg/seed1-",
    ),
    "no JSON": (lambda unit: flip(unit / "unit.json", 0), "unit.json is damaged"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_unit_stays_outside_by_name_and_the_others_come_in(
    brought_along: Path, store: RunStore, name: str
) -> None:
    damage, said = DAMAGES[name]
    directory = unit_of(brought_along, "cl-lsg")
    damage(directory)
    brought = bring(brought_along, store)
    assert list(brought.faults) == [directory.relative_to(brought_along).as_posix()]
    (fault,) = brought.faults.values()
    assert re.search(said, fault), fault
    assert str(brought_along) not in fault, "an unpacked file's folder is gone by then"
    assert not re.search("delete|cl-lsg run", fault), "what helps here is no help for another machine's unit"
    assert len(brought.new) == 2
    assert not (store.root / "digits/cl-lsg").exists()


def test_another_unit_s_name_is_refused(brought_along: Path, store: RunStore) -> None:
    directory = unit_of(brought_along, "cl-lsg")
    for place in (
        directory.with_name("seed1-0123456789ab"),
        brought_along / "cifar100-split/cl-lsg" / directory.name,
    ):
        place.parent.mkdir(exist_ok=True, parents=True)
        shutil.copytree(directory, place)
        (fault,) = bring(place, store).faults.values()
        assert (
            f"its unit.json is that of digits/cl-lsg/{directory.name}; bring the directory as it was" in fault
        )
    assert not store.root.exists()


@contextmanager
def without(known: dict[str, Any], name: str) -> Iterator[None]:
    """A registry without one of its names; its order, which is that of tables, is as before at the end."""
    with patch.dict(known):
        del known[name]
        yield


def test_a_method_that_this_version_does_not_have_is_refused(brought_along: Path, store: RunStore) -> None:
    with without(METHODS, "cl-lsg"):
        (fault,) = bring(brought_along, store).faults.values()
    assert "job.json: this checkout has no method 'cl-lsg'; use a checkout that has it" in fault


def test_a_folder_without_units_and_a_tar_that_leads_out_are_one_error(
    tmp_path: Path, store: RunStore
) -> None:
    (tmp_path / "nothing").mkdir()
    with pytest.raises(UserError, match=r"nothing holds no unit; give a folder runs/"):
        bring(tmp_path / "nothing", store)
    with tarfile.open(tmp_path / "evil.tar", "w") as tar:
        tar.addfile(tarfile.TarInfo("runs/../../digits/unit.json"))
    with pytest.raises(UserError, match=r"evil.tar holds runs/../../digits/unit.json, which leads out"):
        bring(tmp_path / "evil.tar", store)
    assert not store.root.exists()


def test_the_command_says_what_it_brought_and_what_it_refused(
    brought_along: Path, store: RunStore, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CL_LSG_RUNS", str(store.root))
    flip(unit_of(brought_along, "cl-lsg") / "task_01.safetensors")
    assert main(["import", str(brought_along)]) == 2
    told = capsys.readouterr()
    assert "brought digits/scratch/seed1-task01-" in told.out
    assert "2 units brought, 0 were here" in told.out
    assert "1 unit refused: digits/cl-lsg/seed1-" in told.err
    assert told.err.count("\n") == 1
