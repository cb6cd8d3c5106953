"""MiniImageNet: 100 classes of ImageNet, 600 images each, brought to 84x84 (Vinyals et al. 2016).

It cannot be downloaded automatically. Read from a folder or a tar file of it: `<class>/*`, or
`train|val|test/<class>/*`, whose parts are merged: that cut holds classes apart, whereas here each task tests
its own classes.
"""

from __future__ import annotations

from pathlib import Path

from pipeline.benchmarks.images import Images, Nominal
from pipeline.benchmarks.settings import DataSettings
from pipeline.benchmarks.tree import PARTS, check_counts, class_files, read_classes, subfolders, tree_at
from pipeline.errors import UserError

CLASSES = 100
IMAGES_PER_CLASS = 600
SIDE = 84
NOMINAL = Nominal((3, SIDE, SIDE), CLASSES, IMAGES_PER_CLASS, own_test=False)
REMEDY = (
    "MiniImageNet is not downloaded automatically: put its 100 class folders of 600 images there as "
    "<class>/*.jpg or train|val|test/<class>/*.jpg, or set data.folder to where they are"
)


def load(settings: DataSettings) -> Images:
    """All 60,000 images, classes by folder name; no test split. Raises UserError when some are missing."""
    with tree_at(Path(settings.folder or "")) as root:
        return _read(root, settings)


def _read(root: Path, settings: DataSettings) -> Images:
    if not root.is_dir():
        raise UserError(f"{root} is not there; {REMEDY}")
    folders = subfolders(root)
    if not folders:
        raise UserError(f"{root} is empty; {REMEDY}")
    merged = PARTS.issuperset(folder.name for folder in folders)
    files = class_files(folders if merged else [root])
    check_counts(files, root, CLASSES, IMAGES_PER_CLASS)
    size = settings.image_size or SIDE
    images, labels = read_classes(files, size=size)
    resized = f"short side to {size} (bilinear), centre cut out"
    return Images(images, labels, None, None, tuple(files), resized=resized)
