"""A person's own images: `train/<class>/*`, perhaps `test/<class>/*`, or just `<class>/*`; or a tar of it."""

from __future__ import annotations

from pathlib import Path

from pipeline.benchmarks.images import Images
from pipeline.benchmarks.settings import DataSettings
from pipeline.benchmarks.tree import class_files, is_grey, read_classes, subfolders, tree_at
from pipeline.errors import UserError


def load(settings: DataSettings) -> Images:
    """All images, classes by folder name: one channel if all are grey, else three.

    Raises UserError for a missing folder, a class without images, unequal sizes without data.image_size, a
    test folder with other classes than the train folder, and folders beside both, which would not be read.
    """
    with tree_at(Path(settings.folder or "")) as root:
        return _load(root, settings)


def _load(root: Path, settings: DataSettings) -> Images:
    if not root.is_dir():
        raise UserError(f"{root} is not there; set data.folder to a tree train/<class>/*, test/<class>/*")
    if (root / "train").is_dir():
        _require_no_other(root)
    elif [path.name for path in subfolders(root)] == ["test"]:
        raise UserError(f"{root} holds test and no train; put the images to learn from into train/<class>/*")
    train = class_files([root / "train" if (root / "train").is_dir() else root])
    if not train:
        raise UserError(f"{root} holds no class folders; it needs train/<class>/* or <class>/*")
    test = class_files([root / "test"]) if _has_test(root) else None
    if test is not None and set(test) != set(train):
        name = min(set(test) ^ set(train))
        raise UserError(f"class {name} is not in both {root / 'train'} and {root / 'test'}; mend the tree")
    return _read(train, test, settings.image_size)


def _require_no_other(root: Path) -> None:
    others = [path.name for path in subfolders(root) if path.name not in ("train", "test")]
    if others:
        raise UserError(
            f"{root} holds {others[0]} beside train, which would not be read; move its images into train "
            "(data.validation makes the split), or the folder elsewhere"
        )


def _has_test(root: Path) -> bool:
    return (root / "train").is_dir() and (root / "test").is_dir()


def _read(train: dict[str, list[Path]], test: dict[str, list[Path]] | None, size: int | None) -> Images:
    paths = [path for files in (train, test or {}) for group in files.values() for path in group]
    grey = is_grey(paths)
    train_images, train_labels = read_classes(train, grey, size)
    test_images, test_labels = read_classes(test, grey, size) if test is not None else (None, None)
    if test_images is not None and test_images.shape[1:] != train_images.shape[1:]:
        raise UserError("train and test images differ in size; set data.image_size")
    resized = None if size is None else f"short side to {size} (bilinear), centre cut out"
    names = tuple(train)
    return Images(train_images, train_labels, test_images, test_labels, names, resized=resized)
