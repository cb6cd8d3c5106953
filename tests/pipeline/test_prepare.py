"""The prepared folder is whole, deterministic, and true to its manifest."""

from __future__ import annotations

import errno
import itertools
import json
import multiprocessing
import os
import shutil
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from lsg.data import TaskFolder, load_task
from lsg.files import DamagedFileError
from pipeline.benchmarks.settings import DataSettings
from pipeline.errors import UserError
from pipeline.prepare import channel_statistics, prepare
from tests.pipeline.pictures import write_png

DIGITS = DataSettings("digits", classes_per_task=2, validation=0.25, test=0.25)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_files_hold_what_the_manifest_says(tmp_path: Path) -> None:
    manifest = prepare("digits", DIGITS, tmp_path / "digits")
    assert manifest == json.loads((tmp_path / "digits/manifest.json").read_text())
    assert (manifest["format"], manifest["benchmark"]) == (1, "digits")
    assert manifest["settings"] == DIGITS.cut()
    assert manifest["image_shape"] == [1, 8, 8]
    assert [task["name"] for task in manifest["tasks"]] == ["0-1", "2-3", "4-5", "6-7", "8-9"]
    assert sorted(contents(tmp_path / "digits")) == [
        "manifest.json",
        *(f"task_0{n}.safetensors" for n in range(1, 6)),
    ]
    for number, task in enumerate(manifest["tasks"], start=1):
        tensors = load_file(tmp_path / f"digits/task_0{number}.safetensors")
        assert task["task"] == number
        assert task["classes"] == task["name"].split("-")
        for split in ("train", "validation", "test"):
            images, labels = tensors[f"{split}_images"], tensors[f"{split}_labels"]
            assert (images.dtype, labels.dtype) == (torch.uint8, torch.int64)
            assert images.shape == (task[split], 1, 8, 8)
            assert sorted(set(labels.tolist())) == [0, 1]
        pixels = tensors["train_images"].double() / 255
        assert task["mean"] == pytest.approx([float(pixels.mean())])
        assert task["std"] == pytest.approx([float(pixels.std(correction=0))])
    # 178 zeros and 182 ones: a quarter for test, then a quarter of the rest, halves rounded up.
    first = manifest["tasks"][0]
    assert (first["test"], first["validation"], first["train"]) == (45 + 46, 33 + 34, 100 + 102)


def test_two_runs_give_equal_bytes_and_leave_nothing_else(tmp_path: Path) -> None:
    prepare("digits", DIGITS, tmp_path / "a")
    before = contents(tmp_path / "a")
    prepare("digits", DIGITS, tmp_path / "a")
    assert contents(tmp_path / "a") == before
    assert sorted(path.name for path in tmp_path.iterdir()) == [".a.lock", "a"]


def test_other_settings_replace_the_folder_whole(tmp_path: Path) -> None:
    one = prepare("digits", DIGITS, tmp_path / "a")
    halves = DataSettings("digits", classes_per_task=5, validation=0.0, test=0.25)
    other = prepare("digits", halves, tmp_path / "a")
    assert one["digest"] != other["digest"]
    assert sorted(contents(tmp_path / "a")) == ["manifest.json", "task_01.safetensors", "task_02.safetensors"]
    assert other["tasks"][0]["validation"] == 0
    assert load_file(tmp_path / "a/task_01.safetensors")["validation_images"].shape == (0, 1, 8, 8)


def test_a_full_disk_is_one_error_and_keeps_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare("digits", DIGITS, tmp_path / "a")
    before = contents(tmp_path / "a")
    written: list[int] = []

    def fill(descriptor: int) -> None:
        written.append(descriptor)
        if len(written) == 3:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", fill)
    with pytest.raises(UserError, match=r"a cannot be written \(No space left on device\); free space"):
        prepare("digits", DataSettings("digits", classes_per_task=5, test=0.5), tmp_path / "a")
    assert contents(tmp_path / "a") == before
    assert sorted(path.name for path in tmp_path.iterdir()) == [".a.lock", "a"]


def test_settings_that_do_not_fit_are_named_by_their_preset(tmp_path: Path) -> None:
    three = DataSettings("digits", classes_per_task=3, test=0.25)
    with pytest.raises(UserError, match=r"^presets\.mine: data\.classes_per_task is 3, which does not"):
        prepare("mine", three, tmp_path / "mine")
    few = DataSettings("digits", classes_per_task=5, test=1000)
    with pytest.raises(UserError, match=r"^presets\.mine: class 0 has too few images for its train split"):
        prepare("mine", few, tmp_path / "mine")


