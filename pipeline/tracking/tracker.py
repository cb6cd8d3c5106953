"""MLflow as a view of unit directories: written by the driver alone, in batches, while units run.

Nothing is kept here that the directories do not hold, so a fault of the store costs nothing: training goes
on, and the view is completed at a later poll, at the next start, or by `rebuild`.
"""

import logging
import os
import time
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

from pipeline.errors import UserError, first_line
from pipeline.units.records import DEFINITION
from pipeline.units.run_sets import Members
from pipeline.units.store import checkout

if TYPE_CHECKING:
    from pipeline.tracking.store import Experiment
    from pipeline.tracking.view import RunView

SCHEMES = ("http", "https", "sqlite", "postgresql", "mysql", "mssql")
"""Of MLflow's stores; the one in plain files is no longer kept up, and MLflow refuses it."""
_LOG = logging.getLogger(__name__)
_MLFLOW_SETTINGS = {  # a store that does not answer must not hold up the driver; nothing is sent to others
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
}
_FIRST_WAIT, _LONGEST_WAIT = 5.0, 300.0  # seconds until a store that failed is asked again


class Tracker(Protocol):
    """What a driver tells of its units."""

    def follow(self, directory: Path) -> None:
        """Shows the unit in `directory`, which may not exist yet."""

    def poll(self) -> None:
        """Writes what the followed units gained; cheap to call often."""

    def close(self, failed: Collection[Path] = ()) -> None:
        """Writes the rest and ends the runs; those with a unit among `failed` as failed."""


class Off:
    """Tracks nothing."""

    def follow(self, directory: Path) -> None:
        pass

    def poll(self) -> None:
        pass

    def close(self, failed: Collection[Path] = ()) -> None:
        pass


class Rebuilt(NamedTuple):
    """Runs that a rebuild wrote or completed, and runs that were complete."""

    written: int
    complete: int


def open_tracker(uri: str | None, benchmark: str, interval: float = 1.0) -> Tracker:
    """A tracker of one benchmark's units in the store at `uri` (off: none), or where the environment says.

    `CL_LSG_TRACKING` is `mlflow` (default) or `off`; `MLFLOW_TRACKING_URI` names the store, by default the
    file mlflow.db of the checkout. Polls closer together than `interval` seconds do nothing.
    Raises UserError when the setting is unknown or MLflow is not installed.
    """
    store = store_uri(uri)
    return Off() if store is None else MlflowTracker(store, benchmark, interval)


def store_uri(uri: str | None) -> str | None:
    """The store to write to: at `uri` (off: none), or where the environment says; None for none.

    Raises as `open_tracker`.
    """
    place = chosen_place(uri)
    if place is not None:
        _load_mlflow()
    return place


def chosen_place(uri: str | None) -> str | None:
    """As `store_uri`, without MLflow. Raises UserError for what can be none of its stores."""
    if uri == "off" or (uri is None and not _is_on()):
        return None
    place = uri or default_uri()
    scheme = place.partition(":")[0].partition("+")[0]
    if scheme not in SCHEMES:
        raise UserError(
            f"{place} is no store of MLflow's; give off, http://HOST:PORT, sqlite:///FILE or the address of "
            f"another database ({', '.join(SCHEMES)})"
        )
    return place


def rebuild(store_root: Path, benchmark: str, uri: str | None = None) -> Rebuilt:
    """Makes a benchmark's experiment again from its unit directories; doing it twice changes nothing.

    Raises UserError when there are no units, one is damaged, or the store cannot be written.
    """
    directories = sorted(path.parent for path in (store_root / benchmark).glob(f"*/*/{DEFINITION}"))
    if not directories:
        raise UserError(f"{store_root / benchmark} holds no units; run `dvc repro`, or set CL_LSG_RUNS")
    _load_mlflow()
    tracker = MlflowTracker(uri or default_uri(), benchmark)
    for directory in directories:
        tracker.follow(directory)
    return tracker.complete()


def attach_report(uri: str | None, benchmark: str, folder: Path) -> None:
    """Attaches a benchmark's report to its summary run; a store that cannot be written is a warning.

    Raises UserError when tracking is on and MLflow is not installed.
    """
    store = store_uri(uri)
    if store is None:
        return
    from pipeline.tracking.store import Experiment
    from pipeline.tracking.summary import write_report

    try:
        write_report(Experiment(store, benchmark), folder)
    except _store_faults() as error:
        _LOG.warning("MLflow's store %s has no report of %s (%s)", store, benchmark, first_line(error))


def links(uri: str | None, benchmark: str) -> dict[str, str]:
    """MLflow's pages of a benchmark by what they show: full addresses on a server, else paths on it.

    Raises UserError when the store cannot be read or has no such experiment.
    """
    _load_mlflow()
    from pipeline.tracking.links import paths

    store = uri or default_uri()
    try:
        found = paths(store, benchmark)
    except _store_faults() as error:
        raise UserError(f"MLflow's store {store} cannot be read: {first_line(error)}; start it") from error
    if found is None:
        raise UserError(f"MLflow's store {store} has no experiment {benchmark}; run it, or rebuild the view")
    server = store.rstrip("/") if store.startswith("http") else ""
    return {name: f"{server}{path}" for name, path in found.items()}


