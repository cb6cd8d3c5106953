"""The executor `ray`: one Ray task a unit, on a cluster of this machine or on the one at RAY_ADDRESS."""

from __future__ import annotations

import logging
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import current_thread, main_thread
from typing import Any

from pipeline.errors import UserError, first_line
from pipeline.execution.board import TICK_SECONDS, Board
from pipeline.execution.machine import Machine, cores
from pipeline.units.store import RunStore, learn_and_listen
from pipeline.units.unit import Unit

try:
    import ray
    from ray.exceptions import RayTaskError

    from pipeline.execution.shared_tasks import SharedTasks, Shelf, data_bytes
except ImportError as error:
    raise UserError(
        f"the executor ray is not installed ({error}); install cl-lsg[pipeline], or use --executor local"
    ) from None

OBJECT_STORE_BYTES = 100 * 2**20
"""Of Ray's object store beside the tasks' data: units write files, and only small results pass through it."""
CRASHES = 3
"""A unit whose worker died is started again so often: it resumes from its checkpoint."""
STARTS = 3
"""A busy machine may not bring up Ray's processes in the 30 seconds that Ray gives them."""


def run_on_ray(board: Board, machine: Machine, units: Sequence[Unit]) -> None:
    """Run the board's units. Raises UserError when no machine of the cluster could ever take one."""
    with cluster(machine, data_bytes(units)):
        workers, share = room(machine, len(units))
        shelf = Shelf()
        task = ray.remote(_work).options(
            num_cpus=machine.threads,
            num_gpus=share,
            max_retries=CRASHES,
            retry_exceptions=[OSError],
        )
        running: dict[Any, Unit] = {}
        while True:
            while len(running) < workers and (unit := board.next()):
                board.begin(unit)
                try:
                    tasks = shelf.tasks(unit.prepared, unit.tasks)
                except Exception as error:
                    board.end(unit, first_line(error))
                    continue
                running[task.remote(unit, board.store.root, machine.checkpoint_seconds, tasks)] = unit
            if not running:
                return
            done, _ = ray.wait(list(running), timeout=TICK_SECONDS)
            board.poll()
            for reference in done:
                _settle(board, running.pop(reference), reference)


def _work(unit: Unit, root: Path, checkpoint_seconds: float, tasks: SharedTasks) -> list[str]:
    """A Ray task: everything it makes lies in the unit's directory; it returns warnings."""
    return learn_and_listen(unit, RunStore(root), lambda event: None, checkpoint_seconds, tasks)


def _settle(board: Board, unit: Unit, reference: Any) -> None:
    try:
        warnings = ray.get(reference)
        finished = board.store.finished(unit)
    except RayTaskError as error:
        board.end(unit, first_line(error.cause))
    except Exception as error:
        board.end(unit, first_line(error))
    else:
        board.end(unit, None if finished else _elsewhere(board.store), warnings)


def _elsewhere(store: RunStore) -> str:
    """The fault of a unit that its worker has finished and this process does not see."""
    return (
        f"its worker finished it, but not in this machine's {store.root}; set CL_LSG_RUNS to a folder that "
        "all machines of the cluster share"
    )


@contextmanager
def cluster(machine: Machine, data: int) -> Iterator[None]:
    """A Ray cluster: the one this process uses already, the one at the address, or a new one of our own.

    A new one has room for `data` bytes of tasks.
    """
    if ray.is_initialized():
        yield
        return
    own = machine.address == "local"
    wanted = (machine.workers or 0) * machine.threads
    cpus = max(wanted, cores())
    limits = {"num_cpus": cpus, "object_store_memory": OBJECT_STORE_BYTES + data}
    own_handler = signal.getsignal(signal.SIGTERM)
    _start(machine.address, limits if own else {})
    if current_thread() is main_thread():
        signal.signal(signal.SIGTERM, own_handler)  # Ray's prints the stacks of its C++
    try:
        yield
    finally:
        ray.shutdown()


def _start(address: str, limits: dict[str, Any]) -> None:
    for remaining in reversed(range(STARTS)):
        try:
            ray.init(
                address=address,
                include_dashboard=False,
                log_to_driver=False,
                logging_level=logging.ERROR,
                **limits,
            )
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise UserError(
                f"no Ray cluster at {address} ({first_line(error)}); check RAY_ADDRESS and the token"
            ) from error
        except Exception as error:  # Ray raises nothing narrower when its processes take too long
            ray.shutdown()
            if not remaining:
                raise UserError(
                    f"Ray did not start ({first_line(error)}); try again on a less busy machine, "
                    "or use --executor local"
                ) from error
        else:
            return


def room(machine: Machine, count: int) -> tuple[int, float]:
    """How many of `count` units run at a time, and each one's GPUs.

    Raises UserError where no machine of the cluster has room for one.
    """
    workers = machine.workers or int(_total("CPU")) // machine.threads or 1
    share = _gpu_share(machine, min(count, workers))
    _require_room(machine.threads, share)
    return workers, share


def _total(resource: str) -> float:
    """How much of a resource the cluster has."""
    resources: dict[str, float] = ray.cluster_resources()
    return resources.get(resource, 0)


def _gpu_share(machine: Machine, at_once: int) -> float:
    """GPUs of a unit: as set, or the cluster's GPUs shared out among the units that run at once."""
    if machine.gpu_share is not None:
        return machine.gpu_share
    if machine.numerics().device == "cpu":
        return 0
    return float(min(1, _total("GPU") / at_once)) or 1


def _require_room(threads: int, share: float) -> None:
    """Raise UserError where no machine has room: Ray would wait for ever for one that does not exist."""
    alive = [node for node in ray.nodes() if node["Alive"]]
    nodes = [node["Resources"] for node in alive]
    if any(node.get("CPU", 0) >= threads and node.get("GPU", 0) >= share for node in nodes):
        return
    largest = ", ".join(f"{node.get('CPU', 0):g} CPUs and {node.get('GPU', 0):g} GPUs" for node in nodes)
    raise UserError(
        f"a unit needs {threads} CPUs and {share:g} GPUs, but the cluster's machines have {largest}; "
        "lower CL_LSG_THREADS or CL_LSG_GPU_SHARE"
    )
