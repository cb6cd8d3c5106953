"""Reads the units that an experiment's stages list into tidy tables, one row a fact.

Every row names its method, protocol, seed and task, and the unit directory, below the runs' root, that it
comes from.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from lsg.methods import METHODS
from lsg.methods.cl_lsg import ClLsg
from lsg.protocol import DECISION_SPLIT
from pipeline.errors import AGAIN, UserError
from pipeline.report.agreement import Goals, require_one_experiment, require_these_goals
from pipeline.units.histories import Learned, history
from pipeline.units.records import UnitDirectory, open_unit, read_json

Runs = dict[tuple[str, int], list[Learned]]
"""What was learned, task by task, of each (method, seed)."""
Row = dict[str, Any]


@dataclass(frozen=True)
class Frames:
    """One benchmark's results; fractions, and sizes as multiples of the dense 1x network.

    accuracy: test accuracy of each task after each task from it on.
    size: allocated, used, stored after each task.
    cost: steps, macs, seconds and stored_bytes of each task; parameters: shared weights of all tasks so far.
    decisions: question, answer, value, goal, split, reason.
    growth: of CL-LSG and its parts: goal, stage_1, stage_2 (accuracy on `split`), gates_opened, gates_closed,
        channels, released_share, reason.
    timed_alike: whether seconds are of one machine, as far as is known.
    """

    benchmark: str
    protocol: str
    tasks: dict[int, str]
    runs: Runs
    units: tuple[UnitDirectory, ...]
    accuracy: pd.DataFrame
    size: pd.DataFrame
    cost: pd.DataFrame
    decisions: pd.DataFrame
    growth: pd.DataFrame
    timed_alike: bool = True

    @property
    def methods(self) -> list[str]:
        """In the order of the library's list: baselines first."""
        return sorted({method for method, _ in self.runs}, key=list(METHODS).index)

    @property
    def seeds(self) -> list[int]:
        return sorted({seed for _, seed in self.runs})

    @property
    def decision_split(self) -> str:
        return DECISION_SPLIT[self.protocol]


def read_frames(benchmark: str, listings: Iterable[Path], root: Path) -> Frames:
    """Reads the units that `listings` (files of stages targets and learn) place below `root`.

    Raises UserError, which names it, for a (method, seed, task) that is missing or there twice, an unfinished
    unit, a damaged file, and units of another benchmark, of different protocols or of different experiments:
    a run that was cut, or `cl-lsg targets` alone, leaves the list that an earlier run's stage learn wrote.
    """
    contents = {listing: _content(listing) for listing in listings}
    units = [_finished(root / place) for content in contents.values() for place in content["units"].values()]
    if not units:
        raise UserError(f"no units are listed for {benchmark}; run `cl-lsg targets {benchmark}`")
    frames = frames_of(benchmark, units)
    _require_one_run(units, _goals(contents))
    _require_same_seeds(frames)
    return frames


def frames_of(benchmark: str, units: Sequence[UnitDirectory], timed_alike: bool = True) -> Frames:
    """The frames of finished units, at least one. Each run has all tasks; runs may differ in their seeds.

    Raises UserError like `read_frames`, but for methods that lack a seed which others have.
    """
    for unit in units:
        unit.check_records()
    protocol = _common_protocol(benchmark, units)
    runs = {name: history(of_run) for name, of_run in _grouped(units).items()}
    _require_tasks(runs, units)
    return Frames(
        benchmark=benchmark,
        protocol=protocol,
        tasks={step.record.task: step.record.name for step in next(iter(runs.values()))},
        runs=runs,
        units=tuple(units),
        accuracy=_frame(runs, _accuracy, "task after_task accuracy unit"),
        size=_frame(runs, _size, "task allocated used stored unit"),
        cost=_frame(runs, _cost, "task steps macs seconds parameters stored_bytes unit"),
        decisions=_frame(runs, _decisions, "task question answer value goal split reason unit"),
        growth=_frame(
            runs,
            _growth,
            "task goal split stage_1 stage_2 gates_opened gates_closed channels released_share reason unit",
        ),
        timed_alike=timed_alike,
    )


def complete_runs(units: Sequence[UnitDirectory]) -> set[tuple[str, int]]:
    """Each (method, seed) of which these finished units hold as many tasks as of any. Raises UserError."""
    tasks = max((task for unit in units for task in unit.definition.tasks), default=0)
    return {name for name, of_run in _grouped(units).items() if len(history(of_run)) == tasks}


def _require_one_run(units: Sequence[UnitDirectory], goals: Goals) -> None:
    try:
        require_one_experiment(units)
        require_these_goals(units, goals)
    except UserError as error:
        raise UserError(f"{error}: stages targets and learn were of different runs; {AGAIN}") from error


