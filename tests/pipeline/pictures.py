"""Pictures with known pixels, for tests that read image files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[np.uint8]


def write_png(path: Path, pixels: Pixels) -> None:
    """Pixels [H, W] or [H, W, 3] as a PNG file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def record(number: int) -> Pixels:
    """A CIFAR record of 3,072 bytes: 1,024 of red, then green, then blue, rows within."""
    return np.random.RandomState(number).randint(0, 256, 3072, dtype=np.uint8)


def picture(pixels: Pixels) -> Pixels:
    """A record as rows of pixels [32, 32, 3], byte by byte, so that no reshape can be wrong here."""
    rows = [[[pixels[1024 * c + 32 * y + x] for c in range(3)] for x in range(32)] for y in range(32)]
    return np.array(rows, dtype=np.uint8)
