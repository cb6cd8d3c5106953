"""Writing files so that a reader finds the old content or the new one, never a part of either."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor


class DamagedFileError(RuntimeError):
    """A file of a run cannot be read as what it should be; the message names it and the remedy."""

    def __init__(self, path: Path, reason: object) -> None:
        super().__init__(f"{path} is damaged ({reason}); delete its directory to compute it again")


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file atomically and durably: a temporary sibling, fsync, rename, fsync of the folder.

    Raises OSError that names the file; up to the rename it is then what it was before.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        with suppress(OSError):  # on a read-only disk even this fails, and would hide what went wrong
            temporary.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable: a file that is synced may still be lost by its name."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_json(path: Path, value: object) -> None:
    """Write a JSON value atomically, keys sorted, so that equal values are equal bytes."""
    text = json.dumps(value, indent=1, sort_keys=True, allow_nan=False)
    write_bytes(path, (text + "\n").encode())


def read_json(path: Path) -> dict[str, object]:
    """Read a JSON object. Raises FileNotFoundError, or DamagedFileError where it is no such thing."""
    try:
        value = json.loads(path.read_text())
    except ValueError as error:
        raise DamagedFileError(path, error) from error
    if not isinstance(value, dict):
        raise DamagedFileError(path, "not a JSON object")
    return value


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write tensors atomically as safetensors; equal tensors are equal bytes."""
    write_bytes(path, save({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}))


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read a safetensors file. Raises FileNotFoundError, or DamagedFileError where it is none."""
    if not path.exists():
        raise FileNotFoundError(path)
    try:
        return load_file(path)
    except (SafetensorError, ValueError) as error:
        raise DamagedFileError(path, error) from error
