"""Checks that settings classes share; each names the setting and what it may be."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any


def require(condition: bool, name: str, value: object, allowed: str) -> None:
    """Raise ValueError unless `condition` holds."""
    if not condition:
        raise ValueError(f"{name} is {value!r}; allowed: {allowed}")


def require_one_of(name: str, value: object, allowed: Collection[str]) -> None:
    """Raise ValueError unless `value` is one of the allowed words."""
    require(value in allowed, name, value, "one of " + ", ".join(allowed))


def require_own(settings: Any) -> None:
    """Raise ValueError where one of the fields `fixed` of the class has not the class's default."""
    for name in settings.fixed:
        own, value = getattr(type(settings), name), getattr(settings, name)
        require(value == own, name, value, f"{own!r}, which makes this method what it is")
