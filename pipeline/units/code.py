"""A digest of the code that decides a unit's result, so that changed code is never served old results.

It covers what a method imports inside `lsg/`, found by reading the files, not by running them. Comments,
docstrings and formatting do not count. A registry (a package that lists all methods or networks) is not
followed, so a new method leaves the others' results valid.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

from lsg.methods import METHODS
from lsg.networks import NETWORKS

PACKAGE = "lsg"
REGISTRIES = frozenset({"lsg.methods", "lsg.networks"})


def code_digest(roots: Iterable[str]) -> str:
    """Sha256 over the import closure of the modules `roots`, for example lsg.sequence."""
    digest = hashlib.sha256()
    for name, path in sorted(closure(roots, package_folder()).items()):
        digest.update(f"{name} {_file_digest(path, path.stat().st_mtime_ns)}\n".encode())
    return digest.hexdigest()


def package_folder() -> Path:
    """The folder of the library's source files."""
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"the package {PACKAGE} is not installed and not in this folder")
    return Path(spec.origin).parent


def closure(roots: Iterable[str], folder: Path) -> dict[str, Path]:
    """Files by module name: the roots and all they import, directly or not, in the package at `folder`."""
    found: dict[str, Path] = {}
    waiting = list(roots)
    while waiting:
        name = waiting.pop()
        path = _file_of(name, folder)
        if path is None or name in found or name in REGISTRIES:
            continue
        found[name] = path
        waiting += imports(path.read_text(encoding="utf-8"), name, is_package=path.name == "__init__.py")
    return found


def imports(source: str, module: str, is_package: bool = False) -> Iterator[str]:
    """Names that `source` may import from the package; each may be a module or something inside one."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if _inside(alias.name))
        elif isinstance(node, ast.ImportFrom):
            origin = _origin(node, module, is_package)
            if _inside(origin):
                yield origin
                yield from (f"{origin}.{alias.name}" for alias in node.names)


def normal_form(source: str) -> str:
    """The source's syntax tree as text, without docstrings, those below constants and fields included."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            body[:] = [statement for statement in body if not _is_text(statement)]
    return ast.dump(tree)


@cache
def _file_digest(path: Path, _changed: int) -> str:
    return hashlib.sha256(normal_form(path.read_text(encoding="utf-8")).encode()).hexdigest()


def _origin(node: ast.ImportFrom, module: str, is_package: bool) -> str:
    if not node.level:
        return node.module or ""
    parts = module.split(".")
    parents = parts[: len(parts) - node.level + (1 if is_package else 0)]
    return ".".join([*parents, *([node.module] if node.module else [])])


def _inside(name: str) -> bool:
    return name == PACKAGE or name.startswith(f"{PACKAGE}.")


def _file_of(name: str, folder: Path) -> Path | None:
    place = folder.joinpath(*name.split(".")[1:])
    candidates = (place / "__init__.py", place.with_suffix(".py"))
    return next((path for path in candidates if path.is_file()), None)


def _is_text(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


@cache
def method_digest(method: str, network: str) -> str:
    """Digest of the code that a unit of this method on this network runs, read once as the code itself is."""
    return code_digest(["lsg.sequence", METHODS[method].__module__, NETWORKS[network].__module__])
