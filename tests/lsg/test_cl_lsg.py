"""The parts of CL-LSG change exactly what they name."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch

from lsg.bank import FREE, Bank
from lsg.checkpoint import Checkpoints
from lsg.events import EventLog
from lsg.masked import MaskedTraining
from lsg.methods import METHODS
from lsg.methods.ablation import GrowSel, GrowSelLsg, GrowTarget
from lsg.methods.cl_lsg import PARTS, SHUT, ClLsg, ClLsgSettings, GrowFrom
from lsg.methods.grow import Grow, GrowSettings
from lsg.networks import NETWORKS
from lsg.networks.architecture import HEAD
from lsg.protocol import Protocol
from lsg.schedules import MaskRates, drops_before
from lsg.train_settings import TrainSettings
from lsg.training import Stage, Trainer
from lsg.update import Masking
from lsg.widths import cap_widths, widths_at
from lsg.workspace import Workspace
from tests.lsg.tiny import IMAGE_SHAPE, tiny_architecture, tiny_task

FIELDS = ("weight.value", "trainable", "masked", "logit.value")


def trainer(tmp_path: Path) -> Trainer:
    settings = TrainSettings(epochs=4, batch_size=8, lr=0.05)
    return Trainer(settings, 1, EventLog(tmp_path / "events.jsonl"), Checkpoints(tmp_path, 1e9))


def learned(tmp_path: Path, **parts: Any) -> ClLsg:
    """After task 1 of a run in which the masks of a third of the kernels are off."""
    method = ClLsg(tiny_architecture(), ClLsgSettings(cap=2.0, **parts), "paper", seed=1)
    one = ClLsg(tiny_architecture(), ClLsgSettings(cap=2.0), "paper", seed=1)
    one.learn(tiny_task(1), None, trainer(tmp_path))
    solution = one.bank.solution(1)
    draw = torch.Generator().manual_seed(0)
    for used in solution.used.values():
        used &= torch.rand(used.shape, generator=draw) < 0.67
    method.bank.add(1, solution)
    return method


def picked(method: ClLsg, tmp_path: Path) -> dict[str, dict[str, torch.Tensor]]:
    """Per-kernel state of each layer at the start of task 2's stage 1."""
    workspace = method._picked(tiny_task(2), trainer(tmp_path))
    tensors, table = workspace.tensors(), workspace.table
    return {
        layer.name: {name: table.kernel_grid(tensors[name], layer.name) for name in FIELDS[1:]}
        | {"weight.value": table.grid(tensors["weight.value"], layer.name)}
        for layer in table.layers
    }


def test_all_parts_mask_everything_and_train_what_is_free(tmp_path: Path) -> None:
    method = learned(tmp_path)
    state = picked(method, tmp_path)
    for name, owners in method.bank.owners.items():
        assert state[name]["masked"].all()
        assert torch.equal(state[name]["trainable"], owners == FREE)
        alive = (owners != FREE).any(1, keepdim=True).expand_as(owners)
        assert (state[name]["weight.value"][(owners == FREE) & alive] == 0).all()
        assert torch.equal(
            state[name]["weight.value"][owners != FREE], method.bank.weights[name][owners != FREE]
        )
    assert state[HEAD]["trainable"].all()
    assert not state[HEAD]["masked"].any()


@pytest.mark.parametrize("part", ["selective", "attentive", "retrain"])
def test_a_part_changes_only_the_kernels_it_names(tmp_path: Path, part: str) -> None:
    whole, without = learned(tmp_path), learned(tmp_path, **{part: False})
    before, after = picked(whole, tmp_path), picked(without, tmp_path)
    changed = 0
    for name, owners in whole.bank.owners.items():
        named = owners != FREE if part == "selective" else owners == FREE
        for field in FIELDS:
            difference = before[name][field] != after[name][field]
            difference = difference.any(2) if difference.dim() == 3 else difference
            assert not difference[~named].any(), (name, field)
            changed += int(difference.sum())
    assert changed > 0


def test_without_retraining_released_kernels_stay_shut(tmp_path: Path) -> None:
    method = learned(tmp_path, retrain=False)
    free = {name: owners == FREE for name, owners in method.bank.owners.items()}
    state = picked(method, tmp_path)
    for name, grid in free.items():
        assert not state[name]["trainable"][grid].any()
        assert (state[name]["logit.value"][grid] == SHUT).all()
    method.learn(tiny_task(2), 0.0, trainer(tmp_path))
    for name, grid in free.items():
        assert (method.bank.owners[name][grid] == FREE).all()


