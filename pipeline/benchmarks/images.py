"""What every source returns, and what it may say of its size before it is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Images:
    """Images of one source, on the CPU.

    Images are uint8 [N, C, H, W], labels int64 [N], indices into class_names. The test pair is None where
    the source has no test split. superclasses groups class names, where the source knows such groups.
    resized says in words how images were brought to one size, or is None if they were not touched.
    """

    train_images: Tensor
    train_labels: Tensor
    test_images: Tensor | None
    test_labels: Tensor | None
    class_names: tuple[str, ...]
    superclasses: Mapping[str, tuple[str, ...]] | None = None
    resized: str | None = None

    def __post_init__(self) -> None:
        _check_pair(self.train_images, self.train_labels, len(self.class_names))
        if self.test_images is None or self.test_labels is None:
            if self.test_images is not self.test_labels:
                raise ValueError("test_images and test_labels go together")
            return
        _check_pair(self.test_images, self.test_labels, len(self.class_names))
        if self.test_images.shape[1:] != self.train_images.shape[1:]:
            raise ValueError("train_images and test_images differ in shape")


@dataclass(frozen=True)
class Nominal:
    """A source's size, for `cl-lsg plan`. `images`: of each class; `own_test`: test images come on top."""

    image_shape: tuple[int, int, int]
    classes: int
    images: int
    own_test: bool


def _check_pair(images: Tensor, labels: Tensor, classes: int) -> None:
    if images.ndim != 4 or images.dtype != torch.uint8:
        raise ValueError(f"images are {images.dtype} {tuple(images.shape)}, not uint8 [N, C, H, W]")
    if labels.shape != images.shape[:1] or labels.dtype != torch.int64:
        raise ValueError(f"labels are {labels.dtype} {tuple(labels.shape)} for {len(images)} images")
    if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < classes:
        raise ValueError(f"labels are not all in 0..{classes - 1}")
