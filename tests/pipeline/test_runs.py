"""Unit directories: finished ones are kept, unfinished ones resumed, damaged ones named."""

import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lsg import sequence
from lsg.data import load_task
from lsg.files import DamagedFileError
from lsg.job import Job
from pipeline.errors import UserError
from pipeline.params import resolve
from pipeline.prepare import prepare
from pipeline.units.store import RunStore, job_of, run_unit
from pipeline.units.unit import Unit
from tests.pipeline.tiny_experiment import contents, tiny_params, tiny_plan, with_train

HOLD = """
import fcntl, sys, time
with open(sys.argv[1], "a") as file:
    fcntl.flock(file, fcntl.LOCK_EX)
    print("held", flush=True)
    time.sleep(60)
"""
RESULT: dict[str, Any] = {"tasks": [], "matrix": {}}


@pytest.fixture
def unit() -> Unit:
    return tiny_plan().units("targets")[0]


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    return RunStore(tmp_path / "runs")


@pytest.fixture
def learned(monkeypatch: pytest.MonkeyPatch) -> list[Job]:
    """The library's jobs, in the order in which they were learned; nothing is trained."""
    jobs: list[Job] = []

    def learn(job: Job, directory: Path, report: Callable[..., None], seconds: float) -> dict[str, Any]:
        jobs.append(job)
        (directory / "result.json").write_text(json.dumps(RESULT))
        return RESULT

    monkeypatch.setattr(sequence, "learn_sequence", learn)
    return jobs


def work(unit: Unit, store: RunStore) -> dict[str, Any]:
    return run_unit(unit, store, lambda event: None)


def test_a_unit_is_learned_once_by_the_library_and_then_read(unit: Unit, store: RunStore) -> None:
    events: list[dict[str, Any]] = []
    result = run_unit(unit, store, events.append)
    before = contents(store.directory(unit))
    assert set(result["matrix"]["1"]) == {"1"}
    assert before["unit.json"].decode() == unit.text
    assert [event["event"] for event in events] == ["epoch", "task"]
    assert run_unit(unit, store, events.append) == result
    assert len(events) == 2
    assert contents(store.directory(unit)) == before


def test_the_directory_is_named_by_what_it_holds(unit: Unit, store: RunStore, tmp_path: Path) -> None:
    path = tmp_path / "runs/digits/scratch" / f"seed1-task01-{unit.key[:12]}"
    assert store.directory(unit) == path
    assert store.relative(unit) == f"digits/scratch/{path.name}"


def test_the_store_can_lie_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CL_LSG_RUNS", str(tmp_path / "disk"))
    assert RunStore.from_environment().root == tmp_path / "disk"
    monkeypatch.delenv("CL_LSG_RUNS")
    monkeypatch.chdir(tmp_path)
    assert RunStore.from_environment().root == tmp_path / "runs"
    (tmp_path / "file").touch()
    monkeypatch.setenv("CL_LSG_RUNS", str(tmp_path / "file" / "runs"))
    with pytest.raises(UserError, match=r"file is a file; set CL_LSG_RUNS to a folder"):
        RunStore.from_environment()


def test_a_job_says_where_its_start_lies(unit: Unit, store: RunStore, learned: list[Any]) -> None:
    tuned = tiny_plan().units("targets")[2]
    work(unit, store)
    work(tuned, store)
    assert learned[1].start == store.directory(unit)
    assert (learned[1].method, learned[1].tasks, learned[1].threads) == ("fine-tune", (2,), 1)


def test_tasks_that_were_prepared_anew_since_are_not_learned(
    tmp_path: Path, store: RunStore, learned: list[Any]
) -> None:
    """The key says other images, so what would be learned of them must not lie under it."""
    prepared = tmp_path / "tasks"
    shutil.copytree(tiny_plan().prepared, prepared)
    planned = replace(tiny_plan(), prepared=prepared).units("targets")[0]
    prepare("digits", resolve(tiny_params("presets.digits.data.split_seed=5"), "digits").data, prepared)
    with pytest.raises(UserError, match=r"does not hold the tasks that scratch seed1-task01 was planned for"):
        work(planned, store)
    assert not learned
    assert not store.finished(planned)