@pytest.mark.parametrize(
    ("parts", "released", "factors"),
    [({}, True, (0.2, 0.0)), ({"retrain": False}, True, (0.2,)), ({}, False, (0.2,))],
)
def test_masks_rest_only_for_kernels_that_are_trained(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    parts: dict[str, bool],
    released: bool,
    factors: tuple[float, ...],
) -> None:
    """Stage 1 of task 2, with and without released kernels; then stage 2, whose candidates are trained."""
    method = learned(tmp_path, **parts)
    if not released:
        for owners in method.bank.owners.values():
            owners.clamp_(min=1)
    seen: list[tuple[float, ...]] = []
    run = Trainer.run

    def noted(self: Trainer, stage: Stage, *rest: Any) -> None:
        seen.append(stage.mask_rates.factors)
        run(self, stage, *rest)

    monkeypatch.setattr(Trainer, "run", noted)
    (tmp_path / "task2").mkdir()
    method.learn(tiny_task(2), 1.01, trainer(tmp_path / "task2"))
    assert seen == [factors, (0.2, 0.0)]


def test_a_released_kernel_that_no_gradient_reaches_stays_released(tmp_path: Path) -> None:
    """Of task 2 the second channel is black, so what reads it learns nothing."""
    one = ClLsg(tiny_architecture(), ClLsgSettings(cap=2.0), "paper", seed=1)
    one.learn(tiny_task(1), None, trainer(tmp_path))
    solution = one.bank.solution(1)
    solution.used["stem"][0, 1] = solution.used["stem"][1, 0] = False
    method = ClLsg(tiny_architecture(), ClLsgSettings(cap=2.0), "paper", seed=1)
    method.bank.add(1, solution)
    task = replace(tiny_task(2), mean=(0.3, 0.0))
    for split in (task.train, task.validation):
        split.images[:, 1] = 0
    run = trainer(tmp_path)
    run.begin_task(2, None)
    method.learn(task, 0.0, run)
    assert method.bank.owners["stem"].tolist()[0] == [1, FREE]
    assert method.bank.owners["stem"].tolist()[1] == [2, 1]


@pytest.mark.parametrize("grow_from", ["reused", "picked"])
def test_stage_2_begins_where_stage_1_ended_or_began(
    tmp_path: Path, grow_from: GrowFrom, monkeypatch: pytest.MonkeyPatch
) -> None:
    method = learned(tmp_path, grow_from=grow_from)
    starts, ends = [], []
    train = ClLsg._train

    def watched(self: ClLsg, number: int, workspace: Workspace, *rest: Any) -> Workspace:
        starts.append({name: grid.clone() for name, grid in workspace.weight_grids().items()})
        ended = train(self, number, workspace, *rest)
        ends.append({name: grid.clone() for name, grid in ended.weight_grids().items()})
        return ended

    monkeypatch.setattr(ClLsg, "_train", watched)
    run = trainer(tmp_path)
    run.begin_task(2, None)
    method.learn(tiny_task(2), 1.01, run)
    begun = ends[0] if grow_from == "reused" else starts[0]
    for name, grid in begun.items():
        assert torch.equal(starts[1][name][: grid.shape[0], : grid.shape[1]], grid), name
        assert not torch.equal(starts[0][HEAD], ends[0][HEAD])


@pytest.mark.parametrize(
    ("protocol", "told", "answers"),
    [
        ("clean", (0.5, 0.6), [True, True]),
        ("clean", (0.5, 0.5), [True, False]),
        ("clean", (0.5, 0.4), [True, False]),
        ("paper", (0.5, 0.4), [True, True]),
        ("clean", (0.9,), [False]),
    ],
)
def test_stage_2_comes_below_the_goal_and_is_kept_in_clean_if_it_is_better(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    protocol: Protocol,
    told: tuple[float, ...],
    answers: list[bool],
) -> None:
    method, accuracies = learned(tmp_path), iter(told)
    method.protocol = protocol
    before = method.bank.widths
    monkeypatch.setattr(ClLsg, "judged", lambda *_: next(accuracies))
    lesson = method.learn(tiny_task(2), 0.9, trainer(tmp_path))
    assert [decision["answer"] for decision in lesson.decisions] == answers
    assert [decision["value"] for decision in lesson.decisions] == list(told)
    assert list(lesson.stage_accuracy.values()) == list(told)
    kept = "target_met" if answers == [False] else "kept_stage_1"
    assert lesson.reason in (("grew", "grew_zero") if answers[-1] else (kept,))
    assert (method.bank.widths != before) == (lesson.reason == "grew")


