"""Runs units in one of two ways with the same results: `ray`, many at a time, or `local`, one by one here."""

from __future__ import annotations

import time
from collections.abc import Iterable

from pipeline.errors import first_line
from pipeline.execution.board import TICK_SECONDS, Board, Event, Watcher
from pipeline.execution.machine import Machine
from pipeline.units.store import RunStore, learn_and_listen
from pipeline.units.unit import Unit


def run(units: Iterable[Unit], store: RunStore, machine: Machine, watcher: Watcher) -> None:
    """Learn the unfinished ones of `units`. A unit that fails does not stop the others.

    Raises UnitsFailed at the end; UserError at once for a machine that cannot run them.
    """
    todo = [unit for unit in units if not store.finished(unit)]
    if not todo:
        return
    board = Board(todo, store, watcher)
    if machine.executor == "local":
        _run_here(board, machine)
    else:
        from pipeline.execution.on_ray import run_on_ray

        run_on_ray(board, machine, todo)
    board.raise_faults()


def _run_here(board: Board, machine: Machine) -> None:
    last = time.monotonic()

    def report(_event: Event) -> None:
        nonlocal last
        if time.monotonic() - last >= TICK_SECONDS:
            last = time.monotonic()
            board.poll()

    while unit := board.next():
        board.begin(unit)
        try:
            warnings = learn_and_listen(unit, board.store, report, machine.checkpoint_seconds)
        except Exception as error:
            board.end(unit, first_line(error))
        else:
            board.end(unit, warnings=warnings)
