"""A sweep as a person asks for it: what varies, how often it is drawn, and what is stopped early."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from math import prod
from pathlib import Path
from typing import Any, Literal

from pipeline.errors import UserError
from pipeline.sweep.ledger import Ledger
from pipeline.sweep.space import RANGES, Domain, Values, short_names
from pipeline.sweep.trials import Study, Trial
from pipeline.units.unit import Unit

Search = Literal["random", "optuna"]
Scheduler = Literal["asha", "fifo"]
STATES = ".sweeps"
"""The folder of the store in which Ray Tune keeps which values it drew."""


@dataclass(frozen=True)
class Sweep:
    """A study and its trials to be.

    samples    draws of the values; where some stand in grids, draws for each point of the grid
    search     random (values do not depend on results) or optuna (tree-structured Parzen estimator)
    scheduler  asha stops trials that fall behind; fifo runs each to its end
    within     how far below the best validation accuracy a chosen trial may lie, 0 to 1
    draws      seed of the draws
    """

    study: Study
    space: tuple[Domain, ...]
    samples: int
    search: Search = "random"
    scheduler: Scheduler = "asha"
    within: float = 0.005
    draws: int = 1

    @property
    def count(self) -> int:
        """How many trials there will be."""
        return self.samples * prod(len(domain.values) for domain in self.space if domain.kind == "grid")

    @cached_property
    def names(self) -> dict[str, str]:
        """The keys as names of columns and runs: short, but different."""
        return short_names(domain.key for domain in self.space)

    @cached_property
    def tasks_a_trial(self) -> int:
        """Tasks that a trial learns, over all its seeds."""
        plan = self.study.plan(self.first_values())
        return len(plan.tasks) * len(plan.experiment.seeds)

    @cached_property
    def identity(self) -> str:
        """Digest of all that decides the sweep's trials: what it starts from, and what it varies.

        Settings, data, code and numerics come in through the keys of the units of the first values.
        """
        units = self._starting_units(self.first_values())
        varied = {domain.key: domain.text for domain in self.space}
        asked = [varied, self.samples, self.search, self.scheduler, self.draws]
        text = json.dumps([[unit.key for unit in units], asked])
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def folder(self) -> Path:
        """Where Ray Tune keeps the sweep's state."""
        name = f"{self.study.method}-{self.identity[:12]}"
        return self.study.bench.store.root / STATES / self.study.benchmark / name

    @property
    def lock(self) -> Path:
        """Held by the process that runs the sweep: Tune's state and the ledger have one writer."""
        return self.folder.with_suffix(".lock")

    def first_values(self) -> Values:
        """The first value, or the lower end, of every domain."""
        return {domain.key: domain.values[0] for domain in self.space}

    def values(self, drawn: Mapping[str, Any]) -> Values:
        """A trial's values from what Ray Tune drew."""
        return {domain.key: domain.value(drawn[domain.key]) for domain in self.space}

    @property
    def ledger(self) -> Ledger:
        """Which values were drawn."""
        return Ledger(self.folder.with_suffix(".json"))

    def trial(self, drawn: Mapping[str, Any]) -> Trial:
        """The trial with the values that Ray Tune drew."""
        values = self.values(drawn)
        return Trial(self.ledger.number(values), values, self.study)

    def trials(self) -> list[Trial]:
        """All trials so far. Values that were drawn twice are one."""
        drawn = enumerate(self.ledger.drawn(), start=1)
        return [Trial(number, values, self.study) for number, values in drawn]

    def require_known(self) -> None:
        """Raise UserError for a key or value that params.yaml may not hold, before anything is prepared."""
        first = self.first_values()
        for domain in self.space:
            for value in domain.values:
                self.study.require_known({**first, domain.key: value})

    def check(self) -> None:
        """Raise UserError for a value that params.yaml may not hold, for a range over whole numbers, for a
        key that changes nothing in what the method learns, and for decisions on test images.
        """
        first = self.first_values()
        plan = self.study.plan(first)
        if plan.experiment.protocol != "clean":
            raise UserError(
                "protocol paper decides on test images, and a sweep must not see them; "
                "add -S protocol=clean, and take the values it finds to protocol paper"
            )
        for domain in self.space:
            if domain.kind in RANGES:
                self._require_fractions(domain, first)
            without = {key: value for key, value in first.items() if key != domain.key}
            others = [{**first, domain.key: value} for value in domain.values[1:]] or [without]
            units = [self._starting_units(values) for values in (first, *others)]
            if len({tuple(unit.key for unit in each) for each in units}) == 1:
                raise UserError(f"--param {domain.key}: changes nothing in what {self.study.method} learns")

    def _require_fractions(self, domain: Domain, first: Values) -> None:
        """Raise UserError where a key, whose ends fit, takes whole numbers alone; a range draws others."""
        try:
            self.study.plan({**first, domain.key: float(domain.values[0])})
        except UserError as error:
            raise UserError(
                f"--param {domain.key}: takes whole numbers, and {domain.kind} draws others; "
                "write choice and the numbers, such as choice:1,2,3"
            ) from error

    def _starting_units(self, values: Values) -> list[Unit]:
        """What a trial needs and learns, with goals that are not known yet set to 1."""
        study, plan = self.study, self.study.plan(values)
        return [*study.needed(plan), *study.units_known(plan)]