def test_code_that_was_changed_since_is_not_run(unit: Unit, store: RunStore, learned: list[Any]) -> None:
    """As of a worker that starts later than its driver: the key says other code than it imports."""
    with pytest.raises(UserError, match="scratch seed1-task01 was planned with other code than its worker"):
        work(replace(unit, code="0" * 64), store)
    assert not learned
    assert not store.directory(unit).exists()


def test_tasks_that_are_prepared_anew_meanwhile_are_refused(tmp_path: Path, store: RunStore) -> None:
    prepared = tmp_path / "tasks"
    shutil.copytree(tiny_plan().prepared, prepared)
    job = job_of(replace(tiny_plan(), prepared=prepared).units("targets")[0], store)
    prepare("digits", resolve(tiny_params("presets.digits.data.split_seed=5"), "digits").data, prepared)
    with pytest.raises(DamagedFileError, match=r"task_01.safetensors .*digest is not the manifest's"):
        load_task(job.source, 1)


def test_changed_settings_are_learned_beside_the_old(unit: Unit, store: RunStore, learned: list[Any]) -> None:
    work(unit, store)
    work(with_train(unit, lr=0.02), store)
    work(unit, store)
    assert len(learned) == 2
    assert len(list(store.root.glob("digits/scratch/*"))) == 2


@pytest.mark.parametrize("content", ["", '{"tasks": [1', "[]", "{}"])
def test_a_damaged_result_is_named(unit: Unit, store: RunStore, learned: list[Any], content: str) -> None:
    work(unit, store)
    (store.directory(unit) / "result.json").write_text(content)
    with pytest.raises(UserError, match=r"seed1-task01.*result.json is damaged \(.*\); delete its directory"):
        store.finished(unit)


@pytest.mark.parametrize("content", ["{", '{"seed": 2}', None])
def test_a_result_counts_only_for_the_unit_it_was_learned_for(
    unit: Unit, store: RunStore, learned: list[Any], content: str | None
) -> None:
    work(unit, store)
    definition = store.directory(unit) / "unit.json"
    definition.unlink() if content is None else definition.write_text(content)
    with pytest.raises(UserError, match="unit.json is damaged"):
        work(unit, store)
    assert len(learned) == 1


def test_a_failure_leaves_its_traceback_and_the_next_try_clears_it(
    unit: Unit, store: RunStore, learned: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_arguments: object) -> None:
        raise ArithmeticError("loss is not a number")

    with monkeypatch.context() as patch:
        patch.setattr(sequence, "learn_sequence", fail)
        with pytest.raises(ArithmeticError):
            work(unit, store)
    fault = store.directory(unit) / "error.txt"
    assert "ArithmeticError: loss is not a number" in fault.read_text()
    assert not store.finished(unit)
    work(unit, store)
    assert not fault.exists()


def test_a_store_that_cannot_be_written_is_named(unit: Unit, tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file")
    with pytest.raises(UserError, match="cannot be written .*CL_LSG_RUNS"):
        work(unit, RunStore(tmp_path / "runs"))


def test_a_second_worker_waits_for_the_first_and_takes_its_result(
    unit: Unit, store: RunStore, learned: list[Any]
) -> None:
    second = threading.Thread(target=work, args=(unit, store))
    with store.lock(unit):
        assert store.locked(unit)
        second.start()
        second.join(0.2)
        assert second.is_alive()
        (store.directory(unit) / "unit.json").write_text(unit.text)
        (store.directory(unit) / "result.json").write_text(json.dumps(RESULT))
    second.join(5)
    assert not second.is_alive()
    assert learned == []
    assert not store.locked(unit)


def test_a_killed_process_frees_its_unit(unit: Unit, store: RunStore) -> None:
    directory = store.directory(unit)
    directory.mkdir(parents=True)
    command = [sys.executable, "-c", HOLD, str(directory / ".lock")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert store.locked(unit)
        process.kill()
    assert not store.locked(unit)