def _content(listing: Path) -> dict[str, Any]:
    content = read_json(listing)
    if not isinstance(content, dict) or not isinstance(content.get("units"), dict):
        raise UserError(f"{listing} is damaged: it lists no units; delete it and {AGAIN}")
    return content


def _goals(contents: Mapping[Path, dict[str, Any]]) -> Goals:
    """The goals that the stage targets came to, by seed and task."""
    goals: dict[tuple[int, int], float] = {}
    for listing, content in contents.items():
        try:
            for seed, by_task in content.get("goals", {}).items():
                goals |= {(int(seed), int(task)): float(goal) for task, goal in by_task.items()}
        except (ValueError, TypeError, AttributeError):
            raise UserError(f"{listing} is damaged: its goals are none; delete it and {AGAIN}") from None
    return goals


def _finished(directory: Path) -> UnitDirectory:
    unit = open_unit(directory)
    if not unit.finished:
        raise UserError(f"{directory} is not finished; {AGAIN}")
    return unit


def _common_protocol(benchmark: str, units: Sequence[UnitDirectory]) -> str:
    for unit in units:
        if unit.definition.benchmark != benchmark:
            raise UserError(f"{unit.path} belongs to {unit.definition.benchmark}, not to {benchmark}")
    protocols = sorted({unit.definition.protocol for unit in units})
    if len(protocols) > 1:
        raise UserError(f"{benchmark} lists units of protocols {' and '.join(protocols)}; {AGAIN}")
    return protocols[0]


def _grouped(units: Iterable[UnitDirectory]) -> dict[tuple[str, int], list[UnitDirectory]]:
    groups: dict[tuple[str, int], list[UnitDirectory]] = {}
    for unit in units:
        groups.setdefault((unit.definition.method, unit.definition.seed), []).append(unit)
    return groups


def _require_tasks(runs: Runs, units: Iterable[UnitDirectory]) -> None:
    """All runs must have the same tasks."""
    tasks = max(task for unit in units for task in unit.definition.tasks)
    for (method, seed), learned in runs.items():
        if len(learned) < tasks:
            raise _missing(method, seed, len(learned) + 1)


def _require_same_seeds(frames: Frames) -> None:
    for method in frames.methods:
        for seed in frames.seeds:
            if (method, seed) not in frames.runs:
                raise _missing(method, seed, 1)


def _missing(method: str, seed: int, task: int) -> UserError:
    return UserError(f"({method}, seed {seed}, task {task}) is missing though others have it; {AGAIN}")


def _frame(runs: Runs, rows_of: Callable[[Sequence[Learned]], Iterable[Row]], columns: str) -> pd.DataFrame:
    rows = [
        {"method": method, "protocol": learned[0].record.protocol, "seed": seed} | row
        for (method, seed), learned in runs.items()
        for row in rows_of(learned)
    ]
    return pd.DataFrame(rows, columns=["method", "protocol", "seed", *columns.split()])


def _accuracy(learned: Sequence[Learned]) -> Iterator[Row]:
    for step in learned:
        for task, accuracy in step.row.items():
            after: Row = {"task": task, "after_task": step.record.task, "accuracy": accuracy}
            yield after | _unit(learned[task - 1])


def _size(learned: Sequence[Learned]) -> Iterator[Row]:
    for step in learned:
        yield _task(step) | step.size.model_dump() | _unit(step)


def _cost(learned: Sequence[Learned]) -> Iterator[Row]:
    for step in learned:
        told = step.record.cost.model_dump() | {"parameters": step.parameters}
        yield _task(step) | {"seconds": step.seconds} | told | _unit(step)


def _decisions(learned: Sequence[Learned]) -> Iterator[Row]:
    for step in learned:
        for decision in step.record.decisions:
            yield _task(step) | decision.model_dump() | _unit(step)


def _growth(learned: Sequence[Learned]) -> Iterator[Row]:
    for step in learned:
        record = step.record
        if not issubclass(METHODS[record.method], ClLsg):
            continue
        split = DECISION_SPLIT[record.protocol]
        reached = {f"stage_{stage.stage}": stage.accuracy.get(split) for stage in record.stages}
        grown: Row = {
            "goal": record.goal,
            "split": split,
            "gates_opened": sum(stage.gates_opened for stage in record.stages),
            "gates_closed": sum(stage.gates_closed for stage in record.stages),
            "channels": sum(record.growth.channels_after.values()),
            "released_share": record.growth.released_share,
            "reason": record.reason,
        }
        yield _task(step) | grown | reached | _unit(step)


def _task(step: Learned) -> Row:
    return {"task": step.record.task}


def _unit(step: Learned) -> Row:
    return {"unit": step.unit.place}
