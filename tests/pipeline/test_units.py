"""Which units a stage needs, and what makes two of them the same."""

import json
from abc import abstractmethod
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lsg.methods import METHODS
from lsg.methods.scratch import Scratch
from pipeline.errors import UserError
from pipeline.units.plan import read_manifest
from pipeline.units.unit import Unit
from tests.pipeline.tiny_experiment import CPU, prepared_digits, tiny_plan, with_train

GOALS = {1: {1: 0.9, 2: 0.8}, 2: {1: 0.7, 2: 0.6}}


def scratch() -> Unit:
    return tiny_plan().units("targets")[0]


def test_baselines_are_one_unit_a_seed_and_task_and_fine_tune_starts_from_task_1() -> None:
    units = tiny_plan("seeds=[1,2]").units("targets")
    assert [(unit.method, unit.seed, unit.tasks) for unit in units] == [
        ("scratch", 1, (1,)),
        ("scratch", 1, (2,)),
        ("fine-tune", 1, (2,)),
        ("scratch", 2, (1,)),
        ("scratch", 2, (2,)),
        ("fine-tune", 2, (2,)),
    ]
    assert units[2].start == units[0]
    assert units[5].start == units[3]


def test_fine_tune_from_random_tasks_is_one_unit_a_seed() -> None:
    units = tiny_plan("learn.fine-tune.start=random_previous").units("targets")
    assert [(unit.method, unit.tasks, unit.start) for unit in units][-1] == ("fine-tune", (1, 2), None)


def test_fine_tune_is_learned_only_where_it_is_asked_for() -> None:
    assert {unit.method for unit in tiny_plan("methods=[cl-lsg]").units("targets")} == {"scratch"}
    best = tiny_plan("methods=[cl-lsg]", "targets.rule=best_of").units("targets")
    assert {unit.method for unit in best} == {"scratch", "fine-tune"}


def test_other_methods_are_one_unit_a_seed_with_that_seeds_goals() -> None:
    units = tiny_plan("seeds=[1,2]").units("learn", GOALS)
    assert [(unit.method, unit.seed, unit.tasks, unit.goals) for unit in units] == [
        ("cl-lsg", 1, (1, 2), {1: 0.9, 2: 0.8}),
        ("cl-lsg", 2, (1, 2), {1: 0.7, 2: 0.6}),
    ]


def test_more_tasks_than_there_are_is_an_error() -> None:
    count = len(tiny_plan().manifest["tasks"])
    assert replace(tiny_plan(), first=count).tasks == tuple(range(1, count + 1))
    with pytest.raises(UserError, match=f"has {count} tasks, fewer than --tasks {count + 1}"):
        replace(tiny_plan(), first=count + 1)


def test_tasks_without_validation_images_are_refused_where_they_decide() -> None:
    manifest = tiny_plan().manifest
    bare = {**manifest, "tasks": [{**entry, "validation": 0} for entry in manifest["tasks"]]}
    with pytest.raises(UserError, match=r"set presets\.digits\.data\.validation above 0 .* protocol=paper"):
        replace(tiny_plan(), manifest=bare)
    assert replace(tiny_plan("protocol=paper"), manifest=bare).units("targets")


def test_a_method_that_lacks_a_part_is_named_before_anything_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    class Unfinished(Scratch):
        @abstractmethod
        def missing(self) -> None: ...

    monkeypatch.setitem(METHODS, "cl-lsg", Unfinished)
    with pytest.raises(UserError, match=r"digits, learn.cl-lsg: .*abstract.* missing"):
        tiny_plan("methods=[cl-lsg]")


def test_a_method_within_the_sizes_of_another_is_a_unit_once_those_are_known() -> None:
    plan = tiny_plan("methods=[cl-lsg,grow-matched]")
    assert [unit.method for unit in plan.units("learn", GOALS)] == ["cl-lsg"]
    small, large = (plan.units("sized", GOALS, {("cl-lsg", 1): (0.1, size)})[0] for size in (0.2, 0.3))
    assert small.settings.sizes == (0.1, 0.2)
    assert small.key != large.key
    with pytest.raises(UserError, match=r"learn\.grow-matched\.sizes: they are those of cl-lsg; leave them"):
        tiny_plan("methods=[cl-lsg,grow-matched]", "learn.grow-matched.sizes=[0.5]")


def test_a_method_within_the_sizes_of_one_that_is_not_listed_is_refused() -> None:
    with pytest.raises(UserError, match="grow-matched stays within the sizes of cl-lsg; list cl-lsg too"):
        tiny_plan("methods=[scratch,grow-matched]")


def test_fewer_tasks_keep_the_units_of_single_tasks() -> None:
    few = [unit.key for unit in tiny_plan(tasks=2).units("targets") if unit.method == "scratch"]
    more = [unit.key for unit in tiny_plan(tasks=3).units("targets") if unit.method == "scratch"]
    assert few == more[:2]


def test_a_missing_goal_is_named() -> None:
    with pytest.raises(UserError, match="no goal for seed 1, task 2 of digits; run `cl-lsg targets digits`"):
        tiny_plan().units("learn", {1: {1: 0.9}})


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 2},
        {"method": "fine-tune"},
        {"protocol": "paper"},
        {"tasks": (2,)},
        {"network": {"name": "lenet", "width": 3}},
        {"data": "other"},
        {"code": "other"},
        {"goals": {1: 0.5}},
        {"numerics": replace(CPU, threads=2)},
        {"numerics": replace(CPU, device="cuda")},
        {"numerics": replace(CPU, torch="2.0")},
    ],
)
def test_all_that_decides_the_bytes_changes_the_key(change: dict[str, Any]) -> None:
    assert replace(scratch(), **change).key != scratch().key