def test_growth_alone_owns_every_kernel_that_it_keeps(tmp_path: Path) -> None:
    settings = ClLsgSettings(cap=2.0, selective=False, attentive=False, retrain=False)
    method = ClLsg(tiny_architecture(), settings, "paper", seed=1)
    run = trainer(tmp_path)
    method.learn(tiny_task(1), None, run)
    assert method.bank.released_share() == 0
    widths = dict(method.bank.widths)
    run.begin_task(2, None)
    run.checkpoints.clear()
    method.learn(tiny_task(2), 1.01, run)
    assert method.bank.released_share() == 0
    assert all(method.bank.widths[stream] >= width for stream, width in widths.items())
    for used in method.bank.solution(2).used.values():
        assert used.all()


def test_grow_by_default_grows_at_every_task_and_not_beyond_its_sizes(tmp_path: Path) -> None:
    architecture = tiny_architecture()
    sizes = (0.3, 0.6, 0.6)
    method = Grow(architecture, GrowSettings(cap=2.0, gate_init=0.05, sizes=sizes), "clean", seed=1)
    run, reasons = trainer(tmp_path), []
    for number, size in enumerate(sizes, start=1):
        run.begin_task(number, None)
        lesson = method.learn(tiny_task(number), 0.0, run)
        reasons.append(lesson.reason)
        run.checkpoints.clear()
        caps = cap_widths(architecture, size)
        assert all(method.bank.widths[stream] <= cap for stream, cap in caps.items())
    assert reasons == ["grew", "grew", "no_room"]
    assert list(lesson.stage_accuracy) == [1]


def test_a_task_takes_no_more_than_its_share_of_what_is_left(tmp_path: Path) -> None:
    """Gates that start far open keep every candidate, so each task takes what it may."""
    architecture, taken = tiny_architecture(), {}
    dense = architecture.weights(architecture.streams)
    for share in (0.25, 1.0):
        settings = ClLsgSettings(cap=0.9, width_cap=1.5, growth_share=share, gate_init=1.0)
        method, run = ClLsg(architecture, settings, "paper", seed=1), trainer(tmp_path)
        sizes = [architecture.weights(widths_at(architecture, settings.seed_fraction)) / dense]
        for number in (1, 2, 3):
            run.begin_task(number, None)
            method.learn(tiny_task(number), 1.01, run)
            run.checkpoints.clear()
            sizes.append(architecture.weights(method.bank.widths) / dense)
        taken[share] = [(after - now) / (0.9 - now) for now, after in pairwise(sizes) if now < 0.85]
    assert len(taken[0.25]) == 3
    assert all(0.1 < part <= 0.25 for part in taken[0.25])
    assert 0.4 < taken[1.0][0] <= 1.0


def test_a_stream_may_outgrow_the_others(tmp_path: Path) -> None:
    architecture = tiny_architecture()
    with_own = ClLsg(architecture, ClLsgSettings(cap=0.5, width_cap=1.5), "paper", seed=1)._room(
        dict.fromkeys(architecture.streams, 1)
    )
    alike = ClLsg(architecture, ClLsgSettings(cap=0.5), "paper", seed=1)._room(with_own.widths)
    assert with_own.widths == {"outer": 12, "inner": 12, "hidden": 24}
    assert alike.widths == {"outer": 5, "inner": 5, "hidden": 11}
    assert with_own.weights == alike.weights == 0.5 * architecture.weights(architecture.streams)


def test_a_width_cap_loses_no_channel_by_rounding() -> None:
    lenet = NETWORKS["lenet"]((3, 32, 32))
    widest = ClLsg(lenet, ClLsgSettings(width_cap=1.14), "paper", seed=1)._room(lenet.streams).widths
    assert widest == {"conv1": 22, "conv2": 57, "fc1": 912, "fc2": 570}


