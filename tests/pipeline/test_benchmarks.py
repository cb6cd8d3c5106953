"""Every source gives the right pixels under the right labels, and says in one sentence what is wrong."""

from __future__ import annotations

import hashlib
import os
import pickle
import sys
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.benchmarks import SOURCES, cifar100, load_images
from pipeline.benchmarks.settings import DataSettings
from pipeline.benchmarks.superclasses import CLASS_NAMES, SUPERCLASSES
from pipeline.errors import UserError
from tests.pipeline.pictures import picture, record, write_png

# --- settings ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"source": "mnist"}, f"source is 'mnist'; allowed: one of {', '.join(SOURCES)}"),
        ({"order": "random"}, "order is 'random'; allowed: one of given, superclass, seeded"),
        ({"validation": 1.0}, "validation is 1.0"),
        ({"validation": float("nan")}, "validation is nan"),
        ({"test": 1.5}, "test is 1.5"),
        ({"split_seed": -1}, "split_seed is -1"),
        ({"folder": "somewhere"}, "folder is 'somewhere'; allowed: null: digits reads no folder"),
        ({"source": "folder"}, "folder is None"),
        ({"image_size": 32}, "image_size is 32; allowed: null"),
        ({"source": "folder", "folder": "x", "image_size": 4}, "image_size is 4; allowed: 8 to 1024"),
        ({"classes_per_task": None}, "classes_per_task is None"),
        ({"classes_per_task": 1}, "classes_per_task is 1"),
        ({"tasks": "tasks.json"}, "classes_per_task is 2; allowed: null"),
        ({"tasks": "t", "classes_per_task": None, "order": "superclass"}, "order is 'superclass'"),
        ({"order": "seeded"}, "order_seed is None"),
        ({"order_seed": 3}, "order_seed is 3; allowed: null unless order is seeded"),
        ({"task_order": (1, 2, 2)}, r"task_order is \(1, 2, 2\); allowed: each task's number, from 1, once"),
        ({"task_order": (0, 1)}, r"task_order is \(0, 1\)"),
        ({"task_order": "B"}, "task_order is 'B'; allowed: a list of task numbers: only cifar100 by label"),
        ({"source": "cifar100", "task_order": "F"}, "task_order is 'F'; allowed: A to E, or a list"),
        (
            {"tasks": "t", "classes_per_task": None, "task_order": (1,)},
            "task_order is .* the tasks file orders",
        ),
    ],
)
def test_settings_out_of_range_are_named(changes: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        replace(DataSettings("digits", classes_per_task=2), **changes)  # type: ignore[arg-type]


# --- digits -----------------------------------------------------------------------------------------------


def test_digits_are_the_1797_real_ones() -> None:
    images = load_images(DataSettings("digits", classes_per_task=2, test=0.25))
    assert images.train_images.shape == (1797, 1, 8, 8)
    assert images.class_names == tuple("0123456789")
    assert torch.bincount(images.train_labels).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    # The first image is a 0; its second row in scikit-learn's grey levels is 0 0 13 15 10 15 5 0.
    assert images.train_images[0, 0, 1].tolist() == [0, 0, 207, 239, 159, 239, 80, 0]
    assert int(images.train_images.max()) == 255
    assert images.test_images is None


# --- CIFAR-100 --------------------------------------------------------------------------------------------


def test_superclasses_are_20_groups_of_5_of_the_100_classes() -> None:
    assert [len(names) for names in SUPERCLASSES.values()] == [5] * 20
    assert list(SUPERCLASSES) == sorted(SUPERCLASSES), "coarse labels are alphabetical"
    assert all(list(names) == sorted(names) for names in SUPERCLASSES.values())
    assert len(set(CLASS_NAMES)) == 100
    assert CLASS_NAMES[0] == "apple"
    assert CLASS_NAMES[99] == "worm"


@pytest.fixture
def cifar_tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A complete tree of CIFAR-100's classes with two training images and one test image each."""
    monkeypatch.setattr(cifar100, "TRAIN_PER_CLASS", 2)
    monkeypatch.setattr(cifar100, "TEST_PER_CLASS", 1)
    blank = np.zeros((32, 32, 3), dtype=np.uint8)
    for name in CLASS_NAMES:
        for path in ("train/{}/b.png", "train/{}/a.png", "test/{}/a.png"):
            write_png(tmp_path / path.format(name), blank)
    return tmp_path


def cifar_settings(root: Path | None) -> DataSettings:
    return DataSettings("cifar100", folder=str(root) if root else None, classes_per_task=10)


def test_cifar_tree_keeps_every_pixel_in_its_place(cifar_tree: Path) -> None:
    bytes_of_seal = record(1)
    write_png(cifar_tree / "train/seal/b.png", picture(bytes_of_seal))
    images = load_images(cifar_settings(cifar_tree))
    label = images.class_names.index("seal")
    place = 2 * label + 1  # files in the order of their names: a, b
    assert images.train_labels[place] == label
    assert images.train_images[place].flatten().tolist() == bytes_of_seal.tolist()
    assert images.train_images.shape == (200, 3, 32, 32)
    assert images.test_images is not None
    assert images.test_images.shape == (100, 3, 32, 32)


def test_one_tar_file_of_the_tree_gives_the_same_images(cifar_tree: Path, tmp_path: Path) -> None:
    write_png(cifar_tree / "train/seal/b.png", picture(record(1)))
    plain, path = load_images(cifar_settings(cifar_tree)), tmp_path / "cifar.tar"
    with tarfile.open(path, "w") as tar:
        for part in ("train", "test"):
            tar.add(cifar_tree / part, part)
    packed = load_images(cifar_settings(path))
    assert torch.equal(packed.train_images, plain.train_images)
    assert torch.equal(packed.train_labels, plain.train_labels)
    with tarfile.open(path, "w") as tar:
        tar.add(cifar_tree, "cifar")
    assert torch.equal(load_images(cifar_settings(path)).train_images, plain.train_images)
    with tarfile.open(path, "w") as tar:
        tar.add(cifar_tree / "test", "test")
    with pytest.raises(UserError, match=r"cifar.tar/train is not there; set data.folder"):
        load_images(cifar_settings(path))


@pytest.fixture
def cifar_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """CIFAR-100's official files with three images in all, digests adapted, which torchvision reads."""
    from torchvision.datasets import CIFAR100

    base = tmp_path / CIFAR100.base_folder
    base.mkdir()

    def write(name: str, content: dict[str, object]) -> str:
        data = pickle.dumps(content)
        (base / name).write_bytes(data)
        return hashlib.md5(data, usedforsecurity=False).hexdigest()

    train = write("train", {"data": np.stack([record(1), record(2)]), "fine_labels": [72, 3]})
    test = write("test", {"data": record(3)[None], "fine_labels": [99]})
    meta = write("meta", {"fine_label_names": list(CLASS_NAMES)})
    monkeypatch.setattr(CIFAR100, "train_list", [["train", train]])
    monkeypatch.setattr(CIFAR100, "test_list", [["test", test]])
    monkeypatch.setattr(CIFAR100, "meta", {**CIFAR100.meta, "md5": meta})
    monkeypatch.setattr(cifar100, "DOWNLOADS", tmp_path)
    return tmp_path


def test_cifar_from_torchvision_keeps_every_pixel_in_its_place(cifar_archive: Path) -> None:
    images = load_images(cifar_settings(None))
    assert images.test_images is not None
    for number, image in enumerate([*images.train_images, *images.test_images], start=1):
        pixels = record(number)
        assert all(
            image[c, y, x] == pixels[1024 * c + 32 * y + x]
            for c, y, x in ((0, 0, 0), (0, 0, 1), (0, 1, 0), (1, 0, 0), (2, 31, 31), (1, 17, 5))
        )
        assert image.flatten().tolist() == pixels.tolist()
    assert [images.class_names[label] for label in images.train_labels] == ["seal", "bear"]
    assert images.superclasses == SUPERCLASSES


def test_without_torchvision_the_remedy_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchvision.datasets", None)
    with pytest.raises(UserError, match=r"torchvision is not usable .*install .* or set data.folder"):
        load_images(cifar_settings(None))


def test_a_failed_download_says_the_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from torchvision.datasets import CIFAR100

    def refuse(*arguments: object, **options: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr(cifar100, "DOWNLOADS", tmp_path)
    monkeypatch.setattr(CIFAR100, "download", refuse)
    with pytest.raises(UserError, match=r"could not be downloaded .*no route to host.*data.folder"):
        load_images(cifar_settings(None))


def _remove_train(root: Path) -> None:
    (root / "train").rename(root / "training")


def _remove_image(root: Path) -> None:
    (root / "train/whale/a.png").unlink()


def _remove_class(root: Path) -> None:
    (root / "test/whale").rename(root / "whale")


def _rename_class(root: Path) -> None:
    (root / "test/whale").rename(root / "test/wale")


def _truncate(root: Path) -> None:
    noise = picture(record(4))
    write_png(root / "train/whale/a.png", noise)
    content = (root / "train/whale/a.png").read_bytes()
    (root / "train/whale/a.png").write_bytes(content[: len(content) // 2])


def _empty_file(root: Path) -> None:
    (root / "test/whale/a.png").write_bytes(b"")


def _empty_class(root: Path) -> None:
    (root / "test/whale/a.png").unlink()


def _small(root: Path) -> None:
    write_png(root / "train/whale/a.png", np.zeros((31, 32, 3), dtype=np.uint8))


def _deep(root: Path) -> None:
    write_png(root / "train/whale/a.png", np.zeros((32, 32), dtype=np.uint16))


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (_remove_train, r"train is not there; set data.folder"),
        (_remove_image, r"train: class whale holds 1 images instead of 2; complete"),
        (_remove_class, r"test holds 99 class folders instead of 100; complete"),
        (_rename_class, r"test/wale is no class of CIFAR-100; set data.folder"),
        (_truncate, r"train/whale/a.png is not a readable image .*truncated.*; replace"),
        (_empty_file, r"test/whale/a.png is not a readable image .*; replace"),
        (_empty_class, r"class whale in .*test holds no image; add"),
        (_small, r"whale/a.png is 32x31 pixels and .*apple/a.png is 32x32"),
        (_deep, r"whale/a.png is not a readable image .*mode I;16 is not 8 bits"),
    ],
)
def test_a_damaged_cifar_tree_is_one_error_with_path_and_remedy(
    cifar_tree: Path, damage: Callable[[Path], None], words: str
) -> None:
    damage(cifar_tree)
    with pytest.raises(UserError, match=words):
        load_images(cifar_settings(cifar_tree))


@pytest.mark.skipif("CL_LSG_CIFAR100" not in os.environ, reason="CL_LSG_CIFAR100 is not set")
def test_the_real_cifar_tree_has_the_known_statistics() -> None:
    images = load_images(cifar_settings(Path(os.environ["CL_LSG_CIFAR100"])))
    assert torch.bincount(images.train_labels).tolist() == [500] * 100
    pixels = images.train_images.double() / 255
    assert pixels.mean((0, 2, 3)).tolist() == pytest.approx([0.5071, 0.4865, 0.4409], abs=1e-4)
    assert pixels.std((0, 2, 3)).tolist() == pytest.approx([0.2673, 0.2564, 0.2762], abs=1e-4)
