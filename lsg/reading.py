"""Reading a run directory back: every task's network, from the files alone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from lsg.files import DamagedFileError
from lsg.methods import METHODS
from lsg.methods.method import Method
from lsg.networks import NETWORKS
from lsg.networks.described import architecture_of
from lsg.records import JOB, RunDirectory

PROBE = "probe.logits"
"""Name of what a task's file holds beside the method's own tensors (`lsg.certificate`)."""
NEEDED = ("tasks", "method", "network", "image_shape", "settings", "protocol", "seed", "threads")
"""What networks are rebuilt from, and how; each stands in `job.json`."""


class UnknownRunError(RuntimeError):
    """A run is of a method, a network or settings that this version of the library does not have."""


def read_run(directory: Path) -> Method:
    """The method as it stands after the directory's last task; `network(task)` gives each task's network.

    Raises UnknownRunError, DamagedFileError for a damaged file and FileNotFoundError where there is no run.
    """
    run = RunDirectory(directory)
    method = empty_method(run)
    for task in run.learned():
        restore_task(method, run, task)
    return method


def restore_task(method: Method, run: RunDirectory, task: int) -> dict[str, Tensor]:
    """Let the method take up the task's file, after those of all earlier tasks; what the file holds.

    Raises DamagedFileError.
    """
    tensors = run.tensors(task)
    try:
        method.restore(task, {name: tensor for name, tensor in tensors.items() if name != PROBE})
    except (KeyError, ValueError, RuntimeError) as error:
        raise DamagedFileError(run.tensors_path(task), error) from error
    return tensors


def empty_method(run: RunDirectory) -> Method:
    """The run's method before its first task. Raises like `read_job`."""
    job = read_job(run)
    try:
        return rebuilt_method(job)
    except (TypeError, ValueError, AttributeError) as error:
        raise UnknownRunError(
            f"{run.path / JOB} does not fit this checkout ({error}); use the checkout that learned it"
        ) from error


def rebuilt_method(job: Mapping[str, Any]) -> Method:
    """An empty method as a job describes it. Raises ValueError for settings that do not fit the network."""
    architecture = architecture_of(job["network"], job["image_shape"])
    kind = METHODS[job["method"]]
    settings = {name: tuple(v) if isinstance(v, list) else v for name, v in job["settings"].items()}
    return kind(architecture, kind.Settings(**settings), job["protocol"], job["seed"])


def read_job(run: RunDirectory) -> dict[str, Any]:
    """What the run is for, of a method and a network that there are here.

    Raises UnknownRunError, DamagedFileError where `job.json` does not say all that it should, and
    FileNotFoundError where there is none.
    """
    path, job = run.path / JOB, run.job()
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
