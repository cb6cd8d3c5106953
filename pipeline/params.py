"""params.yaml as types. A key that nothing reads is an error that names it and what may stand there.

The settings of data, training and methods are dataclasses beside the code that uses them; their ranges are
declared there once.
"""

from __future__ import annotations

import inspect
import json
import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, field, fields
from functools import cache
from pathlib import Path
from typing import Any, Literal, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as checked_dataclass

from lsg.methods import METHODS
from lsg.networks import NETWORKS
from lsg.protocol import Protocol
from lsg.train_settings import TrainSettings
from pipeline.benchmarks.settings import DataSettings
from pipeline.errors import UserError
from pipeline.params_file import PARAMS_FILE, apply_override, read_values, shadowed

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


def load_params(path: Path = PARAMS_FILE, overrides: Iterable[str] = ()) -> Params:
    """Read and check the file, with `section.key=value` overrides on top.

    Raises UserError that lists every offending key with what may stand there.
    """
    values = read_values(path)
    paths = [apply_override(values, override) for override in overrides]
    problems = [*_infinite(values), *_shape_problems(values)]
    problems = problems or shadowed(values, paths) or _Check(catalogue(), values).problems()
    if problems:
        raise UserError(f"{path}: {'; '.join(dict.fromkeys(problems))}")
    return Params.model_validate_json(json.dumps(values))


def resolve(params: Params, benchmark: str) -> Experiment:
    """The experiment of one benchmark. Raises UserError when there is no such preset."""
    if benchmark not in params.presets:
        raise UserError(f"there is no benchmark {benchmark}; presets: {', '.join(sorted(params.presets))}")
    preset, known = params.presets[benchmark], catalogue()
    sections = _layered(params.learn, preset.learn, known)
    learn = {name: _make(known.methods[name], sections[name]) for name in params.learn}
    return Experiment(
        benchmark,
        params.methods,
        params.seeds,
        params.protocol,
        params.targets.rule,
        _make(known.data, preset.data),
        deepcopy(preset.network),
        _make(known.train, {**params.train, **preset.train}),
        learn,
    )


@dataclass
class _Check:
    """Collects what is wrong in values whose overall shape is right."""

    known: Catalogue
    values: Section
    found: list[str] = field(default_factory=list)

    def problems(self) -> list[str]:
        self._names("benchmarks", self.values["presets"], "presets")
        self._names("methods", self.values["learn"], "sections of learn", self.known.methods)
        self._sizes()
        self._numbers("seeds")
        train, learn = self.values["train"], self.values["learn"]
        # A preset is checked on top of the file's values; where those are wrong, on top of the defaults.
        train = train if self._settings("train", self.known.train, train) else {}
        learn = learn if self._learn("learn", learn, _inherited(learn, {}, self.known)) else {}
        for name, preset in self.values["presets"].items():
            where = f"presets.{name}"
            if not isinstance(name, str):
                self.found.append(f"{where}: a preset's name is text; quote it")
                continue
            if "/" in name or name in ("", ".", ".."):
                self.found.append(f"{where}: a preset's name is that of folders; write it without /")
            self._settings(f"{where}.data", self.known.data, preset["data"])
            self._network(f"{where}.network", preset["network"])
            self._settings(f"{where}.train", self.known.train, preset.get("train", {}), train)
            own = preset.get("learn", {})
            inherited = _inherited(learn, own, self.known)
            bases = {
                key: {**inherited[key], **learn.get(key, {})}
                for key in self.values["learn"]
                if key in inherited
            }
            self._learn(f"{where}.learn", own, bases)
        return self.found

    def _names(self, key: str, allowed: Mapping[str, Any], called: str, coded: Collection[str] = ()) -> None:
        """Names have to stand in a section of the file, also those that the code knows (`coded`)."""
        names = self.values[key]
        for name in names:
            if name not in allowed:
                hint = f"; it needs one too, if only `{name}: {{}}`" if name in coded else ""
                self.found.append(f"{key}: {name} is none of the {called} ({', '.join(allowed)}){hint}")
        self._once(key, names)

    def _sizes(self) -> None:
        methods = self.values["methods"]
        for method, other in self.known.sized_by.items():
            if method in methods and other not in methods:
                self.found.append(f"methods: {method} stays within the sizes of {other}; list {other} too")
            presets = {f"presets.{name}.": preset for name, preset in self.values["presets"].items()}
            for where, sections in {"": self.values, **presets}.items():
                if "sizes" in sections.get("learn", {}).get(method, {}):
                    key = f"{where}learn.{method}.sizes"
                    self.found.append(
                        f"{key}: they are those of {other}; leave them out, or give them to grow"
                    )

    def _numbers(self, key: str) -> None:
        for number in self.values[key]:
            if not 0 <= number < 2**31:
                self.found.append(f"{key}: {number} is not in 0 to 2^31 - 1")
        self._once(key, self.values[key])

    def _once(self, key: str, items: list[Any]) -> None:
        if not items:
            self.found.append(f"{key}: names nothing; name at least one")
        for item in sorted({item for item in items if items.count(item) > 1}):
            self.found.append(f"{key}: {item} stands there twice")

    def _learn(self, where: str, sections: Section, bases: Section) -> bool:
        """Sections of methods, each on top of the base of its name; only those names may stand here.

        One that extends a wrong one is checked on top of the defaults, so that the fault is told once.
        """
        before = len(self.found)
        wrong = set()
        for method in sorted(sections, key=lambda name: name in self.known.extends):
            own = sections[method]
            if method in bases and method in self.known.methods:
                base = {} if self.known.extends.get(method) in wrong else bases[method]
                if not self._settings(f"{where}.{method}", self.known.methods[method], own, base):
                    wrong.add(method)
            else:
                self.found.append(f"{where}.{method}: no such method; allowed: {', '.join(bases)}")
        return len(self.found) == before

    def _settings(self, where: str, settings: type, own: Section, base: Section | None = None) -> bool:
        problems = _problems(_adapter(settings), {**(base or {}), **own}, where, _field_names(settings))
        self.found.extend(problems)
        return not problems

    def _network(self, where: str, network: Section) -> None:
        name = str(network.get("name"))
        if name not in self.known.networks:
            self.found.append(f"{where}.name: {name} is none of {', '.join(self.known.networks)}")
            return
        make = self.known.networks[name]
        types, options = get_type_hints(make), list(inspect.signature(make).parameters)[1:]
        for key, value in network.items():
            if key == "name":
                continue
            if key not in options:
                self.found.append(f"{where}.{key}: unknown key; allowed: {', '.join(['name', *options])}")
            elif type(value) is int and value < 0:
                self.found.append(f"{where}.{key}: is {value}; allowed: a number from 0 on")
            else:
                adapter = TypeAdapter(types.get(key, Any), config=ConfigDict(strict=True))
                self.found += _problems(adapter, value, f"{where}.{key}", [])