def default_uri() -> str:
    """`MLFLOW_TRACKING_URI`, else mlflow.db of the checkout; DVC's copies of it share the checkout's."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{checkout()}/mlflow.db"


class MlflowTracker:
    """Shows units in MLflow. After a fault everything but the list of units is read anew."""

    def __init__(self, uri: str, benchmark: str, interval: float = 1.0) -> None:
        self._uri = uri
        self._benchmark = benchmark
        self._interval = interval
        self._directories: list[Path] = []
        self._next = 0.0
        self._wait = _FIRST_WAIT
        self._warned = False
        self._experiment: Experiment | None = None
        self._members = Members()
        self._views: dict[str, RunView] = {}
        self._waiting: list[Path] = []

    def follow(self, directory: Path) -> None:
        """Shows the unit in `directory`, which may not exist yet."""
        if directory not in self._directories:
            self._directories.append(directory)
            self._waiting.append(directory)

    def poll(self) -> None:
        """Writes what the followed units gained, unless it was just done or the store just failed."""
        if time.monotonic() >= self._next:
            self._try(closing=False)

    def close(self, failed: Collection[Path] = ()) -> None:
        """Writes the rest and ends the runs; those with a unit among `failed` as failed."""
        self._try(closing=True, failed=failed)

    def complete(self) -> Rebuilt:
        """As `close`, but for a person who waits: faults are raised, of damaged units at the end."""
        try:
            damages = self._write(closing=True)
        except _store_faults() as error:
            raise UserError(f"MLflow's store {self._uri} cannot be written: {first_line(error)}") from error
        if damages:
            raise UserError("; ".join(map(str, damages)))
        written = sum(view.wrote for view in self._views.values())
        return Rebuilt(written, len(self._views) - written)

    def _try(self, closing: bool, failed: Collection[Path] = ()) -> None:
        try:
            damages = self._write(closing, failed)
        except Exception as error:  # whatever it is: a view must not end the training that it shows
            self._postpone(error)
        else:
            for damage in damages:
                _LOG.warning("MLflow does not show all of its run: %s", damage)
            self._warned = False
            self._wait = _FIRST_WAIT
            self._next = time.monotonic() + self._interval

    def _write(self, closing: bool, failed: Collection[Path] = ()) -> list[UserError]:
        """Writes what there is to write; returns the damages, whose runs end there."""
        damages = self._adopt(self._connected())
        for view in self._views.values():
            try:
                if closing:
                    view.close(failed)
                else:
                    view.update()
            except UserError as damage:
                view.give_up()
                damages.append(damage)
        return damages

    def _connected(self) -> "Experiment":
        if self._experiment is not None:
            return self._experiment
        from pipeline.tracking.store import Experiment

        experiment = Experiment(self._uri, self._benchmark)
        experiment.end_abandoned()
        self._experiment = experiment
        return experiment

    def _adopt(self, experiment: "Experiment") -> list[UserError]:
        """Gives each unit that has come to exist to the run of its method and seed; returns the damages."""
        from pipeline.tracking.view import RunView

        waiting, damages = [], []
        for directory in self._waiting:
            try:
                member = self._members.find(directory)
            except UserError as damage:
                damages.append(damage)
                continue
            if member is None:
                waiting.append(directory)
            elif member.run not in self._views:
                self._views[member.run] = RunView(experiment, self._members, member)
        self._waiting = waiting
        return damages

    def _postpone(self, error: Exception) -> None:
        if not self._warned:
            _LOG.warning(
                "MLflow's store %s cannot be written (%s); training goes on, the view is completed later",
                self._uri,
                first_line(error),
                exc_info=not isinstance(error, _store_faults()),
            )
            self._warned = True
        self._forget()
        self._next = time.monotonic() + self._wait
        self._wait = min(2 * self._wait, _LONGEST_WAIT)

    def _forget(self) -> None:
        self._experiment = None
        self._members = Members()
        self._views = {}
        self._waiting = list(self._directories)


def _is_on() -> bool:
    """What CL_LSG_TRACKING says."""
    choice = os.environ.get("CL_LSG_TRACKING", "mlflow")
    if choice not in ("mlflow", "off"):
        raise UserError(f"CL_LSG_TRACKING={choice} is unknown; set it to mlflow or off")
    return choice == "mlflow"


def _load_mlflow() -> None:
    for name, value in _MLFLOW_SETTINGS.items():
        os.environ.setdefault(name, value)
    try:
        import mlflow  # noqa: F401
    except ImportError as error:
        raise UserError(
            f"MLflow cannot be imported ({error}); install cl-lsg[pipeline], or set CL_LSG_TRACKING=off"
        ) from error


def _store_faults() -> tuple[type[Exception], ...]:
    """What a store that is gone, locked or foreign raises."""
    from mlflow.exceptions import MlflowException
    from requests import RequestException
    from sqlalchemy.exc import SQLAlchemyError

    return MlflowException, RequestException, SQLAlchemyError, OSError
