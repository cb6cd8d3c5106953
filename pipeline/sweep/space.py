"""What a sweep varies: `--param KEY=KIND:VALUES`, checked against params.yaml before anything runs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

from pipeline.errors import UserError
from pipeline.params_file import read_text

EXAMPLE = "--param learn.cl-lsg.penalty=loguniform:1e-5,1e-3"
LISTS, RANGES = ("grid", "choice"), ("uniform", "loguniform")
FIXED = ("benchmarks", "methods", "protocol", "seeds")
"""Keys that one sweep has one value of. Seeds would be chosen by their luck, and a protocol that decides on
test images would let a sweep see them."""
DIGITS = 3
"""Significant digits of a number drawn from a range: what is printed is exactly what was learned with."""

Values = Mapping[str, Any]
"""A trial's values by the key of params.yaml."""


@dataclass(frozen=True)
class Domain:
    """One key of params.yaml and what it may be.

    kind    grid (every value), choice (drawn from the values), uniform or loguniform (drawn between two)
    values  the values, or the lower and the upper end
    """

    key: str
    kind: str
    values: tuple[Any, ...]

    @property
    def text(self) -> str:
        """The domain as a person writes it: loguniform:1e-05,0.001."""
        return f"{self.kind}:{','.join(map(as_text, self.values))}"

    def drawn(self) -> Any:
        """The domain as Ray Tune takes it."""
        from ray import tune

        if self.kind == "grid":
            return tune.grid_search(list(self.values))
        if self.kind == "choice":
            return tune.choice(list(self.values))
        return {"uniform": tune.uniform, "loguniform": tune.loguniform}[self.kind](*self.values)

    def value(self, drawn: Any) -> Any:
        """The value to learn with: numbers drawn from a range are rounded, not beyond its ends."""
        if self.kind not in RANGES:
            return drawn
        low, high = self.values
        return float(min(max(float(f"{drawn:.{DIGITS}g}"), low), high))


def parse_domains(texts: Sequence[str], search: str) -> tuple[Domain, ...]:
    """The domains of `--param` options. Raises UserError for a wrong one, a key that stands there twice,
    or a grid that the search cannot walk.
    """
    if not texts:
        raise UserError(f"a sweep varies at least one value, for example {EXAMPLE}")
    domains = tuple(map(_parse, texts))
    for domain in domains:
        if domain.key in FIXED:
            raise UserError(f"--param {domain.key}: a sweep has one of these; give it for the whole sweep")
        if domain.key.split(".")[2:3] == ["network"]:
            raise UserError(f"--param {domain.key}: sizes are multiples of the network, so a sweep has one")
        if [other.key for other in domains].count(domain.key) > 1:
            raise UserError(f"--param {domain.key} stands there twice; name each key once")
        if domain.kind == "grid" and search != "random":
            raise UserError(
                f"--param {domain.key}: --search {search} draws its trials and walks no grid; write choice"
            )
    return domains


def overrides(values: Values) -> list[str]:
    """The values as `-S` options have them."""
    return [f"{key}={json.dumps(value)}" for key, value in values.items()]


def nested(values: Values) -> dict[str, Any]:
    """The values as the sections of params.yaml."""
    tree: dict[str, Any] = {}
    for key, value in values.items():
        *sections, name = key.split(".")
        inner = tree
        for section in sections:
            inner = inner.setdefault(section, {})
        inner[name] = value
    return tree


def short_names(keys: Iterable[str]) -> dict[str, str]:
    """Each key's last part, with as many of those before it as tell it from the others."""
    names, keys = {}, list(keys)
    for key in keys:
        parts = key.split(".")
        tails = (".".join(parts[-length:]) for length in range(1, len(parts) + 1))
        names[key] = next(t for t in tails if not any(_ends(other, t) for other in keys if other != key))
    return names


def as_text(value: Any) -> str:
    """A value as names and tables show it."""
    return value if isinstance(value, str) else json.dumps(value)


def _ends(key: str, tail: str) -> bool:
    return key == tail or key.endswith(f".{tail}")


def _parse(text: str) -> Domain:
    key, equals, domain = text.partition("=")
    kind, colon, listed = domain.partition(":")
    key = key.strip().removeprefix("+")
    if not (key and equals and colon) or kind not in (*LISTS, *RANGES):
        raise UserError(
            f"--param {text}: write KEY=KIND:VALUES with KIND one of {', '.join((*LISTS, *RANGES))}, "
            f"for example {EXAMPLE}"
        )
    values = tuple(read_text(f"[{listed}]", f"--param {text}"))
    if not values:
        raise UserError(f"--param {text}: names no value; write some, for example {EXAMPLE}")
    if kind in RANGES:
        _check_range(text, kind, values)
    told = [(isinstance(value, bool), value) for value in values]  # Python takes `true` for 1
    for each in told:
        if told.count(each) > 1:
            raise UserError(f"--param {text}: names {as_text(each[1])} twice; name each value once")
    return Domain(key, kind, values)


def _check_range(text: str, kind: str, ends: tuple[Any, ...]) -> None:
    numbers = all(
        isinstance(end, int | float) and not isinstance(end, bool) and isfinite(end) for end in ends
    )
    least = 0 if kind == "loguniform" else float("-inf")
    if len(ends) != 2 or not numbers or not least < ends[0] < ends[1]:
        above = " above 0" if kind == "loguniform" else ""
        raise UserError(f"--param {text}: {kind} takes two numbers{above}, the lower one first")
