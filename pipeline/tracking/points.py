"""What a tracked run shows of its units: the points of its metrics, and its parameters."""

import math
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from pipeline.units.histories import Learned, measures
from pipeline.units.records import Record, UnitDirectory

_EPOCH_METRICS = {
    "train_loss": "train/loss",
    "train_accuracy": "train/accuracy",
    "validation_accuracy": "train/validation_accuracy",
    "test_accuracy": "train/test_accuracy",
    "gates_on": "train/gates_on",
    "candidates": "train/candidates",
    "size": "train/size",
}


class Point(NamedTuple):
    """One value of one metric. `step` is the global epoch of `train/`, the task of `task/`, 0 of `final/`."""

    metric: str
    step: int
    value: float


def epoch_points(event: Mapping[str, Any], first: int = 0) -> Iterator[Point]:
    """The points of an epoch's event; `first` epochs stand before the unit's own in its run."""
    for field, metric in _EPOCH_METRICS.items():
        if event.get(field) is not None:
            yield Point(metric, first + event["global_epoch"], float(event[field]))


def epochs_before(unit: UnitDirectory) -> int:
    """Epochs before a unit's first in its run: units of one task each stand one after the other."""
    return (unit.definition.tasks[0] - 1) * int(unit.definition.train["epochs"]) if unit.alone else 0


def record_points(record: Record) -> Iterator[Point]:
    """Accuracy, goal and the values decided on, of one task."""
    accuracy = record.accuracy.get("test")
    values = {"task/accuracy": accuracy, "task/goal": record.goal}
    values |= {f"task/decision_{decision.question}": decision.value for decision in record.decisions}
    for metric, value in values.items():
        if value is not None:
            yield Point(metric, record.task, value)


def size_points(learned: Learned) -> Iterator[Point]:
    """The size of everything kept after one task."""
    for field in ("allocated", "used", "stored"):
        yield Point(f"task/size_{field}", learned.record.task, getattr(learned.size, field))


def final_points(learned: list[Learned]) -> Iterator[Point]:
    """What the whole run came to."""
    totals = {
        "steps": sum(step.record.cost.steps for step in learned),
        "macs": sum(step.record.cost.macs for step in learned),
    }
    for name, value in {**measures(learned), **totals}.items():
        yield Point(f"final/{name}", 0, value)


def differs(one: float, other: float) -> bool:
    """True when two values of a point differ; stores do not keep NaN and infinities as they are."""
    return math.isfinite(one) and math.isfinite(other) and one != other


def parameters(unit: UnitDirectory) -> dict[str, str]:
    """Every setting under its own name; a method's coefficients bare, so that runs compare by them."""
    definition = unit.definition
    named: dict[str, Any] = {"method": definition.method, "seed": definition.seed}
    named |= {"protocol": definition.protocol, "benchmark": definition.benchmark}
    for section in ("train", "network", "numerics"):
        named |= _flat(unit.content.get(section, {}), section)
    return {name: str(value) for name, value in (named | _flat(definition.settings)).items()}


def _flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings as dotted names."""
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        dotted = f"{prefix}.{name}" if prefix else name
        flat |= _flat(value, dotted) if isinstance(value, dict) else {dotted: value}
    return flat
