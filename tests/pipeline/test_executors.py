"""Both executors run the same units to the same bytes; on Ray, workers die and requests are too big."""

import json
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import ray
import torch

from lsg import sequence
from lsg.job import Job
from pipeline.errors import UserError
from pipeline.execution import on_ray
from pipeline.execution.board import Board, UnitsFailed
from pipeline.execution.executors import run
from pipeline.execution.machine import Machine, read_machine
from pipeline.execution.shared_tasks import SharedTasks, Shelf, data_bytes
from pipeline.units.store import RunStore
from pipeline.units.unit import Unit
from tests.pipeline.tiny_experiment import Notes, contents, tiny_plan, with_train

LOCAL = Machine(executor="local", gpu_share=0)
RAY = Machine(executor="ray", workers=2, gpu_share=0, checkpoint_seconds=0)
EVENT = {"event": "epoch", "task": 1, "stage": 1, "epoch": 1, "epochs": 1, "steps": 1}

pytestmark = pytest.mark.xdist_group("processes")


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    options: dict[str, Any] = {
        "include_dashboard": False,
        "log_to_driver": False,
        "object_store_memory": 100 * 2**20,
    }
    ray.init(address="local", num_cpus=2, **options)
    yield
    ray.shutdown()


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    return RunStore(tmp_path / "runs")


@pytest.fixture
def jobs(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int, tuple[int, ...]]]:
    """What the library was asked to learn, in order. Seed 13 fails; nothing is trained."""
    asked = []

    def learn(job: Job, directory: Path, report: Callable[..., None], seconds: float) -> dict[str, Any]:
        asked.append((job.method, job.seed, job.tasks))
        if job.seed == 13:
            raise ArithmeticError("loss is not a number\nat step 3")
        (directory / "events.jsonl").write_text(json.dumps(EVENT) + "\n")
        report(EVENT)
        result: dict[str, Any] = {"tasks": [], "matrix": {}}
        (directory / "result.json").write_text(json.dumps(result))
        return result

    monkeypatch.setattr(sequence, "learn_sequence", learn)
    return asked


def test_here_units_with_the_most_work_run_first_and_after_the_unit_they_start_from(
    store: RunStore, jobs: list[Any]
) -> None:
    first, second, tuned = tiny_plan().units("targets")
    units = [
        replace(tuned, macs=99),
        replace(first, macs=1, task_steps=(9,)),
        replace(second, macs=2, task_steps=(1,)),
    ]
    notes = Notes()
    run(units, store, LOCAL, notes)
    assert jobs == [("scratch", 1, (2,)), ("scratch", 1, (1,)), ("fine-tune", 1, (2,))]
    assert notes.faults == {unit.name: None for unit in units}
    assert [name for name, _ in notes.events] == [unit.name for unit in (second, first, tuned)]


def test_finished_units_are_not_begun_again(store: RunStore, jobs: list[Any]) -> None:
    units = tiny_plan().units("targets")
    run(units[:1], store, LOCAL, Notes())
    notes = Notes()
    run(units, store, LOCAL, notes)
    assert notes.began == [unit.name for unit in units[1:]]
    run(units, store, Machine(executor="ray"), notes)
    assert len(jobs) == 3


def test_a_failing_unit_stops_only_those_that_start_from_it(store: RunStore, jobs: list[Any]) -> None:
    units = [*tiny_plan("seeds=[13]").units("targets")[1:], *tiny_plan().units("targets")]
    units.append(tiny_plan("seeds=[13]").units("targets")[0])
    notes = Notes()
    with pytest.raises(UnitsFailed) as raised:
        run(units, store, LOCAL, notes)
    text = str(raised.value)
    assert text.startswith("3 of 6 units failed: ")
    assert "scratch seed13-task01" in text
    told = "traceback in error.txt"
    assert f"({store.directory(units[0])}, {told}): ArithmeticError: loss is not a number" in text
    assert "fine-tune seed13-task02" in text
    assert "not started, because scratch seed13-task01 failed" in text
    assert "step 3" not in text
    assert all(store.finished(unit) for unit in units if unit.seed == 1)
    assert ("fine-tune", 13, (2,)) not in jobs


