"""Handwritten digits (UCI Optical Recognition, 1,797 images 1x8x8) as scikit-learn ships them."""

from __future__ import annotations

import torch

from pipeline.benchmarks.images import Images, Nominal
from pipeline.benchmarks.settings import DataSettings
from pipeline.errors import UserError

NOMINAL = Nominal((1, 8, 8), classes=10, images=180, own_test=False)


def load(settings: DataSettings) -> Images:
    """All digits, grey values 0..16 brought to 0..255; no test split. The settings change nothing here.

    Raises UserError without scikit-learn.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise UserError(
            f"digits come with scikit-learn, which is not installed ({error}); install cl-lsg[pipeline], or "
            "take a benchmark of your own images"
        ) from None
    digits = load_digits()
    values = torch.from_numpy(digits.images).mul(255 / 16).round().to(torch.uint8)
    return Images(
        train_images=values.unsqueeze(1),
        train_labels=torch.from_numpy(digits.target).to(torch.int64),
        test_images=None,
        test_labels=None,
        class_names=tuple(str(name) for name in digits.target_names),
    )
