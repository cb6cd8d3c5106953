"""params.yaml as plain values: reading it the way DVC does (YAML 1.2), and changing keys for one run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
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
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 ({error.reason} at byte {error.start}); save it so") from error
    values = read_text(text, str(path))
    if not isinstance(values, dict):
        raise UserError(f"{path} holds no keys; see the file in the repository")
    return values


def apply_override(values: dict[str, Any], override: str) -> tuple[str, ...]:
    """Set `section.key=value` (the value is YAML) in `values`; returns the key's path.

    DVC wants a `+` before a key that its section does not have yet; here it may stand there.
    Raises UserError when it has no `=` or its section is not there.
    """
    path, equals, text = _parts(override)
    if not equals or not all(path):
        raise UserError(f"-S {override}: write section.key=value, for example -S train.epochs=3")
    section = values
    for depth, part in enumerate(path[:-1], start=1):
        inner = section.get(part)
        if not isinstance(inner, dict):
            raise UserError(f"-S {override}: {_no_section(section, path[:depth])}")
        section = inner
    section[path[-1]] = read_text(text, f"-S {override}")
    return path


def require_once(key: str, option: str, overrides: Iterable[str]) -> None:
    """Raise UserError where one of `overrides` sets what the option sets: one would be discarded."""
    for override in overrides:
        if ".".join(_parts(override)[0]) == key:
            raise UserError(f"{option} and -S {override} both set {key}; give one of them")


def list_override(key: str, values: Iterable[object], option: str, overrides: Iterable[str]) -> str:
    """The override that stands for an option with the values of a list.

    Raises UserError where one of `overrides` sets the same list.
    """
    require_once(key, option, overrides)
    return f"{key}=[{','.join(map(str, values))}]"


def shadowed(values: dict[str, Any], paths: Iterable[tuple[str, ...]]) -> list[str]:
    """Overrides that a preset of this run wins over, so that they would silently do nothing.

    A section that is set as a whole counts by its keys.
    """
    found = []
    for path in (inner for each in paths if each[0] in ("train", "learn") for inner in _keys(values, each)):
        for benchmark in values.get("benchmarks") or []:
            if _value(values, ("presets", benchmark, *path)) is not _MISSING:
                key = ".".join(path)
                found.append(f"{key}: preset {benchmark} sets it too; change presets.{benchmark}.{key}")
    return found


def read_text(text: str, where: str) -> Any:
    """A value written as YAML. Raises UserError, which says `where` it stands, when it is none."""
    try:
        return yaml12.load(text)
    except RecursionError:
        raise UserError(f"{where}: brackets within brackets, too deep to read; mend it") from None
    except yaml.MarkedYAMLError as error:
        line = f" (line {error.problem_mark.line + 1})" if error.problem_mark else ""
        raise UserError(f"{where}{line}: {error.problem}; mend it") from None
    except (yaml.YAMLError, ValueError) as error:  # or a number that Python cannot read
        raise UserError(f"{where}: {' '.join(str(error).split())}; mend it") from None


def _parts(override: str) -> tuple[tuple[str, ...], str, str]:
    """An override's path, its `=` and its text."""
    name, equals, text = override.partition("=")
    return tuple(name.strip().removeprefix("+").split(".")), equals, text


def _no_section(section: dict[str, Any], path: tuple[str, ...]) -> str:
    """Why there is no section at `path`, whose last part would stand in `section`, and what to write."""
    key = ".".join(path)
    if path[-1] in section:
        return f"{key} is a value and has no keys; write -S {key}=value"
    known = [name for name, value in section.items() if isinstance(value, dict)]
    listed = f"sections: {', '.join(known)}" if known else f"{'.'.join(path[:-1])} has no sections"
    return f"there is no section {key}; {listed}"


_MISSING = object()


def _value(values: dict[str, Any], path: tuple[str, ...]) -> Any:
    """What stands at `path`, `_MISSING` where nothing does."""
    section: Any = values
    for part in path:
        if not isinstance(section, dict) or part not in section:
            return _MISSING
        section = section[part]
    return section


def _keys(values: dict[str, Any], path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """`path` itself, or those of all keys in the section that stands there."""
    value = _value(values, path)
    if not isinstance(value, dict):
        yield path
        return
    for key in value:
        yield from _keys(values, (*path, str(key)))
