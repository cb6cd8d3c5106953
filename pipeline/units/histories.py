"""What one method learned under one seed, task by task, whichever units it came in.

A method that learns its tasks in order is one unit. A method whose tasks are independent networks (scratch,
fine-tune) is one unit a task: after t tasks it keeps t networks, and nothing later changes what they answer.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from lsg.evaluation import average, backward_transfer, forgetting
from pipeline.errors import AGAIN, UserError
from pipeline.units.records import Record, Size, UnitDirectory, start_of


@dataclass(frozen=True)
class Learned:
    """One learned task.

    row: task -> test accuracy after this one. size, parameters: of all tasks up to this one, as multiples of
    the dense 1x network and as allocated shared weights.
    """

    record: Record
    row: dict[int, float]
    size: Size
    parameters: int
    seconds: float | None
    unit: UnitDirectory


def history(units: Iterable[UnitDirectory]) -> list[Learned]:
    """The tasks 1, 2, ... of one method and seed, up to the first that is not learned yet.

    Raises UserError when two units hold the same task or a record is damaged.
    """
    holders = _holders(units)
    learned: list[Learned] = []
    while (task := len(learned) + 1) in holders:
        learned.append(_learned(holders[task], task, learned))
    return learned


def measures(learned: Sequence[Learned]) -> dict[str, float]:
    """Average accuracy, forgetting, backward transfer and sizes after the last task."""
    matrix = {step.record.task: step.row for step in learned}
    size = learned[-1].size
    return {
        "average": average(matrix),
        "forgetting": forgetting(matrix),
        "backward_transfer": backward_transfer(matrix),
        "size": size.allocated,
        "size_used": size.used,
        "size_stored": size.stored,
    }


def _holders(units: Iterable[UnitDirectory]) -> dict[int, UnitDirectory]:
    """Which unit holds each learned task; the network that a unit of one task starts from holds its own."""
    holders: dict[int, UnitDirectory] = {}
    for unit in units:
        start = start_of(unit) if unit.alone else None
        for holder in (unit, start) if start else (unit,):
            for task in holder.learned():
                _claim(holders, task, holder)
    return holders


def _claim(holders: dict[int, UnitDirectory], task: int, unit: UnitDirectory) -> None:
    first = holders.setdefault(task, unit)
    if first.key != unit.key:  # records that are joined may each hold a copy of the same unit
        names = " and ".join(sorted((first.name, unit.name)))
        raise UserError(
            f"task {task} of {unit.definition.method}, seed {unit.definition.seed}, is in two units: "
            f"{names}; {AGAIN}, or list (of records: join) one of them only"
        )


def _learned(unit: UnitDirectory, task: int, before: Sequence[Learned]) -> Learned:
    record = unit.record(task)
    row, size, parameters = record.row, record.size, record.cost.parameters
    if unit.alone and before:
        row = before[-1].row | row
        size = before[-1].size.plus(size)
        parameters += before[-1].parameters
    if sorted(row) != list(range(1, task + 1)):
        raise UserError(
            f"{unit.file(task, 'json')} is damaged: its row has accuracies of tasks {sorted(row)}, not of "
            f"1 to {task}; move its directory away and {AGAIN}"
        )
    return Learned(record, row, size, parameters, unit.seconds().get(task), unit)
