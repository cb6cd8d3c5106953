"""Makes unit directories by hand, file by file as a run leaves them, without training anything."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from lsg import digest
from lsg.methods import METHODS
from lsg.methods.banked import Banked

BENCHMARK = "digits"
IMAGE = [1, 8, 8]
STREAMS = ("conv1", "conv2", "fc1", "fc2")
EPOCHS = 2
CL_LSG = {"seed_fraction": 0.125, "penalty": 1e-4, "mask_lr_drops": [0.5, 0.7]}


def definition(method: str, seed: int, tasks: Sequence[int], **changes: Any) -> dict[str, Any]:
    """What unit.json holds."""
    return {
        "format": 1,
        "benchmark": BENCHMARK,
        "method": method,
        "protocol": "clean",
        "seed": seed,
        "tasks": list(tasks),
        "network": {"name": "lenet"},
        "train": {"lr": 0.01, "epochs": EPOCHS},
        "settings": CL_LSG if method == "cl-lsg" else {},
        "goals": {},
        "data": "b" * 64,
        "code": "c" * 64,
        "numerics": {"torch": "2.12.1", "threads": 1, "device": "cpu", "dtype": "float32"},
        "start": None,
        **changes,
    }


def begin(runs: Path, unit: Mapping[str, Any], version: str = "d" * 64) -> Path:
    """A unit's directory before anything was learned; `version` is the prepared benchmark's digest."""
    text = json.dumps(unit, sort_keys=True, indent=2) + "\n"
    tasks = unit["tasks"]
    label = f"seed{unit['seed']}" + (f"-task{tasks[0]:02d}" if len(tasks) == 1 else "")
    key = hashlib.sha256(text.encode()).hexdigest()
    directory = runs / str(unit["benchmark"]) / str(unit["method"]) / f"{label}-{key[:12]}"
    directory.mkdir(parents=True)
    (directory / "unit.json").write_text(text)
    job = {name: unit[name] for name in ("tasks", "method", "network", "settings", "protocol", "seed")}
    write(directory / "job.json", {"format": 1, "data": version, "image_shape": IMAGE, "threads": 1, **job})
    return directory


def learn(directory: Path, task: int, row: Sequence[float], **changes: Any) -> None:
    """Learns one task: epochs, tensors, record and seconds. `row`: accuracies of the unit's tasks so far."""
    unit = json.loads((directory / "unit.json").read_text())
    seen = [number for number in unit["tasks"] if number <= task]
    epochs = EPOCHS * (seen.index(task) + 1)
    for epoch in range(epochs - EPOCHS + 1, epochs + 1):
        add_epoch(directory, task, epoch)
    tensors = {"head.weight": np.full((2, 2), row[-1], np.float32)}
    if issubclass(METHODS[unit["method"]], Banked):
        tensors |= one_channel_wide()
    save_file(tensors, directory / f"task_{task:02d}.safetensors")
    record = record_of(unit, task, dict(zip(map(str, seen), row, strict=True))) | changes
    add_event(directory, {"event": "task", **record})
    write(directory / f"task_{task:02d}.json", record)
    timed = directory / "seconds.json"
    seconds = json.loads(timed.read_text()) if timed.exists() else {}
    write(timed, seconds | {str(task): 1.5})


def one_channel_wide() -> dict[str, np.ndarray]:
    """What tells a bank's kernels of a LeNet with one channel a layer, all of them used: no byte of bits."""
    used = {f"{stream}.used": np.zeros(0, np.uint8) for stream in STREAMS}
    return {"widths": np.ones(len(STREAMS), np.int64)} | used


def record_of(unit: Mapping[str, Any], task: int, row: Mapping[str, float]) -> dict[str, Any]:
    """A task's record with plain values: one stage of 8 steps, a tenth of the 1x network more a task."""
    reached = row[str(task)]
    size = {"allocated": 0.1 * task, "used": 0.08 * task, "stored": 0.09 * task}
    if len(unit["tasks"]) == 1:
        size = {"allocated": 1.0, "used": 1.0, "stored": 1.01}
    return {
        "format": 1,
        "task": task,
        "name": f"classes of {task}",
        "classes": ["a", "b"],
        "method": unit["method"],
        "protocol": unit["protocol"],
        "seed": unit["seed"],
        "accuracy": {"validation": reached - 0.01, "test": reached},
        "row": dict(row),
        "goal": None,
        "decisions": [],
        "reason": "trained",
        "stages": [stage(1, reached - 0.01)],
        "growth": {},
        "size": size,
        "cost": {"parameters": 100 * task, "stored_bytes": 40, "macs": 1000, "steps": 8},
        "digest": "0" * 64,
        "network": "1" * 64,
        "probe": "2" * 64,
        "previous": None,
    }


def stage(number: int, validation: float, opened: int = 0, closed: int = 0) -> dict[str, Any]:
    """One stage of a record."""
    return {
        "stage": number,
        "epochs": EPOCHS,
        "steps": 8,
        "train_loss": 0.25,
        "train_accuracy": 0.9,
        "accuracy": {"validation": validation},
        "gates_opened": opened,
        "gates_closed": closed,
        "macs": 1000,
    }


def add_epoch(directory: Path, task: int, epoch: int, **changes: Any) -> None:
    """One epoch's event; the loss falls with the unit's `epoch`."""
    event = {"event": "epoch", "task": task, "stage": 1, "epoch": (epoch - 1) % EPOCHS + 1, "epochs": EPOCHS}
    values = {"global_epoch": epoch, "steps": 4, "train_loss": 1 / epoch, "train_accuracy": 0.5}
    add_event(directory, event | values | changes)


def add_event(directory: Path, event: Mapping[str, Any]) -> None:
    with (directory / "events.jsonl").open("a") as file:
        file.write(json.dumps(event, sort_keys=True) + "\n")


def finish(directory: Path) -> None:
    """The file that makes a unit finished, and records that hold the digests of what lies there."""
    unit = json.loads((directory / "unit.json").read_text())
    tasks = [task for task in unit["tasks"] if (directory / f"task_{task:02d}.json").exists()]
    last = None
    for task in tasks:
        path = directory / f"task_{task:02d}.json"
        tensors = digest.of_file(path.with_suffix(".safetensors"))
        write(path, json.loads(path.read_text()) | {"digest": tensors, "previous": last})
        last = digest.of_file(path)
    write(
        directory / "result.json",
        {"format": 1, "tasks": tasks, "matrix": {}, "last_record": last, "certificate": {"verified": True}},
    )


def alone(runs: Path, method: str, seed: int, task: int, accuracy: float, **changes: Any) -> Path:
    """A finished unit of one task."""
    directory = begin(runs, definition(method, seed, [task], **changes))
    learn(directory, task, [accuracy])
    finish(directory)
    return directory


def sequence(runs: Path, seed: int, rows: Sequence[Sequence[float]], **changes: Any) -> Path:
    """A finished cl-lsg unit; row t of `rows` holds the accuracies of tasks 1 to t after task t."""
    directory = begin(runs, definition("cl-lsg", seed, range(1, len(rows) + 1), **changes))
    for task, row in enumerate(rows, 1):
        learn(directory, task, row)
    finish(directory)
    return directory


def key_of(directory: Path) -> str:
    return hashlib.sha256((directory / "unit.json").read_bytes()).hexdigest()


def write(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, sort_keys=True))
