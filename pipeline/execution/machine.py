"""Where and how units run: settings from the environment, none of which may change a result except those that
are part of a unit's key (threads and the kind of device).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch

from pipeline.errors import UserError
from pipeline.units.unit import Numerics

ExecutorName = Literal["ray", "local"]
EXECUTORS = ("ray", "local")
MOST_THREADS = 1024
"""More than any machine's CPUs; torch starts as many as it is told, and a machine stands still over that."""


@dataclass(frozen=True)
class Machine:
    """Settings of the executors.

    executor            ray (parallel, the default) or local (one unit after the other, in this process)
    workers             units at a time; None = CPUs divided by threads
    threads             torch's threads in a unit; changes the order of sums, so it is part of a unit's key
    gpu_share           GPUs of a unit: 0 = train on the CPU, 0.25 = four units on a GPU; None = what there is
    checkpoint_seconds  seconds between checkpoints of a task in training
    address             of a running Ray cluster, or local to start one for this command
    """

    executor: ExecutorName = "ray"
    workers: int | None = None
    threads: int = 1
    gpu_share: float | None = None
    checkpoint_seconds: float = 20.0
    address: str = "local"

    def numerics(self) -> Numerics:
        """What decides the bits of results on this machine.

        Raises UserError where units would run here on a GPU that is not there (Ray's may be elsewhere).
        """
        has_gpu = torch.cuda.is_available()
        wants_gpu = has_gpu if self.gpu_share is None else self.gpu_share > 0
        if wants_gpu and not has_gpu and self.executor == "local":
            raise UserError(
                f"CL_LSG_GPU_SHARE is {self.gpu_share}, and torch finds no GPU here; unset it, or set it to 0"
            )
        return Numerics(torch.__version__, self.threads, "cuda" if wants_gpu else "cpu")


def cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def read_machine(given: Mapping[str, Any] | None = None) -> Machine:
    """Settings from CL_LSG_* variables; those in `given` that are not None win.

    Raises UserError that names the variable or option, its value and the allowed ones.
    """
    env = os.environ
    values: dict[str, Any] = {
        "executor": env.get("CL_LSG_EXECUTOR") or None,
        "workers": _number("CL_LSG_WORKERS", int),
        "threads": _number("CL_LSG_THREADS", int),
        "gpu_share": _number("CL_LSG_GPU_SHARE", float),
        "checkpoint_seconds": _number("CL_LSG_CHECKPOINT_SECONDS", float),
        "address": env.get("RAY_ADDRESS") or None,
    }
    settings = [*values.items(), *(given or {}).items()]
    machine = Machine(**{key: value for key, value in settings if value is not None})
    _check(machine)
    return machine


def _check(machine: Machine) -> None:
    share, seconds, up = machine.gpu_share, machine.checkpoint_seconds, "1 and up"
    allowed = [
        (machine.executor in EXECUTORS, "CL_LSG_EXECUTOR (--executor)", machine.executor, "ray, local"),
        (machine.workers is None or machine.workers >= 1, "CL_LSG_WORKERS (--workers)", machine.workers, up),
        (1 <= machine.threads <= MOST_THREADS, "CL_LSG_THREADS", machine.threads, f"1 to {MOST_THREADS}"),
        (
            share is None or 0 <= share <= 1,
            "CL_LSG_GPU_SHARE",
            share,
            "0 to 1, for example 0.25 for four units on a GPU",
        ),
        (seconds >= 0, "CL_LSG_CHECKPOINT_SECONDS", seconds, "0 and up"),
    ]
    for holds, name, value, values in allowed:
        if not holds:
            raise UserError(f"{name} is {value}; allowed: {values}")


def _number(name: str, kind: type[int | float]) -> int | float | None:
    text = os.environ.get(name)
    if not text:
        return None
    try:
        return kind(text)
    except ValueError:
        wanted = "a whole number" if kind is int else "a number"
        raise UserError(f"{name} is {text!r}; set it to {wanted} or unset it") from None
