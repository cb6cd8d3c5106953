"""One benchmark's experiment in an MLflow store: made under a lock, its runs found by tag."""

import os
import socket
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import LifecycleStage, Run
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import RESOURCE_ALREADY_EXISTS, ErrorCode

from pipeline.locks import held

_SQLITE = "sqlite:///"


class Experiment:
    """A benchmark's experiment in the store at `uri`. Makes the store and the experiment where they lack."""

    def __init__(self, uri: str, benchmark: str) -> None:
        with _alone(uri):
            self.client = MlflowClient(tracking_uri=uri)
            self.id = _experiment(self.client, uri, benchmark)

    def find(self, identity: str) -> Run | None:
        """The run that shows the units of this identity."""
        return next(iter(self._search(f"tags.identity = '{identity}'")), None)

    def end_abandoned(self) -> None:
        """Ends the runs that a killed driver of this machine left running."""
        for run in self._search("attributes.status = 'RUNNING'"):
            host, pid = _driver(run)
            if host == socket.gethostname() and not _alive(pid):
                self.client.set_terminated(run.info.run_id, "KILLED")

    def _search(self, condition: str) -> list[Run]:
        return list(self.client.search_runs([self.id], condition, order_by=["attributes.start_time ASC"]))


def experiment_id(uri: str, benchmark: str) -> str | None:
    """The id of a benchmark's experiment; None when the store has none."""
    with _alone(uri):
        found = MlflowClient(tracking_uri=uri).get_experiment_by_name(benchmark)
    return found.experiment_id if found else None


def driver() -> str:
    """This process, as runs name the one that writes them."""
    return f"{socket.gethostname()}:{os.getpid()}"


def held_by_another(run: Run) -> bool:
    """True when another living process of this machine writes `run`."""
    host, pid = _driver(run)
    mine = (host, pid) == (socket.gethostname(), os.getpid())
    return run.info.status == "RUNNING" and host == socket.gethostname() and not mine and _alive(pid)


def _driver(run: Run) -> tuple[str, int]:
    host, _, pid = run.data.tags.get("driver", "").rpartition(":")
    return host, int(pid) if pid.isdigit() else 0


def _alive(pid: int) -> bool:
    if pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _alone(uri: str) -> AbstractContextManager[None]:
    """Lets one process at a time open a sqlite file: the first makes its tables, and two of them clash."""
    if not uri.startswith(_SQLITE):
        return nullcontext()
    path = Path(uri.removeprefix(_SQLITE))
    return held(path.with_name(f"{path.name}.lock"), f"another process opens {path}; waiting for it")


def _experiment(client: MlflowClient, uri: str, benchmark: str) -> str:
    entry = client.get_experiment_by_name(benchmark)
    if entry is None:
        return _create(client, uri, benchmark)
    if entry.lifecycle_stage == LifecycleStage.DELETED:
        client.restore_experiment(entry.experiment_id)
    return str(entry.experiment_id)


def _create(client: MlflowClient, uri: str, benchmark: str) -> str:
    """Makes the experiment; artifacts of a sqlite store lie beside its file, wherever the driver runs."""
    artifacts = None
    if uri.startswith(_SQLITE):
        artifacts = (Path(uri.removeprefix(_SQLITE)).absolute().parent / "mlruns" / benchmark).as_uri()
    try:
        return str(client.create_experiment(benchmark, artifacts))
    except MlflowException as error:
        if error.error_code != ErrorCode.Name(RESOURCE_ALREADY_EXISTS):
            raise
        return _experiment(client, uri, benchmark)
