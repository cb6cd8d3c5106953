"""The types of params.yaml, and of what it asks for on one benchmark."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from lsg.protocol import Protocol
from pipeline.benchmarks.settings import DataSettings

Rule = Literal["scratch", "best_of"]
Section = dict[str, Any]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Targets(_Strict):
    """How a task's goal follows from the baselines."""

    rule: Rule


class Preset(_Strict):
    """A benchmark: its data and network, and what it changes in `train` and `learn`."""

    data: Section
    network: Section
    train: Section = Field(default_factory=dict)
    learn: dict[str, Section] = Field(default_factory=dict)


class Params(_Strict):
    """The whole file, every key checked. Make it with `load_params`."""

    benchmarks: tuple[str, ...]
    methods: tuple[str, ...]
    seeds: tuple[int, ...]
    protocol: Protocol
    train: Section
    targets: Targets
    learn: dict[str, Section]
    presets: dict[str, Preset]


INNER: dict[str, type[BaseModel]] = {"targets": Targets, "presets": Preset}
"""Sections of the file that have keys of their own."""


@dataclass(frozen=True)
class Experiment:
    """What one benchmark runs: the file's values with the preset's on top, as the library's types."""

    benchmark: str
    methods: tuple[str, ...]
    seeds: tuple[int, ...]
    protocol: Protocol
    rule: Rule
    data: DataSettings
    network: Section
    train: Any
    learn: Mapping[str, Any]
