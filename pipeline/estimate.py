"""What an experiment costs before it is run: units, steps, and hours from a few measured steps."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import torch
from torch.nn.functional import cross_entropy

from lsg.cost import training_macs
from lsg.data import MANIFEST
from lsg.networks import Architecture
from pipeline.benchmarks import SOURCES, nominal_size
from pipeline.benchmarks.images import Nominal
from pipeline.benchmarks.settings import DataSettings
from pipeline.execution.machine import cores
from pipeline.execution.progress import clock
from pipeline.params import resolve
from pipeline.params.experiment import Experiment, Params
from pipeline.split import count_of
from pipeline.stage import Bench
from pipeline.units.plan import Plan, read_manifest
from pipeline.units.unit import Unit
from pipeline.wording import counted

PAPER_BENCHMARKS = ("cifar100-split", "cifar100-superclass", "miniimagenet")
PAPER_METHODS = "scratch,fine-tune,pnn,grow,grow-matched,den,cpg,apd,grow-target,grow+sel,grow+sel+lsg,cl-lsg"
PAPER = (
    f"methods=[{PAPER_METHODS}]",
    "seeds=[1,2,3]",
    "protocol=paper",
    "presets.cifar100-superclass.data.validation=0.0",
    "presets.miniimagenet.data.validation=0.05",
)
"""The paper's experiment: its decisions on test data, its numbers of training images (A.4), three seeds where
it has one run."""

MEASURED_SECONDS, LEAST_STEPS = 2.0, 2


def paper_overrides(params: Params) -> list[str]:
    """What turns params.yaml into the paper's experiment, without benchmarks whose data is not there."""
    there = [name for name in PAPER_BENCHMARKS if missing_data(resolve(params, name)) is None]
    return [f"benchmarks=[{','.join(there)}]", *PAPER]


def say_left_out(params: Params) -> None:
    """Print which of the paper's benchmarks `paper_overrides` leaves out, and what to do about it."""
    for name in PAPER_BENCHMARKS:
        if missing := missing_data(resolve(params, name)):
            print(f"{name}: left out, because {missing}")


def estimate(params: Params, bench: Bench, tasks: int | None = None) -> None:
    """Print each benchmark's units, steps and hours, and first what data is missing and where to get it.

    Of all tasks, or of the first `tasks` of each benchmark.
    """
    experiments = [resolve(params, benchmark) for benchmark in params.benchmarks]
    for experiment in experiments:
        if missing := missing_data(experiment):
            print(f"{experiment.benchmark}: its stage prepare will fail, because {missing}")
    machine = bench.machine
    workers = 1 if machine.executor == "local" else machine.workers or max(1, cores() // machine.threads)
    total = 0.0
    for experiment in experiments:
        prepared = bench.prepared(experiment.benchmark)
        plan = Plan(experiment, _manifest(experiment, prepared), prepared, machine.numerics(), tasks)
        seconds = _seconds(plan, workers)
        total += seconds
    print(f"in all about {clock(total)} with {counted(workers, 'unit')} at a time on this machine")


def missing_data(experiment: Experiment) -> str | None:
    """A sentence on data that a person has to bring, or None."""
    data = experiment.data
    if data.folder is None or Path(data.folder).exists():
        return None
    remedy = f"put the images there (the README says how), or set presets.{experiment.benchmark}.data.folder"
    if SOURCES[data.source].folder == "optional":
        remedy += ", or set it to null to download them"
    return f"its images are not at {data.folder}; {remedy}"


def seconds_bound(units: list[Unit], mac_seconds: float, workers: int) -> float:
    """Seconds at best: the work shared out among the workers, but no less than the longest unit."""
    macs = [unit.macs for unit in units]
    return max(sum(macs) / workers, max(macs, default=0)) * mac_seconds


def step_seconds(architecture: Architecture, classes: int, batch: int, device: str) -> float:
    """Seconds of one training step of the dense 1x network on this machine."""
    network = architecture.make(architecture.streams, classes).to(device)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9)
    images = torch.rand(batch, *architecture.image_shape, device=device)
    labels = torch.arange(len(images), device=device) % classes

    def step() -> None:
        optimizer.zero_grad()
        cross_entropy(network(images), labels).backward()
        optimizer.step()
        if device == "cuda":
            torch.cuda.synchronize()

    step()
    begun, done = time.perf_counter(), 0
    while done < LEAST_STEPS or time.perf_counter() - begun < MEASURED_SECONDS:
        step()
        done += 1
    return (time.perf_counter() - begun) / done


def _seconds(plan: Plan, workers: int) -> float:
    """Print one benchmark's line and return its seconds."""
    experiment, manifest = plan.experiment, plan.manifest
    torch.set_num_threads(plan.numerics.threads)
    goals = {seed: dict.fromkeys(plan.tasks, 1.0) for seed in experiment.seeds}
    stages = [plan.units("targets"), plan.units("learn", goals), plan.units("sized", goals)]
    classes = len(manifest["tasks"][0]["classes"])
    batch, architecture = experiment.train.batch_size, plan.architecture
    step = step_seconds(architecture, classes, batch, plan.numerics.device)
    mac_seconds = step / training_macs(architecture, architecture.streams, classes, batch)
    seconds = sum(seconds_bound(units, mac_seconds, workers) for units in stages)
    steps = sum(unit.steps for units in stages for unit in units)
    print(
        f"{experiment.benchmark}: {counted(sum(map(len, stages)), 'unit')} "
        f"({counted(len(plan.tasks), 'task')}, seeds {', '.join(map(str, experiment.seeds))}, "
        f"{', '.join(experiment.methods)}), at most {steps:,} steps "
        f"of {1000 * step:.0f} ms at 1x on {plan.numerics.device}: about {clock(seconds)}",
        flush=True,
    )
    return seconds


def _manifest(experiment: Experiment, prepared: Path) -> dict[str, Any]:
    """The prepared tasks if they fit, or tasks of the size that the source is known to have."""
    data = experiment.data
    nominal = nominal_size(data.source)
    if nominal is None or data.classes_per_task is None:
        return read_manifest(prepared)
    expected = _expected(data, data.classes_per_task, nominal)
    if not (prepared / MANIFEST).exists():
        return expected
    there = read_manifest(prepared)
    return there if there["settings"] == data.cut() else expected


def _expected(data: DataSettings, size: int, nominal: Nominal) -> dict[str, Any]:
    """A manifest of tasks of `size` classes each."""
    images = nominal.images
    if not nominal.own_test:
        images -= count_of(data.test, images)
    validation = count_of(data.validation, images)
    train = images - validation
    task = {"train": train * size, "validation": validation * size, "classes": list(range(size))}
    tasks = [{**task, "task": number} for number in range(1, nominal.classes // size + 1)]
    side = data.image_size
    shape = (nominal.image_shape[0], side, side) if side else nominal.image_shape
    return {"image_shape": list(shape), "tasks": tasks}