def _layered(
    learn: Mapping[str, Section], preset: Mapping[str, Section], known: Catalogue
) -> dict[str, Section]:
    """Each method's coefficients: those it inherits, its own section, the preset's on top."""
    inherited = _inherited(learn, preset, known)
    return {name: {**inherited[name], **learn[name], **preset.get(name, {})} for name in learn}


def _inherited(
    learn: Mapping[str, Section], preset: Mapping[str, Section], known: Catalogue
) -> dict[str, Section]:
    """What each method takes over from the sections of the method that it extends; nothing for most.

    A key to which the method gives a default of its own, or that it fixes, is not taken over: that is what
    makes it another one.
    """
    inherited: dict[str, Section] = {name: {} for name in known.methods}
    for name, parent in known.extends.items():
        own, base = known.methods[name], known.methods[parent]
        sections = {**learn.get(parent, {}), **preset.get(parent, {})}
        fixed = getattr(own, "fixed", ())
        same = [
            key
            for key in sections
            if key not in fixed and getattr(own, key, None) == getattr(base, key, None)
        ]
        inherited[name] = {key: sections[key] for key in same}
    return inherited


def _shape_problems(values: Section) -> list[str]:
    return _problems(TypeAdapter(Params), values, "", list(Params.model_fields))


def _infinite(value: Any, where: str = "") -> Iterator[str]:
    """One sentence a number, at any depth, that is infinite or none; ranges let it through."""
    if isinstance(value, float) and not math.isfinite(value):
        yield f"{where}: is {value}; allowed: a finite number"
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from _infinite(inner, f"{where}.{key}" if where else str(key))
    elif isinstance(value, list):
        for inner in value:
            yield from _infinite(inner, where)


def _make(settings: type, values: Section) -> Any:
    checked = _adapter(settings).validate_json(json.dumps(values))
    return settings(**{each.name: getattr(checked, each.name) for each in fields(settings)})


@cache
def _adapter(settings: type) -> TypeAdapter[Any]:
    config = ConfigDict(extra="forbid", strict=True)
    return TypeAdapter(checked_dataclass(settings, config=config, frozen=True))


def _field_names(settings: type) -> list[str]:
    return [each.name for each in fields(settings)]


def _problems(adapter: TypeAdapter[Any], values: Section, where: str, allowed: list[str]) -> list[str]:
    """One sentence a wrong key. JSON mode takes lists for tuples and is strict about everything else."""
    try:
        text = json.dumps(values)
    except TypeError as error:
        return [f"{where or 'the file'}: {error}; quote the value"]
    try:
        adapter.validate_json(text)
    except ValidationError as errors:
        return [_sentence(error, where, allowed) for error in errors.errors()]
    return []


def _sentence(error: Any, where: str, allowed: list[str]) -> str:
    place = ".".join(str(part) for part in (where, *error["loc"]) if part != "")
    if error["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        inner = INNER.get(str(error["loc"][0])) if not where else None
        names = list(inner.model_fields) if inner and len(error["loc"]) > 1 else allowed
        known = f"allowed: {', '.join(names)}" if names else "there is nothing to set"
        return f"{place}: unknown key; {known}"
    if error["type"] in ("missing", "missing_argument"):
        return f"{place}: is missing"
    if error["type"] == "value_error":
        return f"{place}: {error['ctx']['error']}"
    return f"{place}: is {error['input']!r}; {error['msg'][0].lower()}{error['msg'][1:]}"
