"""What Ray, MLflow, logs, checkpoints and certificates add to a step of a sequence of tasks.

The same units of CL-LSG on digits (a task of 10 epochs, and one of many) in two ways, in turn: the bare loop
in this process, which logs, saves and proves nothing, and a stage with Ray, MLflow in a sqlite file and a
checkpoint every 20 s. The longer unit minus the shorter is the cost of steps alone; what the shorter one
takes above its steps is the fixed cost of a stage.

    python -m benchmarks.overhead --epochs 600 --rounds 3
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from functools import partial
from pathlib import Path

from benchmarks.bare import BareRun
from benchmarks.timing import interleaved, machine, spread
from lsg.data import load_task
from pipeline.execution.machine import Machine
from pipeline.params import load_params, resolve
from pipeline.prepare import prepare
from pipeline.stage import Bench, work
from pipeline.units.plan import Plan, read_manifest
from pipeline.units.store import RunStore
from pipeline.units.unit import Unit

SHORT = 10
RAY = Machine(workers=1, gpu_share=0)


def bare(unit: Unit, folder: Path) -> None:
    """Learn the unit's tasks and keep nothing."""
    run = BareRun(unit, folder)
    for number in unit.tasks:
        run.learn(load_task(run.job.source, number))


def whole(unit: Unit, folder: Path) -> None:
    """A stage of this unit alone, then forget it."""
    store = RunStore(folder / "runs")
    work("overhead", "digits", [unit], Bench(RAY, store, folder, f"sqlite:///{folder}/mlflow.db"))
    shutil.rmtree(store.root)


def make_unit(folder: Path, epochs: int) -> Unit:
    """CL-LSG on the first task of digits, for so many epochs."""
    changes = ["methods=[cl-lsg]", f"train.epochs={epochs}", "presets.digits.train.curves=false"]
    experiment = resolve(load_params(overrides=changes), "digits")
    prepared = folder / "tasks" / "digits"
    prepare("digits", experiment.data, prepared)
    plan = Plan(experiment, read_manifest(prepared), prepared.absolute(), RAY.numerics(), first=1)
    return plan.units("learn", {1: {1: 1.0}})[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--epochs", type=int, default=600, help="of the longer unit")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    begun = time.perf_counter()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        units = {"short": make_unit(folder, SHORT), "long": make_unit(folder, options.epochs)}
        ways = {"bare": bare, "whole": whole}
        actions = {
            f"{way} {size}": partial(learn, unit, folder)
            for way, learn in ways.items()
            for size, unit in units.items()
        }
        seconds = interleaved(actions, options.rounds)
    steps = units["long"].steps - units["short"].steps
    each = {
        way: [
            (long - short) / steps
            for long, short in zip(seconds[f"{way} long"], seconds[f"{way} short"], strict=True)
        ]
        for way in ways
    }
    fixed = [taken - own for taken, own in zip(seconds["whole short"], seconds["bare short"], strict=True)]
    print(machine())
    print(f"{steps} steps, {options.rounds} rounds, {(time.perf_counter() - begun) / 60:.0f} minutes in all")
    for way, values in each.items():
        print(f"{way:6} {1000 * spread(values).median:.3f} ms a step")
    over = [one / other for one, other in zip(each["whole"], each["bare"], strict=True)]
    print(f"whole / bare {spread(over)}; fixed cost of a stage {spread(fixed)} s")


if __name__ == "__main__":
    main()
