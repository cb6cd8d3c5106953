"""Reading a run directory back: every task's network, for use."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lsg.certificate import PROBE, rebuilt_method
from lsg.files import DamagedFileError
from lsg.methods import METHODS
from lsg.methods.method import Method
from lsg.networks import NETWORKS
from lsg.records import RunDirectory

NEEDED = ("tasks", "method", "network", "image_shape", "settings", "protocol", "seed")
"""What networks are rebuilt from; each stands in `job.json`."""


class UnknownRunError(RuntimeError):
    """A run is of a method, a network or settings that this version of the library does not have."""


def read_run(directory: Path) -> Method:
    """The method as it stands after the directory's last task; `network(task)` gives each task's network.

    Raises UnknownRunError, DamagedFileError for a damaged file and FileNotFoundError where there is no run.
    """
    run = RunDirectory(directory)
    method = empty_method(run)
    for task in run.learned():
        tensors = run.tensors(task)
        method.restore(task, {name: tensor for name, tensor in tensors.items() if name != PROBE})
    return method


def empty_method(run: RunDirectory) -> Method:
    """The run's method before its first task. Raises like `read_job`."""
    job = read_job(run)
    try:
        return rebuilt_method(job)
    except (TypeError, ValueError, AttributeError) as error:
        raise UnknownRunError(
            f"{run.path / 'job.json'} does not fit this checkout ({error}); use the checkout that learned it"
        ) from error


def read_job(run: RunDirectory) -> dict[str, Any]:
    """What the run is for, of a method and a network that there are here.

    Raises UnknownRunError, DamagedFileError where `job.json` does not say all that it should, and
    FileNotFoundError where there is none.
    """
    path, job = run.path / "job.json", run.job()
    missing = [name for name in NEEDED if name not in job]
    if missing:
        raise DamagedFileError(path, f"it has no {', '.join(missing)}")
    if not isinstance(job["network"], dict) or "name" not in job["network"]:
        raise DamagedFileError(path, "its network has no name")
    _require_known(path, "method", job["method"], METHODS)
    _require_known(path, "network", job["network"]["name"], NETWORKS)
    return job


def _require_known(path: Path, kind: str, name: object, known: Mapping[str, Any]) -> None:
    if name not in list(known):  # a list, as what stands in a damaged file need not be hashable
        raise UnknownRunError(f"{path}: this checkout has no {kind} {name!r}; use a checkout that has it")