def test_test_images_that_were_learned_are_counted_out_loud(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Two images of class a are in train and test; one of class c is in the test images of another task."""
    noise = np.random.default_rng(1)
    for split, name, number in itertools.product(("train", "test"), "abcd", range(6)):
        pixels = noise.integers(256, size=(8, 8, 3), dtype=np.uint8)
        write_png(tmp_path / split / name / f"{number}.png", pixels)
    for number in range(2):
        shutil.copy(tmp_path / f"train/a/{number}.png", tmp_path / f"test/a/again{number}.png")
    shutil.copy(tmp_path / "train/c/0.png", tmp_path / "test/b/of_c.png")
    settings = DataSettings("folder", str(tmp_path), classes_per_task=2, validation=0.2)
    manifest = prepare("mine", settings, tmp_path / "out")
    assert [task["test"] for task in manifest["tasks"]] == [15, 12]
    (warning,) = caplog.messages
    assert warning.startswith("mine: 2 of 27 test images are also train or validation images of their task")
    assert prepare("digits", DIGITS, tmp_path / "digits")["tasks"]
    assert len(caplog.messages) == 1


def test_leftovers_of_a_killed_run_do_no_harm(tmp_path: Path) -> None:
    (tmp_path / ".a.7.partial").mkdir()
    (tmp_path / ".a.7.partial/task_09.safetensors").write_bytes(b"half")
    (tmp_path / ".a.7.old").mkdir()
    prepare("digits", DIGITS, tmp_path / "a")
    assert "task_09.safetensors" not in contents(tmp_path / "a")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".a.lock", "a"]


def test_a_folder_that_holds_the_same_is_not_touched(tmp_path: Path) -> None:
    prepare("digits", DIGITS, tmp_path / "a")
    before = (tmp_path / "a").stat()
    prepare("digits", DIGITS, tmp_path / "a")
    after = (tmp_path / "a").stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_a_damaged_folder_is_made_again(tmp_path: Path) -> None:
    prepare("digits", DIGITS, tmp_path / "a")
    before = contents(tmp_path / "a")
    (tmp_path / "a/task_02.safetensors").write_bytes(b"half")
    prepare("digits", DIGITS, tmp_path / "a")
    assert contents(tmp_path / "a") == before


def test_a_folder_that_cannot_be_put_in_place_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare("digits", DIGITS, tmp_path / "a")
    before, rename = contents(tmp_path / "a"), Path.rename

    def refuse(path: Path, target: Path) -> Path:
        if path.parent.name.endswith(".partial"):
            raise OSError(errno.EACCES, "Permission denied")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(UserError, match="a cannot be written"):
        prepare("digits", DataSettings("digits", classes_per_task=5, test=0.5), tmp_path / "a")
    assert contents(tmp_path / "a") == before


def test_many_at_once_with_two_settings_all_succeed(tmp_path: Path) -> None:
    both = [DIGITS, replace(DIGITS, split_seed=2)] * 3
    context = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(len(both), mp_context=context) as pool:
        made = [pool.submit(prepare, "digits", settings, tmp_path / "a") for settings in both]
    digests = {one.result()["digest"] for one in made}
    assert len(digests) == 2
    assert json.loads((tmp_path / "a/manifest.json").read_text())["digest"] in digests
    assert sorted(path.name for path in tmp_path.iterdir()) == [".a.lock", "a"]


def test_a_tasks_file_names_and_orders_the_tasks(tmp_path: Path) -> None:
    (tmp_path / "tasks.yaml").write_text(
        "- {name: odd, classes: [3, 1]}\n- {name: even, classes: [8, 0, 2]}\n"
    )
    settings = DataSettings("digits", tasks=str(tmp_path / "tasks.yaml"), test=0.25)
    manifest = prepare("digits", settings, tmp_path / "a")
    assert [(task["name"], task["classes"]) for task in manifest["tasks"]] == [
        ("odd", ["3", "1"]),
        ("even", ["8", "0", "2"]),
    ]


def test_the_manifest_says_in_which_order_the_tasks_stand(tmp_path: Path) -> None:
    usual = prepare("digits", DIGITS, tmp_path / "a")
    moved = prepare("digits", replace(DIGITS, task_order=(5, 2, 3, 4, 1)), tmp_path / "b")
    assert (usual["task_order"], moved["task_order"]) == ([1, 2, 3, 4, 5], [5, 2, 3, 4, 1])
    names = [task["name"] for task in usual["tasks"]]
    assert [task["name"] for task in moved["tasks"]] == [names[number - 1] for number in moved["task_order"]]
    assert moved["tasks"][0]["digest"] == usual["tasks"][4]["digest"]
    assert moved["digest"] != usual["digest"]


def test_channel_statistics_by_hand() -> None:
    images = torch.tensor([[0, 255], [51, 51]], dtype=torch.uint8).reshape(1, 2, 1, 2)
    means, deviations = channel_statistics(images)
    assert means == pytest.approx([0.5, 0.2])
    assert deviations == pytest.approx([0.5, 1 / 255]), "a constant channel gets one grey level"


def test_the_library_reads_the_tasks_and_notices_damage(tmp_path: Path) -> None:
    manifest = prepare("digits", DIGITS, tmp_path / "a")
    task = load_task(TaskFolder(tmp_path / "a"), 2)
    assert (task.name, task.classes, len(task.train)) == ("2-3", ("2", "3"), manifest["tasks"][1]["train"])
    path = tmp_path / "a/task_02.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(DamagedFileError, match="task_02"):
        load_task(TaskFolder(tmp_path / "a"), 2)


def test_the_digest_changes_with_the_images_of_any_task(tmp_path: Path) -> None:
    one = prepare("digits", DIGITS, tmp_path / "a")
    other = prepare("digits", replace(DIGITS, split_seed=2), tmp_path / "b")
    assert one["digest"] != other["digest"]
    assert all(a["digest"] != b["digest"] for a, b in zip(one["tasks"], other["tasks"], strict=True))


def test_the_digest_changes_with_a_class_s_name(tmp_path: Path) -> None:
    noise = np.random.default_rng(1)
    for split, name, number in itertools.product(("train", "test"), "ab", range(4)):
        pixels = noise.integers(256, size=(8, 8, 3), dtype=np.uint8)
        for folder, shown in (("one", name), ("other", name.upper())):
            write_png(tmp_path / folder / split / shown / f"{number}.png", pixels)
    made = [
        prepare("mine", DataSettings("folder", str(tmp_path / folder), classes_per_task=2), tmp_path / "out")
        for folder in ("one", "other")
    ]
    tasks = [manifest["tasks"][0] for manifest in made]
    assert tasks[0]["digest"] == tasks[1]["digest"]
    assert made[0]["digest"] != made[1]["digest"]