def test_a_unit_that_another_process_works_on_is_waited_for_with_a_sentence(
    store: RunStore, jobs: list[Any]
) -> None:
    unit = tiny_plan().units("targets")[0]
    notes = Notes()
    with store.lock(unit):
        waiting = Thread(target=run, args=([unit], store, LOCAL, notes))
        waiting.start()
        deadline = time.monotonic() + 10
        while not notes.said and time.monotonic() < deadline:
            time.sleep(0.01)
    waiting.join(10)
    assert notes.said == [
        f"scratch seed1-task01: another process works on {store.directory(unit)}; waiting for it"
    ]
    assert notes.faults == {unit.name: None}


def test_events_of_a_resumed_unit_are_handed_on_once(store: RunStore) -> None:
    unit = tiny_plan().units("targets")[0]
    lines = [json.dumps({**EVENT, "epoch": epoch}) + "\n" for epoch in range(1, 6)]
    events = store.directory(unit) / "events.jsonl"
    events.parent.mkdir(parents=True)
    notes = Notes()
    board = Board([unit], store, notes)
    assert board.next() == unit
    board.begin(unit)
    for content in (lines[:3], lines[:1], [*lines[:2], lines[2][:9]], lines):
        events.write_text("".join(content))
        board.poll()
    board.end(unit)
    assert [event["epoch"] for _, event in notes.events] == [1, 2, 3, 4, 5]


def test_what_a_resumed_unit_had_done_is_told_apart_from_what_it_does(store: RunStore) -> None:
    unit = tiny_plan().units("targets")[0]
    lines = [json.dumps({**EVENT, "epoch": epoch}) + "\n" for epoch in range(1, 6)]
    events = store.directory(unit) / "events.jsonl"
    events.parent.mkdir(parents=True)
    events.write_text("".join(lines[:3]))
    notes = Notes()
    board = Board([unit], store, notes)
    board.begin(unit)
    assert [event["epoch"] for _, event in notes.before] == [1, 2, 3]
    for content in (lines[:2], lines):  # cut back to its checkpoint, then on from there
        events.write_text("".join(content))
        board.poll()
    board.end(unit)
    assert [event["epoch"] for _, event in notes.events] == [4, 5]


@pytest.mark.slow
def test_ray_gives_the_bytes_of_the_local_executor_and_events_on_the_way(
    cluster: None, store: RunStore, tmp_path: Path
) -> None:
    plan = tiny_plan("train.epochs=2")
    units = plan.units("targets")
    goals = {1: {1: 1.0, 2: 1.0}}
    here, there, notes = store, RunStore(tmp_path / "ray"), Notes()
    for stage in (units, plan.units("learn", goals)):
        run(stage, here, LOCAL, Notes())
        run(stage, there, RAY, notes)
    for unit in [*units, *plan.units("learn", goals)]:
        assert contents(here.directory(unit)) == contents(there.directory(unit))
        assert notes.faults[unit.name] is None
    assert sorted(notes.tasks()) == [
        ("cl-lsg seed1", 1),
        ("cl-lsg seed1", 2),
        ("fine-tune seed1-task02", 2),
        ("scratch seed1-task01", 1),
        ("scratch seed1-task02", 2),
    ]


