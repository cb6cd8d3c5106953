"""How well the executors use a machine: units a second in this process, with one Ray worker and with two, and
what Ray adds to the bare work.

    python -m benchmarks.scheduling [--units 8] [--repeats 5]

Each repeat learns the same units (scratch on the first task of digits, one seed each) anew with each executor
in turn, so that the machine's moods meet all of them; printed are medians. The bare work is the local
executor's time, shared out among the workers.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from pipeline.executors import run
from pipeline.machine import Machine
from pipeline.params import load_params, resolve
from pipeline.prepare import prepare
from pipeline.runs import RunStore
from pipeline.units import Plan, Unit, read_manifest

EXECUTORS = {
    "local": Machine(executor="local", gpu_share=0),
    "ray, 1 worker": Machine(workers=1, gpu_share=0),
    "ray, 2 workers": Machine(workers=2, gpu_share=0),
}


@dataclass
class Silent:
    """A watcher that notes when the first unit was heard of."""

    first: float = field(default=0.0)

    def started(self, unit: Unit, directory: Path) -> None: ...
    def event(self, unit: Unit, event: dict[str, Any]) -> None:
        self.first = self.first or time.perf_counter()

    def ended(self, unit: Unit, fault: str | None) -> None: ...
    def note(self, text: str) -> None: ...
    def tick(self) -> None: ...


def make_units(folder: Path, count: int, epochs: int) -> list[Unit]:
    """Equal units that differ in their seeds."""
    seeds = list(range(1, count + 1))
    experiment = resolve(
        load_params(overrides=["methods=[scratch]", f"seeds={seeds}", f"train.epochs={epochs}"]), "digits"
    )
    prepare("digits", experiment.data, folder / "digits")
    numerics = Machine(gpu_share=0).numerics()
    return Plan(experiment, read_manifest(folder / "digits"), folder / "digits", numerics, 1).units("targets")


def seconds_of(units: Sequence[Unit], machine: Machine, folder: Path) -> tuple[float, float]:
    """Seconds to learn the units, and seconds until the first one's first epoch was heard of."""
    store, watch = RunStore(folder / "runs"), Silent()
    begun = time.perf_counter()
    run(units, store, machine, watch)
    ended = time.perf_counter()
    shutil.rmtree(store.root)
    return ended - begun, watch.first - begun


def main() -> None:
    """Print one line an executor."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--units", type=int, default=8)
    parser.add_argument("--epochs", type=int, default=10, help="of each unit (default 10)")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        units = make_units(folder, options.units, options.epochs)
        seconds_of(units[:1], EXECUTORS["local"], folder)
        taken: dict[str, list[tuple[float, float]]] = {executor: [] for executor in EXECUTORS}
        for _ in range(options.repeats):
            for executor, machine in EXECUTORS.items():
                taken[executor].append(seconds_of(units, machine, folder))
    _print(taken, len(units))


def _print(taken: dict[str, list[tuple[float, float]]], units: int) -> None:
    work = statistics.median(seconds for seconds, _ in taken["local"])
    print(f"{units} units, medians of {len(taken['local'])}, torch {torch.__version__}, one thread a unit")
    print("executor         units/s  seconds  to 1st epoch  over the bare work")
    for executor, times in taken.items():
        seconds, first = (statistics.median(column) for column in zip(*times, strict=True))
        workers = EXECUTORS[executor].workers or 1
        over = seconds - work / workers
        print(f"{executor:16} {units / seconds:7.3f}  {seconds:7.1f}  {first:12.1f}  {over:+8.1f} s")


if __name__ == "__main__":
    main()
