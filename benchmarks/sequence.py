"""Whole tasks of two methods in turn: seconds beside steps and multiply-accumulates.

Both learn the first tasks of a benchmark towards the same goals, those of Scratch, one task after the other
in one process: a task of the one, the same task of the other, and for the next task the other one first. So a
machine that slows down slows both. Nothing is logged, saved or proven.

    python -m benchmarks.sequence --benchmark cifar100-split --data data --tasks 3
    python -m benchmarks.sequence --benchmark cifar100-split --data data --tasks 3 --epochs 10
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.bare import BareRun
from benchmarks.timing import machine
from lsg.data import load_task
from pipeline.execution.machine import Machine
from pipeline.params import load_params, resolve
from pipeline.prepare import prepare
from pipeline.stage import Bench
from pipeline.units.plan import Goals, Plan
from pipeline.units.store import RunStore

SEED = 1


@dataclass(frozen=True)
class Cost:
    """What tasks took, and their accuracy on the split that decides: a mean where there are several."""

    seconds: float
    steps: int
    macs: int
    accuracy: float

    def __str__(self) -> str:
        cost = f"{self.seconds:8.1f} s {self.steps:7,} steps {self.macs / 1e12:7.2f} T"
        return f"{cost} {100 * self.accuracy:5.1f} %"


def total(costs: Sequence[Cost]) -> Cost:
    """Costs added up, accuracies averaged."""
    return Cost(
        sum(cost.seconds for cost in costs),
        sum(cost.steps for cost in costs),
        sum(cost.macs for cost in costs),
        sum(cost.accuracy for cost in costs) / len(costs),
    )


def learned(run: BareRun, number: int) -> Cost:
    """Learn one task and tell what it took."""
    task = load_task(run.job.source, number)
    begun = time.perf_counter()
    run.learn(task)
    seconds = time.perf_counter() - begun
    logs = run.trainer.logs
    reached = run.method.judge(run.method.network(number), task, run.trainer)
    return Cost(seconds, sum(log.steps for log in logs), sum(log.macs for log in logs), reached)


def scratch_goals(plan: Plan, folder: Path) -> Goals:
    """Scratch's accuracy on each task."""
    units = [unit for unit in plan.units("targets") if unit.method == "scratch"]
    return {SEED: {unit.tasks[0]: learned(BareRun(unit, folder), unit.tasks[0]).accuracy for unit in units}}


def compare(names: tuple[str, str], plans: tuple[Plan, Plan], folder: Path) -> None:
    """Learn all tasks with both methods and print a line a task."""
    goals = scratch_goals(plans[0], folder)
    runs = {
        name: BareRun(plan.units("learn", goals)[0], folder) for name, plan in zip(names, plans, strict=True)
    }
    costs: dict[str, list[Cost]] = {name: [] for name in names}
    for number in plans[0].tasks:
        for name in names if number % 2 else names[::-1]:
            costs[name].append(learned(runs[name], number))
        _say(f"task {number}", [costs[name][-1] for name in names], names)
    _say("all", [total(costs[name]) for name in names], names)


def _say(what: str, pair: list[Cost], names: tuple[str, str]) -> None:
    one, other = pair
    for name, cost in zip(names, pair, strict=True):
        print(f"{what:8} {name:12} {cost}")
    print(
        f"{'':8} {names[1]} / {names[0]}: {other.seconds / one.seconds:.2f} seconds, "
        f"{other.steps / one.steps:.2f} steps, {other.macs / one.macs:.2f} multiply-accumulates",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--benchmark", default="digits")
    parser.add_argument(
        "--data", type=Path, help="folder that `cl-lsg prepare` wrote its tasks to; else they are made anew"
    )
    parser.add_argument("--tasks", type=int, default=3, help="the first so many")
    parser.add_argument("--method", default="cl-lsg")
    parser.add_argument("--against", default="cpg")
    parser.add_argument("--epochs", type=int, help="a stage of the method compared against")
    parser.add_argument("-S", dest="overrides", action="append", default=[], metavar="KEY=VALUE")
    options = parser.parse_args()
    names, benchmark = (options.method, options.against), options.benchmark
    slower = [] if options.epochs is None else [f"presets.{benchmark}.train.epochs={options.epochs}"]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        bench = Bench(Machine(gpu_share=0), RunStore(folder), options.data or folder)
        params = [
            load_params(
                overrides=[*options.overrides, f"methods=[scratch,{method}]", f"seeds=[{SEED}]", *more]
            )
            for method, more in zip(names, ([], slower), strict=True)
        ]
        if options.data is None:
            prepare(benchmark, resolve(params[0], benchmark).data, bench.prepared(benchmark))
        plans = [bench.plan(each, benchmark, options.tasks) for each in params]
        print(machine(), flush=True)
        compare(names, (plans[0], plans[1]), folder)


if __name__ == "__main__":
    main()
