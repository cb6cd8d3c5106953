"""Units a second in this process, with one Ray worker and with two, and what Ray adds to the bare work.

Each round learns the same units anew (scratch on the first task of digits, a seed each) in the three ways in
turn. A stage starts and ends its own Ray, so that is in. The bare work is the time in this process over the
number of workers.

    python -m benchmarks.scheduling --units 8 --epochs 10 --rounds 5
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.timing import interleaved, machine, ratios, spread
from pipeline.execution.executors import run
from pipeline.execution.machine import Machine
from pipeline.params import load_params, resolve
from pipeline.prepare import prepare
from pipeline.units.plan import Plan, read_manifest
from pipeline.units.store import RunStore
from pipeline.units.unit import Unit

MACHINES = {
    "in this process": Machine(executor="local", gpu_share=0),
    "ray, 1 worker": Machine(workers=1, gpu_share=0),
    "ray, 2 workers": Machine(workers=2, gpu_share=0),
}
BARE, ONE, TWO = MACHINES


class Silent:
    """A watcher that hears nothing."""

    def started(self, unit: Unit, directory: Path) -> None: ...
    def resumed(self, unit: Unit, events: Sequence[dict[str, Any]]) -> None: ...
    def event(self, unit: Unit, event: dict[str, Any]) -> None: ...
    def ended(self, unit: Unit, fault: str | None) -> None: ...
    def note(self, text: str) -> None: ...
    def tick(self) -> None: ...


def make_units(folder: Path, count: int, epochs: int) -> list[Unit]:
    """Units of equal length that differ in their seeds; their data lies in `folder`."""
    seeds = list(range(1, count + 1))
    params = load_params(overrides=["methods=[scratch]", f"seeds={seeds}", f"train.epochs={epochs}"])
    experiment = resolve(params, "digits")
    prepare("digits", experiment.data, folder)
    plan = Plan(experiment, read_manifest(folder), folder, MACHINES[BARE].numerics(), first=1)
    return plan.units("targets")


def learn_anew(units: list[Unit], where: Machine, folder: Path) -> None:
    """Learn the units and forget them."""
    run(units, RunStore(folder), where, Silent())
    shutil.rmtree(folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--units", type=int, default=8)
    parser.add_argument("--epochs", type=int, default=10, help="of each unit")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        units = make_units(Path(name) / "digits", options.units, options.epochs)
        ways = {
            way: lambda where=where: learn_anew(units, where, Path(name) / "runs")
            for way, where in MACHINES.items()
        }
        seconds = interleaved(ways, options.rounds)
    print(machine())
    print(f"{len(units)} units of {units[0].steps} steps, {options.rounds} rounds, medians [95 % interval]")
    for way, where in MACHINES.items():
        over = [
            taken - bare / (where.workers or 1)
            for taken, bare in zip(seconds[way], seconds[BARE], strict=True)
        ]
        rate = spread([len(units) / taken for taken in seconds[way]])
        print(f"{way:16} {rate} units/s; seconds over the bare work {spread(over)}")
    print(f"two workers over one {ratios(seconds, ONE, TWO)}")


if __name__ == "__main__":
    main()
