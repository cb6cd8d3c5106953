"""Orders in which tasks are learned: those published for CIFAR-100, by letter, and a person's own.

A is the usual order. B to E are those of APD's code (`orderB` and on), which count tasks from 0 as this table
does; GPM has the same ones for the superclasses.
"""

from __future__ import annotations

from collections.abc import Sequence

PUBLISHED: dict[str, dict[str, tuple[int, ...]]] = {
    "given": {
        "A": tuple(range(10)),
        "B": (1, 7, 4, 5, 2, 0, 8, 6, 9, 3),
        "C": (7, 0, 5, 1, 8, 4, 3, 6, 2, 9),
        "D": (5, 8, 2, 9, 0, 4, 3, 7, 6, 1),
        "E": (2, 9, 5, 4, 8, 0, 6, 1, 3, 7),
    },
    "superclass": {
        "A": tuple(range(20)),
        "B": (15, 12, 5, 9, 7, 16, 18, 17, 1, 0, 3, 8, 11, 14, 10, 6, 2, 4, 13, 19),
        "C": (17, 1, 19, 18, 12, 7, 6, 0, 11, 15, 10, 5, 13, 3, 9, 16, 4, 14, 2, 8),
        "D": (11, 9, 6, 5, 12, 4, 0, 10, 13, 7, 14, 3, 15, 16, 8, 1, 2, 19, 18, 17),
        "E": (6, 14, 0, 11, 12, 17, 13, 4, 9, 1, 7, 19, 8, 10, 3, 15, 18, 5, 2, 16),
    },
}
"""By class order, which decides how many tasks there are: 10 of 10 classes, or the 20 superclasses."""
LETTERS = "A to E"


def numbered(order: str, task_order: str | Sequence[int] | None, count: int) -> tuple[int, ...]:
    """Of `count` tasks, numbered from 1 in class order `order`: which is learned first, second and so on."""
    if task_order is None:
        return tuple(range(1, count + 1))
    if isinstance(task_order, str):
        return tuple(place + 1 for place in PUBLISHED[order][task_order])
    return tuple(task_order)


def fault(source: str, order: str, task_order: str | Sequence[int]) -> str | None:
    """What a task order has to be where it is not; None where it can be one."""
    if isinstance(task_order, str):
        if source != "cifar100" or order not in PUBLISHED:
            return "a list of task numbers: only cifar100 by label or superclass has orders with letters"
        return None if task_order in PUBLISHED[order] else f"{LETTERS}, or a list of task numbers"
    once = sorted(task_order) == list(range(1, len(task_order) + 1))
    return None if once else "each task's number, from 1, once"
