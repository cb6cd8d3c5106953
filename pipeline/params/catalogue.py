"""What the code offers to params.yaml, and which coefficients a method takes over from another one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from pydantic import ConfigDict, TypeAdapter
from pydantic.dataclasses import dataclass as checked_dataclass

from lsg.methods import METHODS
from lsg.networks import NETWORKS
from lsg.train_settings import TrainSettings
from pipeline.benchmarks.settings import DataSettings
from pipeline.params.experiment import Section


@dataclass(frozen=True)
class Catalogue:
    """What the code offers: settings types, and networks (callables of an image shape and options)."""

    data: type
    train: type
    methods: Mapping[str, type]
    extends: Mapping[str, str]
    sized_by: Mapping[str, str]
    networks: Mapping[str, Callable[..., Any]]


@cache
def catalogue() -> Catalogue:
    """The library's and the benchmarks' settings."""
    methods = {name: method.Settings for name, method in METHODS.items()}
    extends = {name: method.extends for name, method in METHODS.items() if method.extends}
    sized_by = {name: method.sized_by for name, method in METHODS.items() if method.sized_by}
    return Catalogue(DataSettings, TrainSettings, methods, extends, sized_by, NETWORKS)


def inherited(
    learn: Mapping[str, Section], preset: Mapping[str, Section], known: Catalogue
) -> dict[str, Section]:
    """What each method takes over from the sections of the method that it extends; nothing for most.

    A key to which the method gives a default of its own, or that it fixes, is not taken over: that is what
    makes it another one.
    """
    taken: dict[str, Section] = {name: {} for name in known.methods}
    for name, parent in known.extends.items():
        own, base = known.methods[name], known.methods[parent]
        sections = {**learn.get(parent, {}), **preset.get(parent, {})}
        fixed = getattr(own, "fixed", ())
        same = [
            key
            for key in sections
            if key not in fixed and getattr(own, key, None) == getattr(base, key, None)
        ]
        taken[name] = {key: sections[key] for key in same}
    return taken


@cache
def adapter(settings: type) -> TypeAdapter[Any]:
    """Reads a settings class from JSON, strictly."""
    config = ConfigDict(extra="forbid", strict=True)
    return TypeAdapter(checked_dataclass(settings, config=config, frozen=True))