def test_a_cap_below_the_seed_network_is_refused() -> None:
    """An eighth of 3 channels is no channel, so small seeds are larger than the fraction squared."""
    architecture = tiny_architecture()
    with pytest.raises(
        ValueError, match=r"cap is .*; allowed: at least the size of the seed network, 0\.0\d+"
    ):
        ClLsg(architecture, ClLsgSettings(cap=0.0157), "paper", seed=1)


@pytest.mark.parametrize(
    ("epochs", "drops"), [(1, [0]), (2, [0, 2]), (4, [0, 0, 1, 2]), (5, [0, 0, 0, 1, 2])]
)
def test_drops_are_rounded_half_up_and_none_acts_in_the_first_epoch(epochs: int, drops: list[int]) -> None:
    assert [drops_before(epoch + 1, epochs, (0.5, 0.7)) for epoch in range(epochs)] == drops
    assert drops_before(1, epochs, (0.1,)) == 0
    assert MaskRates(5e-4, (0.3, 0.4), (0.2, 0.0)).at(1, 1) == 5e-4


@pytest.mark.parametrize(
    ("method", "changed"),
    [
        ("grow-target", "selective"),
        ("grow+sel", "selective"),
        ("grow+sel+lsg", "retrain"),
        ("grow", "attentive"),
        ("grow-matched", "retrain"),
    ],
)
def test_what_makes_a_method_itself_is_not_a_parameter(method: str, changed: str) -> None:
    settings = METHODS[method].Settings
    with pytest.raises(ValueError, match=f"{changed} is .*; allowed: .*, which makes this method what it is"):
        settings(**{changed: not getattr(settings, changed)})


def test_grow_refuses_sizes_that_fall() -> None:
    with pytest.raises(ValueError, match="sizes is .*; allowed"):
        GrowSettings(sizes=(0.5, 0.4))


def test_the_rows_of_the_ablation_add_one_part_each() -> None:
    rows = [GrowTarget, GrowSel, GrowSelLsg, ClLsg]
    parts = [(s.selective, s.attentive, s.retrain) for s in (row.Settings() for row in rows)]
    assert parts == [(False, False, False), (True, False, False), (True, True, False), (True, True, True)]
    common = {name: value for name, value in vars(ClLsgSettings()).items() if name not in PARTS}
    assert all(vars(row.Settings()).items() >= common.items() for row in rows)


def test_without_linear_masks_a_task_uses_whole_fully_connected_layers_and_stores_no_bits_of_them(
    tmp_path: Path,
) -> None:
    sizes = {}
    for masks in (True, False):
        method = ClLsg(
            NETWORKS["lenet"](IMAGE_SHAPE),
            ClLsgSettings(cap=2.0, gate_init=0.05, linear_masks=masks, mask_lr=0.01),
            "paper",
            seed=1,
        )
        run = trainer(tmp_path)
        for number in (1, 2):
            run.begin_task(number, number - 1 or None)
            method.learn(tiny_task(number), 1.01, run)
            run.checkpoints.clear()
        used = method.bank.solution(2).used
        assert used["fc2"].all() == (not masks)
        assert not used["conv2"].all()
        sizes[masks] = len(method.bank.tensors(2)["fc2.used"])
        restored = Bank(method.architecture)
        for number in (1, 2):
            restored.add_tensors(number, method.bank.tensors(number))
        assert torch.equal(restored.solution(2).used["fc2"], used["fc2"])
    assert sizes[False] == 0 < sizes[True]


def test_a_mask_penalty_releases_more(tmp_path: Path) -> None:
    shares = []
    for number, penalty in enumerate((0.0, 1.0)):
        method = ClLsg(tiny_architecture(), ClLsgSettings(cap=2.0, mask_penalty=penalty), "paper", seed=1)
        (tmp_path / str(number)).mkdir()
        method.learn(tiny_task(1), None, trainer(tmp_path / str(number)))
        shares.append(method.bank.released_share())
    assert shares[0] < shares[1]


def test_a_later_task_takes_released_kernels_whatever_the_mask_penalty(tmp_path: Path) -> None:
    """They start at weight 0, where the loss cannot say yet that a mask is worth its price."""
    run = trainer(tmp_path)
    method = ClLsg(tiny_architecture(), ClLsgSettings(cap=2.0, mask_penalty=1.0), "paper", seed=1)
    method.learn(tiny_task(1), None, run)
    free = method.bank.released_share()
    run.begin_task(2, 1)
    run.checkpoints.clear()
    method.learn(tiny_task(2), 0.0, run)
    assert method.bank.released_share() < free / 2


