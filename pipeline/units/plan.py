"""Which units a stage needs: made from an experiment, its prepared tasks and the machine's numerics."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from lsg.batches import batch_sizes
from lsg.cost import training_macs
from lsg.data import MANIFEST
from lsg.methods import METHODS
from lsg.networks import Architecture
from lsg.networks.described import architecture_of
from pipeline.errors import UserError
from pipeline.params.experiment import Experiment
from pipeline.units.code import method_digest
from pipeline.units.unit import Numerics, Unit, data_digest

Stage = Literal["targets", "learn", "sized"]
Goals = Mapping[int, Mapping[int, float]]
"""Goal accuracies: seed -> task -> fraction."""
Sizes = Mapping[tuple[str, int], tuple[float, ...]]
"""Allocated sizes after each task: (method, seed) -> multiples of the dense 1x network."""

BASELINES = ("scratch", "fine-tune")


@dataclass(frozen=True)
class Plan:
    """Makes the units of one benchmark from its experiment, its prepared tasks and the machine's numerics.

    `first` keeps only so many tasks; units of one task each are then those of the whole benchmark.
    Raises UserError where there are fewer, where the tasks have no validation images and the protocol decides
    by them, where a method's settings do not fit the network, and where a crop does not fit the images.
    """

    experiment: Experiment
    manifest: dict[str, Any]
    prepared: Path
    numerics: Numerics
    first: int | None = None

    def __post_init__(self) -> None:
        count = len(self.manifest["tasks"])
        if self.first is not None and self.first > count:
            raise UserError(
                f"{self.experiment.benchmark} has {count} tasks, fewer than --tasks {self.first} asks for"
            )
        decides = self.experiment.protocol == "clean"
        if decides and not all(entry.get("validation", 1) for entry in self.manifest["tasks"]):
            benchmark = self.experiment.benchmark
            raise UserError(
                f"{benchmark} was prepared without validation images, by which protocol clean decides; "
                f"set presets.{benchmark}.data.validation above 0 and prepare it again, or set protocol=paper"
            )
        self._require_fit()

    def _require_fit(self) -> None:
        """Raise UserError where a method's settings do not fit the network, or a crop the images."""
        experiment, benchmark = self.experiment, self.experiment.benchmark
        for method in experiment.methods:
            try:
                METHODS[method](self.architecture, experiment.learn[method], experiment.protocol, seed=0)
            except (TypeError, ValueError) as error:  # the first for a class that lacks a method of Method's
                raise UserError(f"{benchmark}, learn.{method}: {error}") from error
        shorter = min(self.manifest["image_shape"][1:])
        if experiment.train.crop_padding >= shorter:
            raise UserError(
                f"{benchmark}, train.crop_padding: is {experiment.train.crop_padding}; allowed: less than "
                f"the {shorter} pixels of an image's shorter side"
            )

    def units(self, stage: Stage, goals: Goals | None = None, sizes: Sizes | None = None) -> list[Unit]:
        """The stage's units: `targets` the baselines, `learn` the other methods, which need the goals.

        `sized` are methods within another one's sizes, which that one has to reach first.
        Raises UserError when a goal is missing.
        """
        if stage == "targets":
            return self._baselines()
        return [
            self._unit(method, seed, self.tasks, self._goals(goals or {}, seed), sizes=sizes)
            for method in self.experiment.methods
            if method not in BASELINES and (METHODS[method].sized_by is None) == (stage == "learn")
            for seed in self.experiment.seeds
        ]

    @property
    def tasks(self) -> tuple[int, ...]:
        return tuple(entry["task"] for entry in self.manifest["tasks"][: self.first])

    def _baselines(self) -> list[Unit]:
        units = []
        for seed in self.experiment.seeds:
            scratch = [self._unit("scratch", seed, (task,)) for task in self.tasks]
            units += scratch
            if "fine-tune" in self.experiment.methods or self.experiment.rule == "best_of":
                units += self._fine_tunes(seed, scratch[0])
        return units

    def _fine_tunes(self, seed: int, first: Unit) -> list[Unit]:
        if self.experiment.learn["fine-tune"].start == "first":
            return [self._unit("fine-tune", seed, (task,), start=first) for task in self.tasks[1:]]
        return [self._unit("fine-tune", seed, self.tasks)]

    def _goals(self, goals: Goals, seed: int) -> dict[int, float]:
        missing = [task for task in self.tasks if task not in goals.get(seed, {})]
        if missing:
            raise UserError(
                f"there is no goal for seed {seed}, task {missing[0]} of {self.experiment.benchmark}; "
                f"run `cl-lsg targets {self.experiment.benchmark}`"
            )
        return {task: goals[seed][task] for task in self.tasks}

    def _unit(
        self,
        method: str,
        seed: int,
        tasks: tuple[int, ...],
        goals: dict[int, float] | None = None,
        start: Unit | None = None,
        sizes: Sizes | None = None,
    ) -> Unit:
        settings, sized_by = self.experiment.learn[method], METHODS[method].sized_by
        if sized_by and sizes:
            settings = replace(settings, sizes=sizes[sized_by, seed])
        return Unit(
            benchmark=self.experiment.benchmark,
            method=method,
            protocol=self.experiment.protocol,
            seed=seed,
            tasks=tasks,
            network=self.experiment.network,
            train=self.experiment.train,
            settings=settings,
            data=data_digest(self.manifest),
            code=method_digest(method, self.experiment.network["name"]),
            numerics=self.numerics,
            goals=goals or {},
            start=start,
            prepared=self.prepared,
            **self._at_most(method, tasks),
        )

    def _at_most(self, method: str, tasks: tuple[int, ...]) -> dict[str, Any]:
        """A unit's `task_steps` and `macs`."""
        kind, train, settings = METHODS[method], self.experiment.train, self.experiment.learn[method]
        widths = kind.most_widths(settings, self.architecture)
        entries = {entry["task"]: entry for entry in self.manifest["tasks"]}
        steps, macs = [], 0
        for task in tasks:
            images, classes = entries[task]["train"], len(entries[task]["classes"])
            epochs = kind.most_epochs(settings, train.epochs, task == tasks[0])
            steps.append(epochs * len(batch_sizes(images, train.batch_size)))
            macs += training_macs(self.architecture, widths, classes, epochs * images)
        return {"task_steps": tuple(steps), "macs": macs}

    @cached_property
    def architecture(self) -> Architecture:
        """The experiment's networks. Raises UserError where they do not take the benchmark's images."""
        try:
            return architecture_of(self.experiment.network, self.manifest["image_shape"])
        except ValueError as error:
            raise UserError(f"presets.{self.experiment.benchmark}.network: {error}") from error


def read_manifest(prepared: Path) -> dict[str, Any]:
    """What manifest.json says of a prepared benchmark. Raises UserError when it is missing or damaged.

    `settings` are those it was prepared by, None in a manifest of an older version.
    """
    path = prepared / MANIFEST
    try:
        manifest = json.loads(path.read_bytes())
        _require_tasks(manifest)
        return {name: manifest.get(name) for name in ("image_shape", "tasks", "settings")}
    except FileNotFoundError:
        raise UserError(f"{path} is not there; run `cl-lsg prepare {prepared.name}`") from None
    except (ValueError, KeyError, TypeError):
        raise UserError(f"{path} is damaged; run `cl-lsg prepare {prepared.name}` again") from None


def _require_tasks(manifest: Any) -> None:
    """Raises ValueError, KeyError or TypeError where a manifest does not describe images and tasks."""
    _channels, _height, _width = map(int, manifest["image_shape"])
    if not manifest["tasks"]:
        raise ValueError("no tasks")
    for entry in manifest["tasks"]:
        int(entry["task"]), int(entry["train"]), len(entry["classes"])
