"""A tasks file: which classes make which task, as a JSON or YAML list of {name, classes}."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from pipeline.errors import UserError
from pipeline.yaml12 import load_names

SHAPE = "write a list of tasks, each {name: animals, classes: [cat, dog]}"


def read_tasks(path: Path) -> list[tuple[str, tuple[str, ...]]]:
    """Name and classes of each task, in the file's order. Raises UserError with the file and the remedy."""
    try:
        content = _content(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, yaml.YAMLError, RecursionError) as error:
        raise UserError(f"tasks file {path} cannot be read ({error}); {SHAPE}") from error
    if not isinstance(content, list) or not content:
        raise UserError(f"tasks file {path} is not a list of tasks; {SHAPE}")
    tasks = [_task(entry, number, path) for number, entry in enumerate(content, start=1)]
    names = [name for name, _ in tasks]
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"tasks file {path}: two tasks are called {name}; give each a name of its own")
    return tasks


def _content(text: str) -> Any:
    """JSON first: what reads YAML here refuses its tabs and takes its escaped characters apart."""
    try:
        return json.loads(text, parse_int=str, object_pairs_hook=_once)
    except json.JSONDecodeError:
        return load_names(text)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object; of two equal keys Python would take the last."""
    keys = [key for key, _ in pairs]
    for key in keys:
        if keys.count(key) > 1:
            raise yaml.YAMLError(f'found duplicate key "{key}"')
    return dict(pairs)


def _task(entry: object, number: int, path: Path) -> tuple[str, tuple[str, ...]]:
    if not isinstance(entry, dict) or set(entry) != {"name", "classes"}:
        raise UserError(f"tasks file {path}: task {number} does not have name and classes alone; {SHAPE}")
    classes = entry["classes"]
    if not isinstance(classes, list):
        raise UserError(f"tasks file {path}: the classes of task {number} are no list; {SHAPE}")
    if not all(isinstance(name, str) for name in [entry["name"], *classes]):
        raise UserError(f"tasks file {path}: task {number} has a name that is no text; quote it")
    if not entry["name"].strip() or not _is_utf8(entry["name"]):
        raise UserError(f"tasks file {path}: task {number} has a name that cannot be shown; give it letters")
    return entry["name"], tuple(classes)


def _is_utf8(name: str) -> bool:
    """Whether it can be written: JSON may hold halves of a character."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
