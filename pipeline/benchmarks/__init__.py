"""The data sources: each is a module here with a function `load(settings) -> Images`, and one line below.

A module is imported when its source is read: one may need a package that another machine does without.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from pipeline.benchmarks.images import Images, Nominal
    from pipeline.benchmarks.settings import DataSettings


@dataclass(frozen=True)
class Source:
    """A source's module and which of the settings it reads."""

    module: str
    folder: Literal["unused", "optional", "required"] = "unused"
    resizes: bool = False


SOURCES: dict[str, Source] = {
    "digits": Source("pipeline.benchmarks.digits"),
    "cifar100": Source("pipeline.benchmarks.cifar100", folder="optional"),
    "miniimagenet": Source("pipeline.benchmarks.miniimagenet", folder="required", resizes=True),
    "folder": Source("pipeline.benchmarks.folder", folder="required", resizes=True),
}


def load_images(settings: DataSettings) -> Images:
    """All images of the source that the settings name. Raises UserError when they are not there or broken."""
    load: Callable[[DataSettings], Images] = import_module(SOURCES[settings.source].module).load
    return load(settings)


def nominal_size(source: str) -> Nominal | None:
    """The `NOMINAL` of the source's module; None of a source whose size is not known before it is read."""
    return getattr(import_module(SOURCES[source].module), "NOMINAL", None)
