"""Processes and machines that die under running units: the driver of a stage, and a node of a Ray cluster."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Thread

import pytest
import ray
from ray.cluster_utils import Cluster

from pipeline.execution import on_ray
from pipeline.execution.executors import run
from pipeline.execution.machine import Machine
from pipeline.execution.shared_tasks import SharedTasks
from pipeline.units.plan import Plan
from pipeline.units.store import RunStore
from pipeline.units.unit import Numerics, Unit
from tests.pipeline.tiny_experiment import (
    BENCHMARK,
    ROOT,
    Notes,
    contents,
    tiny_plan,
    with_train,
)

LOCAL = Machine(executor="local", gpu_share=0, checkpoint_seconds=0)
EPOCHS = 25
WAIT_SECONDS = 120

pytestmark = [pytest.mark.xdist_group("processes"), pytest.mark.slow, pytest.mark.timeout(600)]


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "the run under test did not get there in time"
        time.sleep(0.02)


def epochs(store: RunStore, unit: Unit) -> int:
    """Lines of the unit's log so far."""
    events = store.directory(unit) / "events.jsonl"
    return events.read_bytes().count(b"\n") if events.exists() else 0


def undisturbed(units: list[Unit], folder: Path) -> list[dict[str, bytes]]:
    """The bytes of the units' files after a run in this process."""
    store = RunStore(folder)
    run(units, store, LOCAL, Notes())
    return [contents(store.directory(unit)) for unit in units]


def test_after_the_driver_was_killed_the_same_command_ends_with_the_same_bytes(tmp_path: Path) -> None:
    shutil.copy(ROOT / "params.yaml", tmp_path)
    what = ["run", "--benchmark", BENCHMARK, "--method", "scratch", "--tasks", "1", "--no-tables"]
    how = ["-S", f"train.epochs={EPOCHS}", "--executor", "ray", "--workers", "1", "--tracking", "off"]
    command = [sys.executable, "-m", "pipeline", *what, *how]
    environment = {**os.environ, "CL_LSG_CHECKPOINT_SECONDS": "0", "CL_LSG_GPU_SHARE": "0"}
    place = {"cwd": tmp_path, "env": environment | {"PYTHONPATH": str(ROOT)}}

    plan = tiny_plan("methods=[scratch]", f"train.epochs={EPOCHS}", tasks=1)
    numbers = Machine(gpu_share=0).numerics()
    (unit,) = Plan(plan.experiment, plan.manifest, plan.prepared, numbers, first=1).units("targets")
    store = RunStore(tmp_path / "runs")
    with subprocess.Popen(command, **place) as driver:  # type: ignore[call-overload]
        wait_for(lambda: epochs(store, unit) >= 3)
        driver.send_signal(signal.SIGKILL)
    assert not store.finished(unit)
    again = subprocess.run(command, **place, capture_output=True, text=True, check=False)  # type: ignore[call-overload]
    assert again.returncode == 0, again.stderr
    assert "targets digits: 1 unit, 0 reused, 1 to run" in again.stderr
    assert [contents(store.directory(unit))] == undisturbed([unit], tmp_path / "undisturbed")


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """A head that takes no units; each node added to it takes one at a time."""
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    ray.init(address=made.address, log_to_driver=False)
    yield made
    ray.shutdown()
    made.shutdown()


def test_units_of_a_node_that_is_removed_go_on_at_another(cluster: Cluster, tmp_path: Path) -> None:
    units = [with_train(unit, epochs=EPOCHS) for unit in tiny_plan("methods=[scratch]").units("targets")]
    store, notes = RunStore(tmp_path / "runs"), Notes()
    lost, _kept = (cluster.add_node(num_cpus=1) for _ in range(2))
    cluster.wait_for_nodes()

    def remove() -> None:
        wait_for(lambda: all(epochs(store, unit) >= 3 for unit in units))
        cluster.remove_node(lost, allow_graceful=False)

    remover = Thread(target=remove)
    remover.start()
    run(units, store, Machine(workers=2, gpu_share=0, checkpoint_seconds=0), notes)
    remover.join()
    assert notes.faults == {unit.name: None for unit in units}
    assert [contents(store.directory(unit)) for unit in units] == undisturbed(units, tmp_path / "undisturbed")


def test_units_share_the_gpus_unless_told_otherwise(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """GPUs are declared here, not there: what is tested is what Ray is asked for."""

    def note(unit: Unit, root: Path, seconds: float, tasks: SharedTasks) -> list[str]:
        share = ray.get_runtime_context().get_assigned_resources()["GPU"]
        root.mkdir(exist_ok=True)
        (root / unit.key).write_text(str(share))
        return []

    monkeypatch.setattr(on_ray, "_work", note)
    monkeypatch.setattr(RunStore, "finished", lambda store, unit: (store.root / unit.key).exists())
    monkeypatch.setattr(Machine, "numerics", lambda machine: Numerics("any", 1, "cuda"))
    cluster.add_node(num_cpus=8, num_gpus=2)
    cluster.wait_for_nodes()
    units = tiny_plan("methods=[scratch]", "seeds=[1,2,3,4]", tasks=1).units("targets")
    for count, given, expected in ((4, None, 0.5), (1, None, 1.0), (4, 0.25, 0.25)):
        store = RunStore(tmp_path / f"{count} {given}")
        run(units[:count], store, Machine(gpu_share=given), Notes())
        assert [float(path.read_text()) for path in store.root.iterdir()] == [expected] * count
