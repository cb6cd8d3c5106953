"""params.yaml as plain values: reading it the way DVC does (YAML 1.2), and changing keys for one run."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from pipeline import yaml12
from pipeline.errors import UserError

PARAMS_FILE = Path("params.yaml")


def read_values(path: Path) -> dict[str, Any]:
    """The file's mapping. Raises UserError when it is missing, is not YAML or names a key twice."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UserError(f"{path} is not there; run this in the project's folder") from None
    values = read_text(text, str(path))
    if not isinstance(values, dict):
        raise UserError(f"{path} holds no keys; see the file in the repository")
    return values


def apply_override(values: dict[str, Any], override: str) -> tuple[str, ...]:
    """Set `section.key=value` (the value is YAML) in `values`; returns the key's path.

    DVC wants a `+` before a key that its section does not have yet; here it may stand there.
    Raises UserError when it has no `=` or its section is not there.
    """
    name, equals, text = override.partition("=")
    path = tuple(name.strip().removeprefix("+").split("."))
    if not equals or not all(path):
        raise UserError(f"-S {override}: write section.key=value, for example -S train.epochs=3")
    section = values
    for depth, part in enumerate(path[:-1], start=1):
        inner = section.get(part)
        if not isinstance(inner, dict):
            known = ", ".join(key for key, value in section.items() if isinstance(value, dict))
            raise UserError(f"-S {override}: there is no section {'.'.join(path[:depth])}; sections: {known}")
        section = inner
    section[path[-1]] = read_text(text, f"-S {override}")
    return path


def shadowed(values: dict[str, Any], paths: Iterable[tuple[str, ...]]) -> list[str]:
    """Overrides that a preset of this run wins over, so that they would silently do nothing."""
    found = []
    for path in paths:
        for benchmark in values.get("benchmarks") or []:
            if path[0] in ("train", "learn") and _holds(values, ("presets", benchmark, *path)):
                key = ".".join(path)
                found.append(f"{key}: preset {benchmark} sets it too; change presets.{benchmark}.{key}")
    return found


def read_text(text: str, where: str) -> Any:
    """A value written as YAML. Raises UserError, which says `where` it stands, when it is none."""
    try:
        return yaml12.load(text)
    except yaml.MarkedYAMLError as error:
        line = f" (line {error.problem_mark.line + 1})" if error.problem_mark else ""
        raise UserError(f"{where}{line}: {error.problem}; mend it") from None
    except yaml.YAMLError as error:
        raise UserError(f"{where}: {' '.join(str(error).split())}; mend it") from None


def _holds(values: dict[str, Any], path: tuple[str, ...]) -> bool:
    section: Any = values
    for part in path:
        if not isinstance(section, dict) or part not in section:
            return False
        section = section[part]
    return True
