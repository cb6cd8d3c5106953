"""MiniImageNet, a person's own folders and tasks files: what is read, and what is said when it is wrong."""

from __future__ import annotations

import json
import os
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.benchmarks import folder, load_images, miniimagenet, tree
from pipeline.benchmarks.settings import DataSettings
from pipeline.benchmarks.tasks_file import read_tasks
from pipeline.errors import UserError
from tests.pipeline.pictures import picture, record, write_png

# --- MiniImageNet -----------------------------------------------------------------------------------------

WORDNET = tuple(f"n{number:08d}" for number in range(6))


@pytest.fixture
def small_mini(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(miniimagenet, "CLASSES", len(WORDNET))
    monkeypatch.setattr(miniimagenet, "IMAGES_PER_CLASS", 3)


def mini_settings(root: Path, **changes: object) -> DataSettings:
    settings = DataSettings("miniimagenet", folder=str(root), classes_per_task=2, test=1)
    return replace(settings, **changes)  # type: ignore[arg-type]


def write_mini(folder_of: Callable[[int, int], Path]) -> None:
    """Three images of 90x84 a class; class n has the grey level 10 n."""
    for number, name in enumerate(WORDNET):
        for image in range(3):
            pixels = np.full((84, 90, 3), 10 * number, dtype=np.uint8)
            write_png(folder_of(number, image) / name / f"{image}.png", pixels)


@pytest.mark.usefixtures("small_mini")
@pytest.mark.parametrize("layout", ["flat", "parts", "mixed"])
def test_miniimagenet_reads_any_common_layout(tmp_path: Path, layout: str) -> None:
    parts = ("train", "val", "test")
    folders: dict[str, Callable[[int, int], Path]] = {
        "flat": lambda number, image: tmp_path,
        "parts": lambda number, image: tmp_path / parts[number % 3],
        "mixed": lambda number, image: tmp_path / parts[image],
    }
    write_mini(folders[layout])
    images = load_images(mini_settings(tmp_path))
    assert images.train_images.shape == (18, 3, 84, 84)
    assert images.class_names == WORDNET
    assert [int(image[0, 0, 0]) // 10 for image in images.train_images] == images.train_labels.tolist()
    assert images.resized == "short side to 84 (bilinear), centre cut out"


@pytest.mark.usefixtures("small_mini")
def test_miniimagenet_that_is_missing_or_incomplete_says_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"nowhere is not there; .*not downloaded.*<class>/\*\.jpg.*data\.folder"
    ):
        load_images(mini_settings(tmp_path / "nowhere"))
    with pytest.raises(UserError, match="is empty; .*not downloaded"):
        load_images(mini_settings(tmp_path))
    write_mini(lambda number, image: tmp_path)
    (tmp_path / WORDNET[4] / "2.png").unlink()
    with pytest.raises(UserError, match=f"class {WORDNET[4]} holds 2 images instead of 3"):
        load_images(mini_settings(tmp_path))


# --- a person's own folder --------------------------------------------------------------------------------


def own_settings(root: Path, **changes: object) -> DataSettings:
    settings = DataSettings("folder", folder=str(root), classes_per_task=2)
    return replace(settings, **changes)  # type: ignore[arg-type]


def test_a_grey_folder_has_one_channel_and_a_mixed_one_three(tmp_path: Path) -> None:
    for name, level in (("cat", 10), ("dog", 20)):
        write_png(tmp_path / "train" / name / "a.png", np.full((9, 9), level, dtype=np.uint8))
    grey = folder.load(own_settings(tmp_path))
    assert grey.train_images.shape == (2, 1, 9, 9)
    assert grey.train_images[:, 0, 0, 0].tolist() == [10, 20]
    write_png(tmp_path / "test/cat/a.png", np.full((9, 9, 3), (1, 2, 3), dtype=np.uint8))
    write_png(tmp_path / "test/dog/a.png", np.full((9, 9), 4, dtype=np.uint8))
    mixed = folder.load(own_settings(tmp_path))
    assert mixed.test_images is not None
    assert mixed.train_images.shape == (2, 3, 9, 9)
    assert mixed.test_images[:, :, 0, 0].tolist() == [[1, 2, 3], [4, 4, 4]]


def test_an_image_is_brought_to_size_by_its_short_side_and_the_centre(tmp_path: Path) -> None:
    wide = np.zeros((16, 48), dtype=np.uint8)
    wide[:, 16:32] = 200  # the middle third is what remains
    write_png(tmp_path / "cat/a.png", wide)
    write_png(tmp_path / "dog/a.png", wide.T.copy())
    images = folder.load(own_settings(tmp_path, image_size=8))
    assert images.train_images.shape == (2, 1, 8, 8)
    # The cut's outermost columns blend a little with what lies beyond, as bilinear sampling does.
    assert images.train_images[0, 0, :, 1:7].tolist() == [[200] * 6] * 8
    assert images.train_images[0, 0, :, [0, 7]].tolist() == [[175] * 2] * 8
    assert torch.equal(images.train_images[1, 0], images.train_images[0, 0].T)
    assert images.test_images is None


def test_images_of_unequal_size_need_an_image_size(tmp_path: Path) -> None:
    write_png(tmp_path / "cat/a.png", np.zeros((9, 9), dtype=np.uint8))
    write_png(tmp_path / "dog/a.png", np.zeros((9, 8), dtype=np.uint8))
    with pytest.raises(
        UserError, match=r"dog/a.png is 8x9 pixels and .*cat/a.png is 9x9; set data.image_size"
    ):
        folder.load(own_settings(tmp_path))


def test_large_files_are_read_on_all_cores_to_the_same_pixels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(5):
        write_png(tmp_path / f"c/{number}.png", picture(record(number)))
    files = tree.class_files([tmp_path])["c"]
    plain = tree.read_images(files)
    monkeypatch.setattr(tree, "WORTH_A_THREAD", 0)
    assert torch.equal(tree.read_images(files), plain)
    files[3].write_bytes(b"no image")
    with pytest.raises(UserError, match=r"c/3.png is not a readable image"):
        tree.read_images(files)


def test_what_is_transparent_shows_white(tmp_path: Path) -> None:
    """Black glyphs on transparent black, as programs export them, are no black pictures."""
    glyph = np.zeros((4, 4), dtype=np.uint8)
    alpha = np.zeros((4, 4), dtype=np.uint8)
    alpha[1:3, 1:3], alpha[0, 0] = 255, 128
    expected = 255 - alpha
    half = [[expected.tolist()]]
    for name, channels in (("cat", [glyph, alpha]), ("dog", [glyph, glyph, glyph, alpha])):
        write_png(tmp_path / name / "a.png", np.dstack(channels))
        files = [tmp_path / name / "a.png"]
        assert tree.read_images(files, grey=True).tolist() == half
        assert tree.read_images(files).tolist() == [half[0] * 3]


def test_a_folder_beside_train_and_test_is_not_left_out_in_silence(tmp_path: Path) -> None:
    for part in ("train", "val"):
        for name in ("cat", "dog"):
            write_png(tmp_path / part / name / "a.png", np.zeros((9, 9), dtype=np.uint8))
    with pytest.raises(UserError, match=r"holds val beside train, .*; move its images into train"):
        folder.load(own_settings(tmp_path))


def test_a_class_whose_name_no_text_file_can_hold_is_refused(tmp_path: Path) -> None:
    os.makedirs(os.fsencode(tmp_path) + b"/caf\xe9")
    with pytest.raises(UserError, match=r"caf.udce9' has a name that is not UTF-8; rename it"):
        tree.class_files([tmp_path])


def test_hidden_and_foreign_files_are_no_images(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_png(tmp_path / "cat/a.png", np.zeros((9, 9), dtype=np.uint8))
    write_png(tmp_path / "cat/._a.png", np.zeros((9, 9), dtype=np.uint8))
    (tmp_path / "cat/notes.txt").write_text("hello")
    (tmp_path / ".cache").mkdir()
    assert [path.name for path in tree.class_files([tmp_path])["cat"]] == ["a.png"]
    assert list(tree.class_files([tmp_path])) == ["cat"]
    assert "1 files that are no images are left out, such as" in caplog.text
    assert str(tmp_path / "cat/notes.txt") in caplog.text


def test_a_pipe_is_no_image_and_nothing_waits_for_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_png(tmp_path / "cat/a.png", np.zeros((9, 9), dtype=np.uint8))
    os.mkfifo(tmp_path / "cat/b.png")
    (tmp_path / "cat/c.png").mkdir()
    assert [path.name for path in tree.class_files([tmp_path])["cat"]] == ["a.png"]
    assert str(tmp_path / "cat/b.png") in caplog.text
    assert f"1 folders inside classes are not read, such as {tmp_path / 'cat/c.png'}" in caplog.text


def test_folders_inside_a_class_are_not_read_and_that_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for path in ("cat/a.png", "cat/more/b.png"):
        write_png(tmp_path / path, np.zeros((9, 9), dtype=np.uint8))
    assert [path.name for path in tree.class_files([tmp_path])["cat"]] == ["a.png"]
    assert f"1 folders inside classes are not read, such as {tmp_path / 'cat/more'}" in caplog.text
    assert "no images" not in caplog.text


def test_test_images_alone_are_nothing_to_learn_from(tmp_path: Path) -> None:
    write_png(tmp_path / "test/cat/a.png", np.zeros((9, 9), dtype=np.uint8))
    with pytest.raises(UserError, match="holds test and no train; put the images to learn from into train"):
        folder.load(own_settings(tmp_path))


def test_a_folder_that_does_not_fit_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="gone is not there; set data.folder"):
        folder.load(own_settings(tmp_path / "gone"))
    with pytest.raises(UserError, match="holds no class folders"):
        folder.load(own_settings(tmp_path))
    write_png(tmp_path / "train/cat/a.png", np.zeros((9, 9), dtype=np.uint8))
    write_png(tmp_path / "test/dog/a.png", np.zeros((9, 9), dtype=np.uint8))
    with pytest.raises(UserError, match="class cat is not in both"):
        folder.load(own_settings(tmp_path))
    (tmp_path / "train/dog").mkdir()
    with pytest.raises(UserError, match=r"class dog in .*train holds no image"):
        folder.load(own_settings(tmp_path))


def pack(tree: Path, name: str) -> Path:
    """A tar file of the folder, beside it, in which everything lies below `name`."""
    path = tree.with_suffix(".tgz")
    with tarfile.open(path, "w:gz") as tar:
        tar.add(tree, name)
    return path


@pytest.mark.parametrize("wrapping", [".", "pets", "train"])
@pytest.mark.parametrize("inside", [".", "train"])
def test_a_tar_file_may_hold_the_tree_below_one_folder(tmp_path: Path, wrapping: str, inside: str) -> None:
    tree = tmp_path / "images"
    for name, level in (("cat", 10), ("dog", 20)):
        write_png(tree / inside / name / "a.png", np.full((9, 9), level, dtype=np.uint8))
    if (wrapping, inside) == ("train", "train"):
        tree = tree / inside
    images = folder.load(own_settings(pack(tree, wrapping)))
    assert images.class_names == ("cat", "dog")
    assert images.train_images[:, 0, 0, 0].tolist() == [10, 20]


def test_a_class_alone_in_a_tar_file_is_no_wrapping(tmp_path: Path) -> None:
    write_png(tmp_path / "cat/a.png", np.zeros((9, 9), dtype=np.uint8))
    assert folder.load(own_settings(pack(tmp_path / "cat", "cat"))).class_names == ("cat",)


@pytest.mark.usefixtures("small_mini")
@pytest.mark.parametrize("part", [".", "train"])
def test_miniimagenet_may_lie_below_one_folder_of_a_tar_file(tmp_path: Path, part: str) -> None:
    write_mini(lambda number, image: tmp_path / "images" / part)
    images = load_images(mini_settings(pack(tmp_path / "images", "mini-imagenet")))
    assert images.class_names == WORDNET


def test_what_is_wrong_inside_a_tar_file_is_told_by_its_name(tmp_path: Path) -> None:
    write_png(tmp_path / "images/train/cat/a.png", np.zeros((9, 9), dtype=np.uint8))
    (tmp_path / "images/train/cat/b.png").write_bytes(b"no image")
    path = pack(tmp_path / "images", "images")
    with pytest.raises(UserError, match=f"^{path}/images/train/cat/b.png is not a readable image"):
        folder.load(own_settings(path))


# --- tasks files ------------------------------------------------------------------------------------------


def test_a_tasks_file_is_json_or_yaml(tmp_path: Path) -> None:
    tasks = [{"name": "pets", "classes": ["cat", "dog"]}, {"name": "low", "classes": [0, 1]}]
    (tmp_path / "tasks.json").write_text(json.dumps(tasks))
    (tmp_path / "tasks.yaml").write_text(
        "- {name: pets, classes: [cat, dog]}\n- {name: low, classes: [0, 1]}\n"
    )
    expected = [("pets", ("cat", "dog")), ("low", ("0", "1"))]
    assert read_tasks(tmp_path / "tasks.json") == expected
    assert read_tasks(tmp_path / "tasks.yaml") == expected


def test_a_json_file_may_have_tabs_and_escaped_characters(tmp_path: Path) -> None:
    tasks = [{"name": "faces", "classes": ["😀", "café"]}]
    (tmp_path / "tasks.json").write_text("\ufeff" + json.dumps(tasks, indent="\t"), encoding="utf-8")
    assert read_tasks(tmp_path / "tasks.json") == [("faces", ("😀", "café"))]


def test_names_in_a_tasks_file_are_what_is_written(tmp_path: Path) -> None:
    (tmp_path / "tasks.yaml").write_text("- {name: 007, classes: [010, 1_0, 0x1F, no, y, 1:30]}\n")
    assert read_tasks(tmp_path / "tasks.yaml") == [("007", ("010", "1_0", "0x1F", "no", "y", "1:30"))]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{name: a", "cannot be read"),
        ("name: a", "is not a list of tasks"),
        ("[]", "is not a list of tasks"),
        ("- {name: a}", "task 1 does not have name and classes"),
        ("- {name: a, classes: [x, y], colour: red}", "task 1 does not have name and classes alone"),
        (
            "- {name: 1, classes: [x, y]}\n- {name: '1', classes: [z, w]}",
            r"tasks\.yaml: two tasks are called 1; give each a name of its own",
        ),
        ("- {name: a, classes: [x, true]}", "task 1 has a name that is no text; quote it"),
        ("- {name: a, classes: [x, 1.50]}", "task 1 has a name that is no text; quote it"),
        ('- {name: " ", classes: [x, y]}', "task 1 has a name that cannot be shown; give it letters"),
        ('[{"name": "\\ud800", "classes": ["x", "y"]}]', "task 1 has a name that cannot be shown"),
        ('[{"name": "a", "name": "b", "classes": ["x", "y"]}]', r"cannot be read \(found duplicate key"),
        ("- {name: a, classes: xy}", "the classes of task 1 are no list; write a list of tasks"),
    ],
)
def test_a_tasks_file_that_is_wrong_says_where(tmp_path: Path, content: str, words: str) -> None:
    path = tmp_path / "tasks.yaml"
    path.write_text(content)
    with pytest.raises(UserError, match=words):
        read_tasks(path)


@pytest.mark.parametrize("opening", ["[", "- ["])
def test_a_tasks_file_of_brackets_too_deep_to_read_is_named(tmp_path: Path, opening: str) -> None:
    path = tmp_path / "tasks.json"
    path.write_text(opening + "[" * 100_000)
    with pytest.raises(UserError, match=r"tasks\.json cannot be read \(maximum recursion depth"):
        read_tasks(path)


def test_a_missing_tasks_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none.json cannot be read"):
        read_tasks(tmp_path / "none.json")
