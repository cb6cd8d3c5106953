"""Reading a run directory back: every task's network, for use."""

from __future__ import annotations

from pathlib import Path

from lsg.certificate import PROBE, rebuilt_method
from lsg.methods.method import Method
from lsg.records import RunDirectory


def read_run(directory: Path) -> Method:
    """The method as it stands after the directory's last task; `network(task)` gives each task's network.

    Raises DamagedFileError for a damaged file and FileNotFoundError where there is no run.
    """
    run = RunDirectory(directory)
    method = rebuilt_method(run.job())
    for task in run.learned():
        tensors = run.tensors(task)
        method.restore(task, {name: tensor for name, tensor in tensors.items() if name != PROBE})
    return method