def test_the_key_of_the_start_is_part_of_the_key() -> None:
    first, other, tuned = tiny_plan().units("targets")
    assert replace(tuned, start=other).key != tuned.key
    assert replace(tuned, start=replace(first, code="changed")).key != tuned.key


def test_training_settings_change_the_key_and_where_data_lies_does_not(tmp_path: Path) -> None:
    assert with_train(scratch(), lr=0.02).key != scratch().key
    assert with_train(scratch(), precision="bfloat16").key != scratch().key
    assert replace(scratch(), prepared=tmp_path, task_steps=(1,), macs=1).key == scratch().key


def test_another_method_or_seed_in_the_experiment_leaves_keys_alone() -> None:
    few = {unit.key for unit in tiny_plan("methods=[scratch]").units("targets")}
    many = {unit.key for unit in tiny_plan("seeds=[1,2,3]", "learn.cl-lsg.cap=1.1").units("targets")}
    assert few < many


def test_labels_tell_single_tasks_from_sequences() -> None:
    labels = [unit.label for unit in tiny_plan().units("targets")]
    assert labels == ["seed1-task01", "seed1-task02", "seed1-task02"]
    assert tiny_plan().units("learn", GOALS)[0].label == "seed1"


def test_steps_count_batches_and_the_second_stage_of_growing_methods() -> None:
    first, second = (entry["train"] for entry in tiny_plan().manifest["tasks"][:2])
    batches = [-(-first // 32), -(-second // 32)]
    plan = tiny_plan("train.epochs=3")
    assert [unit.steps for unit in plan.units("targets")][:2] == [3 * batches[0], 3 * batches[1]]
    assert plan.units("learn", GOALS)[0].steps == 3 * batches[0] + 6 * batches[1]


def test_work_counts_the_widest_network_that_a_method_may_train() -> None:
    plan = tiny_plan("methods=[scratch,grow,cl-lsg]", "learn.cl-lsg.cap=4", "learn.grow.sizes=[0.25,1]")
    first, second = (3 * entry["train"] for entry in plan.manifest["tasks"][:2])
    dense, twice = lenet_macs(1), lenet_macs(2)
    assert plan.units("targets")[0].macs == first * dense
    work = {unit.method: unit.macs for unit in plan.units("learn", GOALS)}
    assert work == {"grow": (first + second) * dense, "cl-lsg": (first + 2 * second) * twice}


def lenet_macs(wider: int) -> int:
    """Of one 8x8 image and two classes, with every layer so many times as wide as at 1x."""
    conv1, conv2, fc1, fc2 = (wider * width for width in (20, 50, 800, 500))
    return 64 * 25 * conv1 + 16 * 25 * conv1 * conv2 + 4 * conv2 * fc1 + fc1 * fc2 + 2 * fc2


def test_the_unit_with_more_steps_may_have_less_work() -> None:
    plan = tiny_plan(
        "methods=[scratch,packnet,cl-lsg]", "learn.cl-lsg.cap=4", "learn.packnet.retrain_epochs=2"
    )
    packnet, cl_lsg = sorted(plan.units("learn", GOALS), key=lambda unit: unit.macs)
    assert (packnet.method, cl_lsg.method) == ("packnet", "cl-lsg")
    assert packnet.steps > cl_lsg.steps


def test_images_that_the_network_does_not_take_are_refused() -> None:
    with pytest.raises(UserError, match="presets.digits.network: "):
        tiny_plan("presets.digits.network.name=vgg16-bn").units("targets")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            "learn.cl-lsg.cap=0.0001",
            r"digits, learn\.cl-lsg: cap is \S+; allowed: at least the size of the seed network",
        ),
        ("train.crop_padding=8", r"digits, train\.crop_padding: is 8; allowed: less than the 8 pixels"),
    ],
)
def test_what_does_not_fit_is_told_before_anything_is_learned(change: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        tiny_plan(change)


def test_missing_and_damaged_prepared_data_name_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="manifest.json is not there; run `cl-lsg prepare digits`"):
        read_manifest(tmp_path / "digits")
    (tmp_path / "manifest.json").write_text(
        (prepared_digits() / "tasks/digits/manifest.json").read_text()[:50]
    )
    with pytest.raises(UserError, match="manifest.json is damaged"):
        read_manifest(tmp_path)


@pytest.mark.parametrize(
    "change",
    [{"tasks": []}, {"tasks": [1, 2]}, {"tasks": None}, {"image_shape": None}, {"image_shape": [1, 8]}],
)
def test_a_manifest_of_another_shape_is_damaged(tmp_path: Path, change: dict[str, Any]) -> None:
    content = json.loads((prepared_digits() / "tasks/digits/manifest.json").read_text())
    (tmp_path / "manifest.json").write_text(json.dumps(content | change))
    with pytest.raises(UserError, match="manifest.json is damaged; run `cl-lsg prepare"):
        read_manifest(tmp_path)