def test_on_ray_units_run_without_the_folder_of_their_data_and_share_its_memory(
    cluster: None, store: RunStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Workers import this module only by name, so what they do is a closure here."""
    learn = on_ray._work
    folder = tmp_path / "of the driver"

    def look(unit: Unit, root: Path, seconds: float, tasks: SharedTasks) -> list[str]:
        assert not folder.exists()
        learn(unit, root, seconds, tasks)
        arrays = ray.get(tasks.references[1])
        viewed = tasks.tensors(1)
        shared = [viewed[name].data_ptr() == array.ctypes.data for name, array in arrays.items()]
        return [f"{all(shared)}, {[array.flags.writeable for array in arrays.values()]}"]

    unit = tiny_plan().units("targets")[0]
    shutil.copytree(unit.prepared, folder)
    put = Shelf.tasks

    def put_and_lose(shelf: Shelf, prepared: Path, numbers: Iterable[int]) -> SharedTasks:
        shared = put(shelf, prepared, numbers)
        shutil.rmtree(folder)
        return shared

    monkeypatch.setattr(on_ray, "_work", look)
    monkeypatch.setattr(Shelf, "tasks", put_and_lose)
    notes = Notes()
    run([replace(unit, prepared=folder)], store, RAY, notes)
    assert notes.said == [f"{unit.name}: True, {[False] * 6}"]
    here = RunStore(tmp_path / "here")
    run([unit], here, LOCAL, Notes())
    assert contents(store.directory(unit)) == contents(here.directory(unit))


def test_a_failure_says_where_its_traceback_is(store: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_arguments: object) -> None:
        raise ZeroDivisionError("by hand")

    monkeypatch.setattr("lsg.sequence.learn_sequence", fail)
    unit = tiny_plan().units("targets")[0]
    with pytest.raises(UnitsFailed, match=r", traceback in error.txt\): ZeroDivisionError: by hand"):
        run([unit], store, LOCAL, Notes())
    assert "in fail" in (store.directory(unit) / "error.txt").read_text()


def test_on_ray_damaged_data_fail_the_units_that_need_them(
    cluster: None, store: RunStore, tmp_path: Path
) -> None:
    first, second, _ = tiny_plan().units("targets")
    folder = Path(shutil.copytree(first.prepared, tmp_path / "tasks"))
    path = folder / "task_01.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"\x7f")
    with pytest.raises(UnitsFailed, match=rf"1 of 2 units failed: {first.name} .*{path} is damaged"):
        run([replace(unit, prepared=folder) for unit in (first, second)], store, RAY, Notes())
    assert store.finished(second)


def test_on_ray_a_store_that_workers_do_not_share_is_told(
    cluster: None, store: RunStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    learn, other = on_ray._work, tmp_path / "of the worker"

    def elsewhere(unit: Unit, root: Path, seconds: float, tasks: SharedTasks) -> list[str]:
        return learn(unit, other, seconds, tasks)

    unit = tiny_plan().units("targets")[0]
    monkeypatch.setattr(on_ray, "_work", elsewhere)
    said = rf"its worker finished it, but not in this machine's {store.root}; set CL_LSG_RUNS to a folder"
    with pytest.raises(UnitsFailed, match=said):
        run([unit], store, RAY, Notes())
    assert RunStore(other).finished(unit)


def test_the_object_store_gets_room_for_each_task_once(tmp_path: Path) -> None:
    units = tiny_plan("seeds=[1,2]").units("targets")
    files = [units[0].prepared / f"task_{task:02d}.safetensors" for task in (1, 2)]
    assert data_bytes(units) == sum(file.stat().st_size for file in files)
    assert data_bytes([replace(units[0], prepared=tmp_path)]) == 0


@pytest.mark.slow
def test_a_killed_worker_is_replaced_and_the_unit_goes_on(
    cluster: None, store: RunStore, tmp_path: Path
) -> None:
    unit = with_train(tiny_plan().units("targets")[0], epochs=30)
    killed: list[int] = []
    killer = Thread(target=kill_its_worker, args=(store.directory(unit), killed))
    killer.start()
    notes = Notes()
    run([unit], store, RAY, notes)
    killer.join()
    assert len(killed) == 1
    assert [event["epoch"] for _, event in notes.events if event["event"] == "epoch"] == list(range(1, 31))
    unbroken = RunStore(tmp_path / "unbroken")
    run([unit], unbroken, LOCAL, Notes())
    assert contents(store.directory(unit)) == contents(unbroken.directory(unit))


def kill_its_worker(directory: Path, killed: list[int]) -> None:
    """SIGKILL to the process that holds the unit's lock, once some epochs are learned."""
    deadline = time.monotonic() + 120
    while not killed and time.monotonic() < deadline:
        time.sleep(0.02)
        events = directory / "events.jsonl"
        if events.exists() and events.read_bytes().count(b"\n") >= 3:
            holder = lock_holder(directory / ".lock")
            os.kill(holder, signal.SIGKILL)
            killed.append(holder)


def lock_holder(path: Path) -> int:
    """The process that has a file open, other than this one."""
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        try:
            found = link.readlink() == path
        except OSError:
            continue
        if found and int(link.parts[2]) != os.getpid():
            return int(link.parts[2])
    raise AssertionError(f"nobody holds {path}")


@pytest.mark.parametrize(
    ("error", "attempts"), [(ValueError("no such setting"), 1), (ConnectionResetError("storage"), 4)]
)
def test_on_ray_only_storage_faults_are_tried_again(
    cluster: None, store: RunStore, monkeypatch: pytest.MonkeyPatch, error: Exception, attempts: int
) -> None:
    def fail(unit: Unit, root: Path, seconds: float, tasks: SharedTasks) -> None:
        root.mkdir(parents=True, exist_ok=True)
        with (root / "attempts").open("a") as file:
            file.write("x")
        raise error

    monkeypatch.setattr(on_ray, "_work", fail)
    with pytest.raises(UnitsFailed, match=f"1 of 1 unit failed: .*{type(error).__name__}: {error}"):
        run(tiny_plan().units("targets")[:1], store, RAY, Notes())
    assert (store.root / "attempts").read_text() == "x" * attempts


@pytest.mark.parametrize(
    ("machine", "said"),
    [
        (
            replace(RAY, gpu_share=1.0),
            "a unit needs 1 CPUs and 1 GPUs, but the cluster's machines have 2 CPUs",
        ),
        (replace(RAY, threads=64), "a unit needs 64 CPUs .* lower CL_LSG_THREADS"),
    ],
)
def test_a_request_that_no_machine_can_hold_fails_at_once(
    cluster: None, store: RunStore, machine: Machine, said: str
) -> None:
    notes = Notes()
    with pytest.raises(UserError, match=said):
        run(tiny_plan().units("targets"), store, machine, notes)
    assert notes.began == []


def test_machine_settings_come_from_the_environment_and_options_win(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"EXECUTOR": "local", "WORKERS": "3", "THREADS": "2", "GPU_SHARE": "0.5"}.items():
        monkeypatch.setenv(f"CL_LSG_{name}", value)
    monkeypatch.setenv("CL_LSG_CHECKPOINT_SECONDS", "0")
    machine = read_machine({"workers": 5, "executor": None})
    assert machine == Machine("local", workers=5, threads=2, gpu_share=0.5, checkpoint_seconds=0)
    assert replace(machine, executor="ray").numerics().device == "cuda", "Ray's GPUs may be elsewhere"
    assert replace(machine, gpu_share=0).numerics().threads == 2
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert machine.numerics().device == "cuda"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match=r"CL_LSG_GPU_SHARE is 0\.5, and torch finds no GPU here; unset it"):
        machine.numerics()


