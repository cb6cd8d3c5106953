"""What is wrong in params.yaml: one sentence a fault, with its key and what may stand there."""

from __future__ import annotations

import inspect
import json
import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, get_type_hints

from pydantic import ConfigDict, TypeAdapter, ValidationError

from lsg.train_settings import MOST
from pipeline.params.catalogue import Catalogue, adapter, catalogue, inherited
from pipeline.params.experiment import INNER, Params, Section

SEEDS = ("seed", "seeds")
"""How keys end that may be larger than `MOST`."""


def shape_faults(values: Section) -> list[str]:
    """Numbers that are no size of anything, and sections and values of another shape than the file's."""
    return [*_too_large(values), *_faults(TypeAdapter(Params), values, "", list(Params.model_fields))]


def faults(values: Section) -> list[str]:
    """What is wrong in values whose overall shape is right."""
    return _Check(catalogue(), values).faults()


@dataclass
class _Check:
    """Collects what is wrong in values whose overall shape is right."""

    known: Catalogue
    values: Section
    found: list[str] = field(default_factory=list)

    def faults(self) -> list[str]:
        self._names("benchmarks", self.values["presets"], "presets")
        self._names("methods", self.values["learn"], "sections of learn", self.known.methods)
        self._sizes()
        self._numbers("seeds")
        train, learn = self.values["train"], self.values["learn"]
        # A preset is checked on top of the file's values; where those are wrong, on top of the defaults.
        train = train if self._settings("train", self.known.train, train) else {}
        learn = learn if self._learn("learn", learn, inherited(learn, {}, self.known)) else {}
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
            taken = inherited(learn, own, self.known)
            bases = {
                key: {**taken[key], **learn.get(key, {})} for key in self.values["learn"] if key in taken
            }
            self._learn(f"{where}.learn", own, bases)
        return self.found

    def _names(self, key: str, allowed: Mapping[str, Any], called: str, coded: Collection[str] = ()) -> None:
        """Names have to stand in a section of the file, also those that the code knows (`coded`)."""
        names = self.values[key]
        for name in names:
            if name not in allowed:
                hint = f"; it needs one too, if only `{name}: {{}}`" if name in coded else ""
                self.found.append(
                    f"{key}: {name} is none of the {called} ({', '.join(map(str, allowed))}){hint}"
                )
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
                self.found.append(f"{where}.{method}: no such method; allowed: {', '.join(map(str, bases))}")
        return len(self.found) == before

    def _settings(self, where: str, settings: type, own: Section, base: Section | None = None) -> bool:
        wrong = _faults(adapter(settings), {**(base or {}), **own}, where, _field_names(settings))
        self.found.extend(wrong)
        return not wrong

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
                self.found += _faults(adapter, value, f"{where}.{key}", [])


def _too_large(value: Any, where: str = "") -> Iterator[str]:
    """One sentence a number, at any depth, that is infinite, none or a slip of the keyboard.

    Ranges let them through. Seeds have a range of their own.
    """
    if isinstance(value, dict):
        for key, inner in value.items():
            if not str(key).endswith(SEEDS):
                yield from _too_large(inner, f"{where}.{key}" if where else str(key))
    elif isinstance(value, list):
        for inner in value:
            yield from _too_large(inner, where)
    elif isinstance(value, float) and not math.isfinite(value):
        yield f"{where}: is {value}; allowed: a finite number"
    elif isinstance(value, int | float) and abs(value) > MOST:
        yield f"{where}: is {value}; allowed: up to {MOST}"


def _field_names(settings: type) -> list[str]:
    return [each.name for each in fields(settings)]


def _faults(adapter: TypeAdapter[Any], values: Section, where: str, allowed: list[str]) -> list[str]:
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
