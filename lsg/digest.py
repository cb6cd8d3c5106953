"""SHA-256 digests of tensors, files and records: what certificates and cache keys are made of."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor


def of_tensor(tensor: Tensor) -> str:
    """Digest of a tensor's type, shape and bytes."""
    plain = tensor.detach().cpu().contiguous()
    digest = hashlib.sha256(f"{plain.dtype}{tuple(plain.shape)}".encode())
    digest.update(plain.numpy().data)
    return digest.hexdigest()


def of_tensors(tensors: Mapping[str, Tensor]) -> dict[str, str]:
    """Digest of each tensor, by name, in the order of the names."""
    return {name: of_tensor(tensors[name]) for name in sorted(tensors)}


def of_json(value: object) -> str:
    """Digest of a JSON value in canonical form (sorted keys, no spaces)."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def of_file(path: Path) -> str:
    """Digest of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def combined(tensors: Mapping[str, Tensor]) -> str:
    """One digest over a set of named tensors."""
    return of_json(of_tensors(tensors))
