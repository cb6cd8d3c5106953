"""What a trial is: ordinary units, learned with some values of params.yaml changed, and what they came to.

Everything here is read from the units' directories, and of accuracies only those on validation images.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from pipeline.errors import UserError
from pipeline.params import load_params, resolve
from pipeline.params.experiment import Params
from pipeline.stage import Bench
from pipeline.sweep.space import Values, overrides
from pipeline.targets import goals_of
from pipeline.units.histories import Learned, history
from pipeline.units.plan import BASELINES, Goals, Plan
from pipeline.units.records import DEFINITION, open_unit
from pipeline.units.store import FAULT
from pipeline.units.unit import Unit


@dataclass(frozen=True)
class Study:
    """One method on one benchmark, before a trial changes anything.

    tasks    only so many tasks of the benchmark; None for all
    params   params.yaml, absolute
    changes  `-S` options of all trials
    """

    benchmark: str
    method: str
    bench: Bench
    tasks: int | None
    params: Path
    changes: tuple[str, ...] = ()

    def plan(self, values: Values) -> Plan:
        """The plan of a trial. Raises UserError for a key or value that params.yaml may not hold."""
        return self.bench.plan(self._params(values), self.benchmark, self.tasks)

    def require_known(self, values: Values) -> None:
        """Raise UserError for a key or value that params.yaml may not hold; no image is read for it."""
        resolve(self._params(values), self.benchmark)

    def _params(self, values: Values) -> Params:
        chosen = [f"benchmarks=[{self.benchmark}]", f"methods=[{self.method}]"]
        return load_params(self.params, [*self.changes, *chosen, *overrides(values)])

    def needed(self, plan: Plan) -> list[Unit]:
        """The baselines' units that a trial waits for: those of the goals, or the start of fine-tune."""
        units = plan.units("targets")
        if self.method not in BASELINES:
            return units
        starts = {unit.start.key: unit.start for unit in units if unit.method == self.method and unit.start}
        return list(starts.values())

    def units(self, plan: Plan) -> list[Unit]:
        """A trial's own units, in order of seeds and tasks; what it needs has to be finished."""
        if self.method in BASELINES:
            return [unit for unit in plan.units("targets") if unit.method == self.method]
        return plan.units("learn", self._goals(plan))

    def units_known(self, plan: Plan) -> list[Unit]:
        """As `units` before the goals are known, which are set to 1."""
        if self.method in BASELINES:
            return self.units(plan)
        return plan.units("learn", {seed: dict.fromkeys(plan.tasks, 1.0) for seed in plan.experiment.seeds})

    def _goals(self, plan: Plan) -> Goals:
        by_seed = goals_of(plan, self.needed(plan), self.bench.store)["goals"]
        return {
            int(seed): {int(task): goal for task, goal in goals.items()} for seed, goals in by_seed.items()
        }


@dataclass(frozen=True)
class Point:
    """A trial after so many tasks, over all its seeds.

    validation_accuracy  mean over the tasks learned so far, each as it was when learned, 0 to 1
    size                 allocated weights over those of the dense 1x network, mean over seeds
    """

    learned: int
    validation_accuracy: float
    size: float
    steps: int
    seconds: float


@dataclass(frozen=True)
class Trial:
    """One set of values, numbered from 1 in the order of the sweep."""

    number: int
    values: Values
    study: Study

    def outcome(self) -> Outcome:
        """Where the trial stands now; without points as long as a unit that it needs is not finished.

        Values that fit one by one may not fit together: then the trial has failed, and the others go on.
        """
        study = self.study
        try:
            plan = study.plan(self.values)
        except UserError as error:
            return Outcome((), False, str(error), ())
        needed = study.needed(plan)
        if all(study.bench.store.finished(unit) for unit in needed):
            return outcome(study.units(plan), study.bench)
        return Outcome((), False, _fault(needed, study.bench), ())


@dataclass(frozen=True)
class Outcome:
    """What a trial came to: its points, one a learned task; its fault if it failed; its units' places."""

    points: tuple[Point, ...]
    finished: bool
    fault: str | None
    places: tuple[str, ...]

    @property
    def state(self) -> str:
        """finished, failed, or stopped: before its last task, and to be continued by learning its units."""
        return "finished" if self.finished else "failed" if self.fault else "stopped"


def outcome(units: list[Unit], bench: Bench) -> Outcome:
    """What units came to that were learned in this order."""
    store = bench.store
    finished = all(store.finished(unit) for unit in units)
    places = tuple(store.relative(unit) for unit in units)
    return Outcome(tuple(_points(units, bench)), finished, _fault(units, bench), places)


def _fault(units: list[Unit], bench: Bench) -> str | None:
    """The last line of the first traceback among the units' directories."""
    paths = [bench.store.directory(unit) / FAULT for unit in units]
    texts = [path.read_text(encoding="utf-8").strip() for path in paths if path.exists()]
    return next((text.splitlines()[-1] for text in texts if text), None)


def _points(units: list[Unit], bench: Bench) -> Iterator[Point]:
    """The points of one seed after the other, each over all that was learned before."""
    before: list[Learned] = []
    last: list[float] = []
    for _, group in groupby(units, key=lambda unit: unit.seed):
        directories = [bench.store.directory(unit) for unit in group]
        steps = history(open_unit(path) for path in directories if (path / DEFINITION).exists())
        for count, step in enumerate(steps, start=1):
            sizes = [*last, step.size.allocated]
            yield _point([*before, *steps[:count]], sum(sizes) / len(sizes))
        before += steps
        last += [steps[-1].size.allocated] if steps else []


def _point(learned: list[Learned], size: float) -> Point:
    return Point(
        len(learned),
        sum(map(_validation, learned)) / len(learned),
        size,
        sum(step.record.cost.steps for step in learned),
        sum(step.seconds or 0.0 for step in learned),
    )


def _validation(learned: Learned) -> float:
    reached = learned.record.accuracy.get("validation")
    if reached is None:
        raise UserError(
            f"{learned.unit.path} has no validation accuracy to choose by; set the preset's "
            "data.validation above 0"
        )
    return reached