def test_machine_settings_that_are_empty_are_the_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("EXECUTOR", "WORKERS", "THREADS", "GPU_SHARE", "CHECKPOINT_SECONDS"):
        monkeypatch.setenv(f"CL_LSG_{name}", "")
    monkeypatch.setenv("RAY_ADDRESS", "")
    assert read_machine() == Machine()


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("CL_LSG_EXECUTOR", "slurm", "CL_LSG_EXECUTOR .* is slurm; allowed: ray, local"),
        ("CL_LSG_WORKERS", "0", "CL_LSG_WORKERS .* is 0; allowed: 1 and up"),
        ("CL_LSG_THREADS", "-1", "CL_LSG_THREADS is -1"),
        ("CL_LSG_THREADS", "0", "CL_LSG_THREADS is 0; allowed: 1 to 1024"),
        ("CL_LSG_THREADS", "100000", "CL_LSG_THREADS is 100000; allowed: 1 to 1024"),
        ("CL_LSG_CHECKPOINT_SECONDS", "-1", "CL_LSG_CHECKPOINT_SECONDS is -1.0; allowed: 0 and up"),
        ("CL_LSG_GPU_SHARE", "2", "CL_LSG_GPU_SHARE is 2.0; allowed: 0 to 1"),
        ("CL_LSG_WORKERS", "all", "CL_LSG_WORKERS is 'all'; set it to a whole number"),
    ],
)
def test_a_wrong_machine_setting_is_named(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, said: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match=said):
        read_machine()