def test_the_mask_penalty_is_for_task_1_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Task 1, stage 1 and stage 2 of task 2, stage 1 of task 3, which meets its goal."""
    penalties = []

    class Noted(MaskedTraining):
        def __init__(self, workspace: Workspace, masking: Masking, *rest: Any) -> None:
            penalties.append(masking.mask_penalty)
            super().__init__(workspace, masking, *rest)

    monkeypatch.setattr("lsg.methods.cl_lsg.MaskedTraining", Noted)
    method = ClLsg(tiny_architecture(), ClLsgSettings(cap=2.0, mask_penalty=0.25), "paper", seed=1)
    run = trainer(tmp_path)
    for number, goal in ((1, None), (2, 1.01), (3, 0.0)):
        run.begin_task(number, number - 1 or None)
        method.learn(tiny_task(number), goal, run)
        run.checkpoints.clear()
    assert penalties == [0.25, 0.0, 0.0, 0.0]


def test_later_masks_of_weights_divide_the_network_from_task_2_on_and_leave_task_1_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Task 1 learns the same network either way; task 2 has a logit a weight, and drops parts of kernels."""
    areas: list[set[int]] = []
    train = ClLsg._train

    def watched(self: ClLsg, number: int, workspace: Workspace, *rest: Any) -> Workspace:
        trained = train(self, number, workspace, *rest)
        areas.append({block.area for block in trained.table.blocks})
        return trained

    monkeypatch.setattr(ClLsg, "_train", watched)
    after_1, after_2 = {}, {}
    for later in ("kernel", "weight"):
        settings = ClLsgSettings(cap=2.0, gate_init=0.05, later_masks=later, mask_lr=0.02)
        method, run = ClLsg(tiny_architecture(), settings, "paper", seed=1), trainer(tmp_path)
        run.begin_task(1, None)
        method.learn(tiny_task(1), None, run)
        after_1[later] = method.network(1).state_dict()
        run.checkpoints.clear()
        run.begin_task(2, 1)
        method.learn(tiny_task(2), 1.01, run)
        after_2[later] = method
        run.checkpoints.clear()
    assert areas == [{1, 4, 9}] * 3 + [{1, 4, 9}, {1}, {1}]
    for name, tensor in after_1["kernel"].items():
        assert torch.equal(tensor, after_1["weight"][name]), name
        assert torch.equal(tensor, after_2["weight"].network(1).state_dict()[name]), name
    single = after_2["weight"].bank
    conv2 = single.solution(2).used["conv2"]
    by_kernel = conv2.view(len(conv2), -1, 9)
    assert (by_kernel.any(2) & ~by_kernel.all(2)).any(), "some kernel is used in part"
    restored = Bank(after_2["weight"].architecture)
    for number in (1, 2):
        restored.add_tensors(number, single.tensors(number))
        for name, tensor in single.network(number).state_dict().items():
            assert torch.equal(restored.network(number).state_dict()[name], tensor), name


def test_growth_alone_has_whole_kernels_whatever_later_masks_says() -> None:
    method = GrowTarget(
        tiny_architecture(), GrowTarget.Settings(cap=2.0, later_masks="weight"), "paper", seed=1
    )
    assert {layer.area for layer in method.architecture.layers} == {4, 9}


def test_a_stage_takes_its_share_of_the_epochs_in_each_task(tmp_path: Path) -> None:
    """Half of 4: both stages of task 2, and the plan's most epochs."""
    method = ClLsg(tiny_architecture(), ClLsgSettings(cap=2.0, stage_epochs=0.5), "paper", seed=1)
    run = trainer(tmp_path)
    epochs = []
    for number, goal in ((1, None), (2, 1.01)):
        run.begin_task(number, number - 1 or None)
        method.learn(tiny_task(number), goal, run)
        epochs.append([log.epochs for log in run.logs])
        run.checkpoints.clear()
    assert epochs == [[2], [2, 2]]
    assert [ClLsg.most_epochs(method.settings, 4, first) for first in (True, False)] == [2, 4]
    by_default = GrowSettings(stage_epochs=0.5)
    assert [Grow.most_epochs(by_default, 4, first) for first in (True, False)] == [2, 2]
