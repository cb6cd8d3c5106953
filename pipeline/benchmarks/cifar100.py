"""CIFAR-100 (Krizhevsky 2009): 100 classes, 500 training and 100 test images each, 3x32x32.

From a folder tree `train/<class>/*.png`, `test/<class>/*.png`, from a tar file of it, or from torchvision's
download. The classes are in the order of the fine labels, which is alphabetical.
"""

from __future__ import annotations

from http.client import HTTPException
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.benchmarks.images import Images, Nominal
from pipeline.benchmarks.settings import DataSettings
from pipeline.benchmarks.superclasses import CLASS_NAMES, SUPERCLASSES
from pipeline.benchmarks.tree import check_counts, class_files, read_classes, tree_at
from pipeline.errors import UserError, first_line

TRAIN_PER_CLASS = 500
TEST_PER_CLASS = 100
SIDE = 32
NOMINAL = Nominal((3, SIDE, SIDE), len(CLASS_NAMES), TRAIN_PER_CLASS, own_test=True)
DOWNLOADS = Path("data/downloads")
TREE = (
    "data.folder: a tree train/<class>/*.png, test/<class>/*.png of the complete CIFAR-100, or its tar file"
)


def load(settings: DataSettings) -> Images:
    """All 60,000 images. Raises UserError when they are missing, incomplete or broken."""
    if settings.folder is None:
        return _download(DOWNLOADS)
    with tree_at(Path(settings.folder)) as root:
        train_images, train_labels = _read_split(root / "train", TRAIN_PER_CLASS)
        test_images, test_labels = _read_split(root / "test", TEST_PER_CLASS)
    return Images(train_images, train_labels, test_images, test_labels, CLASS_NAMES, SUPERCLASSES)


def _read_split(folder: Path, images: int) -> tuple[Tensor, Tensor]:
    if not folder.is_dir():
        raise UserError(f"{folder} is not there; set {TREE}, or null to download it")
    files = class_files([folder])
    unknown = sorted(set(files) - set(CLASS_NAMES))
    if unknown:
        raise UserError(f"{folder / unknown[0]} is no class of CIFAR-100; set {TREE}")
    check_counts(files, folder, len(CLASS_NAMES), images)
    pixels, labels = read_classes(files)
    if pixels.shape[1:] != (3, SIDE, SIDE):
        raise UserError(f"{folder} holds images of {tuple(pixels.shape[2:])} pixels, not 32x32; set {TREE}")
    return pixels, labels


def _download(folder: Path) -> Images:
    """CIFAR-100 from torchvision, which checks the archive's digest before it unpacks it."""
    try:
        from torchvision.datasets import CIFAR100
    except (ImportError, RuntimeError) as error:
        reason = f"torchvision is not usable ({first_line(error)})"
        raise UserError(f"{reason}; install cl-lsg[vision], or set {TREE}") from error
    try:
        train = CIFAR100(str(folder), train=True, download=True)
        test = CIFAR100(str(folder), train=False, download=True)
    except (OSError, RuntimeError, HTTPException) as error:
        reason = f"CIFAR-100 could not be downloaded into {folder} ({first_line(error)})"
        raise UserError(f"{reason}; try again with a network, or set {TREE}") from error
    if tuple(train.classes) != CLASS_NAMES:
        raise UserError(f"{folder} holds other classes than CIFAR-100's; remove it and run again")
    return Images(*_tensors(train), *_tensors(test), CLASS_NAMES, SUPERCLASSES)


def _tensors(dataset: object) -> tuple[Tensor, Tensor]:
    """uint8 [N, 3, 32, 32] and labels from torchvision's object, whose data is [N, 32, 32, 3]."""
    pixels: NDArray[np.uint8] = dataset.data  # type: ignore[attr-defined]
    labels: list[int] = dataset.targets  # type: ignore[attr-defined]
    images = torch.from_numpy(np.ascontiguousarray(pixels.transpose(0, 3, 1, 2)))
    return images, torch.tensor(labels, dtype=torch.int64)
