"""Trials of one-epoch digits in two tasks whose units are written by hand; nothing is trained."""

from collections.abc import Sequence
from pathlib import Path

from pipeline.sweep.choice import Row
from pipeline.sweep.settings import Sweep
from pipeline.sweep.space import parse_domains
from pipeline.sweep.trials import Outcome, Point, Study
from pipeline.units.unit import Unit
from tests.pipeline import made_units as made
from tests.pipeline.tiny_experiment import BENCHMARK, ROOT, tiny_bench

PENALTY = "learn.cl-lsg.penalty"


def made_study(tmp_path: Path, *changes: str, method: str = "cl-lsg") -> Study:
    return Study(BENCHMARK, method, tiny_bench(tmp_path), 2, ROOT / "params.yaml", changes)


def made_sweep(study: Study, *params: str, search: str = "random") -> Sweep:
    texts = params or (f"{PENALTY}=grid:0.1,0.2,0.3",)
    return Sweep(study, parse_domains(texts, search), samples=1)


def write_unit(unit: Unit, directory: Path, accuracies: Sequence[float], finished: bool = True) -> None:
    """Learn the unit's first tasks with these test accuracies; validation ones are 0.01 below."""
    directory.mkdir(parents=True)
    (directory / "unit.json").write_text(unit.text)
    for index, task in enumerate(unit.tasks[: len(accuracies)]):
        made.learn(directory, task, list(accuracies[: index + 1]))
    if finished:
        made.finish(directory)


def made_row(sweep: Sweep, value: float, accuracy: float, size: float, state: str = "finished") -> Row:
    """A trial with so much validation accuracy after its last task."""
    points = (Point(1, 0.5, 0.1, 10, 1.0), Point(2, accuracy, size, 20, 2.5))
    fault = "ValueError: loss is not a number" if state == "failed" else None
    places = (f"digits/cl-lsg/seed1-{value}",)
    told = Outcome(points if state == "finished" else points[:1], state == "finished", fault, places)
    return Row(sweep.trial({PENALTY: value}), told)
