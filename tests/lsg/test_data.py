"""Batches: the same images for everybody, cropped and flipped as torch's own slicing does it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.nn.functional import pad

from lsg import seeds
from lsg.batches import Batches, batch_sizes
from lsg.data import Split, Task, TaskFolder, load_task
from lsg.files import DamagedFileError
from tests.lsg.tiny import epoch_of, tiny_task, write_tiny_tasks


def arange_task(count: int = 5) -> Task:
    images = torch.arange(count * 2 * 4 * 4).view(count, 2, 4, 4).to(torch.uint8)
    split = Split(images, torch.arange(count))
    return Task(1, "arange", ("a",) * count, split, split, split, mean=(0.5, 0.25), std=(0.5, 1.0))


def test_without_augmentation_an_epoch_is_a_permutation_of_the_normalised_images() -> None:
    task = arange_task()
    batches = list(epoch_of(Batches(task, 2, crop_padding=0, flip=False, seed=1), 1))
    assert [len(labels) for _, labels in batches] == [2, 3]
    images, labels = torch.cat([x for x, _ in batches]), torch.cat([y for _, y in batches])
    assert sorted(labels.tolist()) == [0, 1, 2, 3, 4]
    by_hand = task.train.images[labels].float() / 255
    by_hand[:, 0] = (by_hand[:, 0] - 0.5) / 0.5
    by_hand[:, 1] = by_hand[:, 1] - 0.25
    torch.testing.assert_close(images, by_hand)


def test_crops_and_flips_are_slices_of_the_padded_image() -> None:
    task = arange_task(40)
    plain = Task(1, "", task.classes, task.train, task.train, task.train, mean=(0.0, 0.0), std=(1.0, 1.0))
    batches = Batches(plain, 40, crop_padding=1, flip=True, seed=3)
    images, labels = next(epoch_of(batches, 2))
    draws = seeds.generator("cpu", "batches", 3, 1, 2)
    order = torch.randperm(40, generator=draws)
    shifts = torch.randint(3, (2, 40), generator=draws)
    flips = torch.rand(40, generator=draws) < 0.5
    assert torch.equal(labels, order)
    assert flips.any()
    assert not flips.all()
    for place, index in enumerate(order.tolist()):
        padded = pad(task.train.images[index], (1, 1, 1, 1)).float() / 255
        down, right = shifts[0, place], shifts[1, place]
        crop = padded[:, down : down + 4, right : right + 4]
        assert torch.equal(images[place], crop.flip(2) if flips[place] else crop)


def test_a_task_without_training_images_is_named() -> None:
    task = tiny_task(3)
    empty = replace(task, train=Split(task.train.images[:0], task.train.labels[:0]))
    with pytest.raises(ValueError, match="task 3 has no training images"):
        Batches(empty, 4, 0, False, seed=1)


def test_a_last_image_alone_joins_the_batch_before_it() -> None:
    assert batch_sizes(8, 4) == [4, 4]
    assert batch_sizes(9, 4) == [4, 5]
    assert batch_sizes(10, 4) == [4, 4, 2]
    assert batch_sizes(3, 4) == [3]
    assert batch_sizes(1, 4) == [1]
    images = len(tiny_task(1).train)
    batches = Batches(tiny_task(1), images - 1, 0, False, seed=3)
    assert [len(labels) for _, labels in epoch_of(batches, 1)] == [images]
    assert len(batches) == 1


def test_one_digest_for_any_history_and_thread_count() -> None:
    task = tiny_task(1)
    first = Batches(task, 8, 1, True, seed=5)
    list(epoch_of(first, 1))
    torch.set_num_threads(2)
    other = list(epoch_of(Batches(task, 8, 1, True, seed=5), 2))
    torch.set_num_threads(1)
    for (x, y), (x2, y2) in zip(epoch_of(first, 2), other, strict=True):
        assert torch.equal(x, x2)
        assert torch.equal(y, y2)
    changed = list(epoch_of(Batches(task, 8, 1, True, seed=6), 2))
    assert any(not torch.equal(x, x2) for (x, _), (x2, _) in zip(other, changed, strict=True))


def test_tasks_are_read_back_and_a_changed_byte_is_named(tmp_path: Path) -> None:
    folder = write_tiny_tasks(tmp_path / "tiny", 2)
    task = load_task(TaskFolder(folder), 2)
    assert torch.equal(task.train.images, tiny_task(2).train.images)
    assert task.classes == ("dark", "bright")
    path = folder / "task_02.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(DamagedFileError, match=r"task_02\.safetensors"):
        load_task(TaskFolder(folder), 2)
    path.write_bytes(content[:40])
    with pytest.raises(DamagedFileError, match=r"task_02\.safetensors"):
        load_task(TaskFolder(folder), 2)
    with pytest.raises(KeyError, match="no task 3"):
        load_task(TaskFolder(folder), 3)
