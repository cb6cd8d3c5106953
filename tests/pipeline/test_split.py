"""Splits are disjoint, complete, stratified, and depend on the images and the seed alone."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from pipeline.benchmarks.images import Images
from pipeline.benchmarks.orders import PUBLISHED
from pipeline.benchmarks.settings import DataSettings
from pipeline.benchmarks.superclasses import CLASS_NAMES, SUPERCLASSES
from pipeline.errors import UserError
from pipeline.split import TaskData, split_tasks, task_groups


def made_images(classes: int, per_class: int, tests: int = 0) -> Images:
    """Images [N, 1, 2, 2] that hold their class in the first pixel and their number in the next two."""

    def part(count: int, first: int) -> tuple[Tensor, Tensor]:
        labels = torch.arange(classes).repeat_interleave(count)
        numbers = torch.arange(first, first + count).repeat(classes)
        pixels = torch.stack([labels, numbers // 256, numbers % 256, torch.zeros_like(labels)], dim=1)
        return pixels.reshape(-1, 1, 2, 2).to(torch.uint8), labels

    names = tuple(f"class{number:02d}" for number in range(classes))
    if not tests:
        return Images(*part(per_class, 0), None, None, names)
    return Images(*part(per_class, 0), *part(tests, per_class), names)


def identities(images: Tensor) -> list[tuple[int, int]]:
    """(class, number) of each image."""
    flat = images.flatten(1).to(torch.int64)
    return [(int(row[0]), int(row[1]) * 256 + int(row[2])) for row in flat]


def all_of(task: TaskData) -> list[tuple[int, int]]:
    parts = (task.train_images, task.validation_images, task.test_images)
    return [identity for part in parts for identity in identities(part)]


def made_settings(**changes: object) -> DataSettings:
    base = DataSettings("digits", classes_per_task=2, validation=0.25, test=0.2)
    return replace(base, **changes)  # type: ignore[arg-type]


@given(
    tasks=st.integers(1, 4),
    per_task=st.integers(2, 4),
    per_class=st.integers(10, 40),
    validation=st.sampled_from([0.0, 0.2, 0.25, 0.5]),
    test=st.sampled_from([0.2, 0.5, 2.0]),
    seed=st.integers(0, 2**63 - 1),
)
def test_splits_are_disjoint_complete_and_stratified(
    tasks: int, per_task: int, per_class: int, validation: float, test: float, seed: int
) -> None:
    images = made_images(tasks * per_task, per_class)
    settings = made_settings(classes_per_task=per_task, validation=validation, test=test, split_seed=seed)
    seen: list[tuple[int, int]] = []
    for task in split_tasks(images, settings):
        for split in ("train", "validation", "test"):
            labels = getattr(task, f"{split}_labels")
            truth = [identity[0] for identity in identities(getattr(task, f"{split}_images"))]
            assert [task.classes[label] for label in labels] == [images.class_names[each] for each in truth]
            assert len(set(Counter(truth).values())) <= 1, "every class has the same share of a split"
        tests = test if test >= 1 else test * per_class
        assert abs(len(task.test_labels) / per_task - tests) <= 0.5
        rest = per_class - len(task.test_labels) // per_task
        assert abs(len(task.validation_labels) / per_task - validation * rest) <= 0.5
        seen += all_of(task)
    assert sorted(seen) == sorted(identities(images.train_images))


@given(shuffle=st.randoms(use_true_random=False), seed=st.integers(0, 5))
def test_a_split_depends_on_the_images_and_the_seed_not_on_their_order(shuffle: object, seed: int) -> None:
    images = made_images(4, 12, tests=3)
    places = list(range(len(images.train_labels)))
    shuffle.shuffle(places)  # type: ignore[attr-defined]
    shuffled = replace(
        images, train_images=images.train_images[places], train_labels=images.train_labels[places]
    )
    settings = made_settings(test=0.0, split_seed=seed)
    for one, other in zip(split_tasks(images, settings), split_tasks(shuffled, settings), strict=True):
        assert torch.equal(one.train_images, other.train_images)
        assert torch.equal(one.validation_images, other.validation_images)
        assert torch.equal(one.test_labels, other.test_labels)


def test_another_seed_gives_another_split() -> None:
    images = made_images(2, 40)
    one, other = (next(split_tasks(images, made_settings(split_seed=seed))) for seed in (1, 2))
    assert set(identities(one.test_images)) != set(identities(other.test_images))


def test_a_task_does_not_depend_on_the_other_tasks() -> None:
    images = made_images(6, 12)
    settings = made_settings(classes_per_task=None, tasks="tasks.json")
    first = ("a", ("class03", "class01"))
    alone = next(split_tasks(images, settings, [first]))
    beside = list(split_tasks(images, settings, [("b", ("class00", "class05")), first]))[1]
    assert (alone.task, beside.task) == (1, 2)
    assert torch.equal(alone.train_images, beside.train_images)
    assert torch.equal(alone.test_images, beside.test_images)


def test_a_larger_validation_share_only_moves_images_from_train_to_validation() -> None:
    images = made_images(2, 20, tests=4)
    small, large = (
        next(split_tasks(images, made_settings(test=0.0, validation=share))) for share in (0.1, 0.3)
    )
    assert set(identities(small.validation_images)) < set(identities(large.validation_images))


def test_labels_follow_the_order_of_the_classes_in_the_task() -> None:
    images = made_images(4, 8)
    settings = made_settings(classes_per_task=None, tasks="tasks.json")
    task = next(split_tasks(images, settings, [("swapped", ("class02", "class00"))]))
    truth = [identity[0] for identity in identities(task.train_images)]
    assert set(zip(truth, task.train_labels.tolist(), strict=True)) == {(2, 0), (0, 1)}


@pytest.mark.parametrize(
    ("per_class", "tests", "classes", "validation", "test", "sizes"),
    [
        (500, 100, 10, 0.2, 0, (4000, 1000, 1000)),
        (500, 100, 5, 0.1, 0, (2250, 250, 500)),
        (500, 100, 5, 0.0, 0, (2500, 0, 500)),
        (600, 0, 5, 0.2, 100, (2000, 500, 500)),
        (600, 0, 5, 0.05, 100, (2375, 125, 500)),
    ],
)
def test_sizes_of_the_papers_benchmarks(
    per_class: int, tests: int, classes: int, validation: float, test: float, sizes: tuple[int, int, int]
) -> None:
    images = made_images(classes, per_class, tests)
    settings = made_settings(classes_per_task=classes, validation=validation, test=test)
    task = next(split_tasks(images, settings))
    assert (len(task.train_labels), len(task.validation_labels), len(task.test_labels)) == sizes
    assert task.validation_images.shape[1:] == (1, 2, 2), "an empty split keeps the image shape"


def test_seeded_order_is_the_permutation_of_random_state() -> None:
    images = made_images(100, 1)
    groups = task_groups(images, made_settings(classes_per_task=5, order="seeded", order_seed=37))
    order = np.random.RandomState(37).permutation(100)
    assert [name for _, classes in groups for name in classes] == [f"class{place:02d}" for place in order]


def test_superclass_order_makes_one_task_a_superclass() -> None:
    groups = {"second": ("class03", "class00"), "first": ("class01", "class02")}
    images = replace(made_images(4, 8), superclasses=groups)
    assert task_groups(images, made_settings(order="superclass")) == list(groups.items())


@pytest.mark.parametrize(
    ("changes", "listed", "words"),
    [
        ({"classes_per_task": 3}, None, "data.classes_per_task is 3"),
        ({"order": "superclass"}, None, "only cifar100"),
        ({"test": 0.0}, None, "data.test is 0"),
        ({}, [("a", ("class00",))], "task a has 1 classes"),
        ({}, [("a", ("class00", "dog"))], "class dog of task a"),
        ({}, [("a", ("class00", "class01")), ("b", ("class01", "class02"))], "listed in a and b"),
        ({"test": 1.0, "validation": 0.99}, None, "too few images for its train split"),
        ({"test": 0.01}, None, "too few images for its test split"),
        ({"validation": 0.01}, None, "too few images for its validation split"),
        ({"test": 100.0}, None, "too few images for its train split"),
    ],
)
def test_what_does_not_fit_is_named(
    changes: dict[str, object], listed: list[tuple[str, tuple[str, ...]]] | None, words: str
) -> None:
    with pytest.raises(UserError, match=words):
        list(split_tasks(made_images(4, 8), made_settings(**changes), listed))


def test_a_tasks_file_that_does_not_fit_the_images_is_named_with_its_path() -> None:
    settings = made_settings(tasks="mine/tasks.yaml", classes_per_task=None)
    with pytest.raises(UserError, match=r"tasks file mine/tasks\.yaml: task a has 1 classes"):
        list(split_tasks(made_images(4, 8), settings, [("a", ("class00",))]))


def test_a_test_share_beside_a_test_split_is_refused() -> None:
    with pytest.raises(UserError, match="has a test split"):
        list(split_tasks(made_images(4, 8, tests=2), made_settings(test=0.2)))


# --- task orders ------------------------------------------------------------------------------------------


def test_a_listed_order_moves_the_tasks_and_leaves_each_as_it_is() -> None:
    images = made_images(classes=6, per_class=10)
    usual = list(split_tasks(images, made_settings()))
    moved = list(split_tasks(images, made_settings(task_order=(3, 1, 2))))
    assert [task.task for task in moved] == [1, 2, 3]
    for after, before in zip(moved, (usual[2], usual[0], usual[1]), strict=True):
        assert (after.name, after.classes) == (before.name, before.classes)
        assert torch.equal(after.train_images, before.train_images)
        assert torch.equal(after.test_labels, before.test_labels)


def test_an_order_of_other_tasks_is_one_error() -> None:
    with pytest.raises(
        UserError, match=r"task_order is \(2, 1\), an order of 2 tasks, but there are 3; list"
    ):
        task_groups(made_images(6, 10), made_settings(task_order=(2, 1)))
    fives = replace(CIFAR, order="given", classes_per_task=5, task_order="B")
    with pytest.raises(UserError, match="task_order is B, an order of 10 tasks, but there are 20"):
        task_groups(cifar_without_images(), fives)


CIFAR = DataSettings("cifar100", classes_per_task=5, order="superclass")


def cifar_without_images() -> Images:
    none = torch.zeros(0, 3, 1, 1, dtype=torch.uint8), torch.zeros(0, dtype=torch.int64)
    return Images(*none, *none, CLASS_NAMES, SUPERCLASSES)


@pytest.mark.parametrize("order", PUBLISHED)
def test_each_published_order_holds_every_task_once(order: str) -> None:
    orders = PUBLISHED[order]
    assert list(orders) == ["A", "B", "C", "D", "E"]
    assert len(set(orders.values())) == 5
    for places in orders.values():
        assert sorted(places) == list(range({"given": 10, "superclass": 20}[order]))


def test_the_published_orders_by_hand() -> None:
    """Order B of APD: split begins with its second group, superclass with coarse label 15."""
    split = replace(CIFAR, order="given", classes_per_task=10, task_order="B")
    groups = task_groups(cifar_without_images(), split)
    assert [classes[0] for _, classes in groups] == [
        CLASS_NAMES[10 * k] for k in (1, 7, 4, 5, 2, 0, 8, 6, 9, 3)
    ]
    names = [name for name, _ in task_groups(cifar_without_images(), replace(CIFAR, task_order="E"))]
    assert names[:3] == ["household_furniture", "people", "aquatic_mammals"]
    usual = task_groups(cifar_without_images(), CIFAR)
    assert task_groups(cifar_without_images(), replace(CIFAR, task_order="A")) == usual
