"""CPG: what is cut when, who owns what, when it grows and stops, and that it resumes and forgets nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.func import functional_call
from torch.nn.functional import cross_entropy

from lsg.bank import FREE
from lsg.certificate import verify
from lsg.checkpoint import Checkpoints
from lsg.events import Event, EventLog
from lsg.job import Job
from lsg.methods import METHODS
from lsg.methods.cpg import (
    COMPACT,
    RETRAIN,
    Cpg,
    CpgSettings,
    Retraining,
    chosen_level,
    forced_sparsity,
    multipliers,
)
from lsg.methods.elementwise import (
    GradualPruning,
    PiggyUpdate,
    Ramp,
    SingleWeights,
    WeightTraining,
    cubic_sparsity,
)
from lsg.methods.method import Lesson
from lsg.methods.scratch import Scratch, ScratchSettings
from lsg.networks import NETWORKS
from lsg.networks.architecture import HEAD
from lsg.optimizers import SGD, Adam
from lsg.records import RunDirectory
from lsg.sequence import learn_sequence
from lsg.train_settings import TrainSettings
from lsg.training import Stage, Trainer
from lsg.widths import cap_widths, widths_at
from lsg.workspace import Workspace
from tests.lsg.reference import PlainAdam, hard
from tests.lsg.tiny import deterministic_files, tiny_architecture, tiny_task, write_tiny_tasks

TRAIN = TrainSettings(epochs=6, batch_size=8, lr=0.05)
SHORT = {
    "levels": (0.3, 0.6, 0.9),
    "level_epochs": 0.5,
    "prune_share": 0.7,
    "prune_frequency": 3,
    "retrain_epochs": 0.7,
}
"""Three levels of three epochs; 15 steps each, of which 10 prune."""
OUT_OF_REACH = 1.01


@pytest.fixture(autouse=True)
def tiny_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(NETWORKS, "tiny", lambda shape: tiny_architecture())
    monkeypatch.setitem(METHODS, "cpg", Cpg)
    monkeypatch.setattr("lsg.sequence.certificate.verify_in_fresh_process", verify)


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_tasks(tmp_path_factory.mktemp("tasks") / "tiny", 3)


def job(data: Path, protocol: str = "paper", goal: float = OUT_OF_REACH, **settings: object) -> Job:
    return Job(
        benchmark="tiny",
        method="cpg",
        protocol=protocol,  # type: ignore[arg-type]
        seed=1,
        tasks=(1, 2, 3),
        data=data,
        network={"name": "tiny"},
        train=TRAIN,
        settings=CpgSettings(**(SHORT | settings)),  # type: ignore[arg-type]
        goals=dict.fromkeys((1, 2, 3), goal),
    )


def trainer(path: Path, task: int = 1, epochs: int = 6) -> Trainer:
    path.mkdir(exist_ok=True)
    settings = replace(TRAIN, epochs=epochs)
    made = Trainer(settings, 1, EventLog(path / "events.jsonl"), Checkpoints(path, 1e9))
    made.begin_task(task, None)
    return made


def cpg(protocol: str = "paper", **settings: object) -> Cpg:
    return Cpg(tiny_architecture(), CpgSettings(**(SHORT | settings)), protocol, seed=1)  # type: ignore[arg-type]


# Numbers by hand


def test_sparsity_rises_cubically_and_reaches_its_target() -> None:
    assert cubic_sparsity(0.0, 0.1, 0.2) == pytest.approx(0.1)
    assert cubic_sparsity(0.5, 0.1, 0.2) == pytest.approx(0.2 - 0.1 / 8)
    assert cubic_sparsity(1.0, 0.1, 0.2) == 0.2
    ramp = Ramp(0.0, 0.5, steps=5, frequency=2)
    cuts = {step: ramp.at(step) for step in range(1, 8)}
    assert cuts[1] is cuts[3] is cuts[6] is cuts[7] is None
    assert cuts[2] == pytest.approx(0.5 - 0.5 * 0.6**3)
    assert cuts[4] == pytest.approx(0.5 - 0.5 * 0.2**3)
    assert cuts[5] == 0.5


def test_size_grows_in_steps_and_ends_at_the_cap() -> None:
    assert multipliers(1.5, 0.5) == [1.0, 1.5]
    assert multipliers(1.3, 0.5) == multipliers(1.3, 0.3) == [1.0, 1.3]
    assert multipliers(2.0, 0.5) == [1.0, 1.5, 2.0]
    assert multipliers(1.0, 0.5) == [1.0]
    assert cap_widths(tiny_architecture(), 1.5) == {"outer": 9, "inner": 9, "hidden": 19}


def test_the_sparsest_level_that_meets_the_goal_is_chosen() -> None:
    table = {0.1: 0.80, 0.2: 0.70, 0.3: 0.75, 0.4: 0.60}
    assert chosen_level(table, goal=0.75, forced=False) == 0.3
    assert chosen_level(table, goal=0.80, forced=False) == 0.1
    assert chosen_level(table, goal=0.81, forced=False) == 0.0
    assert chosen_level(table, goal=0.81, forced=True) == 0.4
    assert chosen_level({}, goal=0.0, forced=True) == 0.0


def test_a_missed_goal_leaves_room_for_the_tasks_that_remain() -> None:
    limits = {remaining: forced_sparsity(remaining) for remaining in (30, 20, 19, 6, 5, 3, 2, 1, 0, None)}
    assert limits == {30: 0.9, 20: 0.9, 19: 0.9, 6: 0.9, 5: 0.8, 3: 0.8, 2: 0.7, 1: 0.5, 0: 0.0, None: 0.9}


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"cap": 0.9}, "cap"),
        ({"stage_epochs": 0.0}, "stage_epochs"),
        ({"grow_step": 0.0}, "grow_step"),
        ({"grow_step": 0.001}, "grow_step"),
        ({"levels": (0.5, 0.3)}, "levels"),
        ({"levels": (0.5, 1.0)}, "levels"),
        ({"mask_lr_factors": (0.2,)}, "mask_lr_factors"),
        ({"mask_lr_factors": (0.2, -1.0)}, "mask_lr_factors"),
        ({"prune_frequency": 0}, "prune_frequency"),
        ({"prune_share": 1.2}, "prune_share"),
        ({"train_accuracy": 95.0}, "train_accuracy"),
    ],
)
def test_settings_out_of_range_are_named(change: dict[str, object], name: str) -> None:
    with pytest.raises(ValueError, match=f"^{name} is .*; allowed: "):
        CpgSettings(**change)  # type: ignore[arg-type]


# Cutting


def test_a_cut_frees_the_smallest_weights_of_each_layer_and_no_earlier_one(tmp_path: Path) -> None:
    """Ten weights of `stem`, four of them earlier: 50 % of the other six go, beside whatever is free."""
    method, run = cpg(), trainer(tmp_path)
    widths = {"outer": 8, "inner": 8, "hidden": 16}
    workspace = method.workspace(method.start(tiny_task(1), widths), run, masked=True)
    training = WeightTraining(workspace, 0.0)
    earlier = {name: torch.ones_like(bits) for name, bits in method.earlier(widths).items()}
    row = torch.tensor([0.1, -0.9, 0.2, 0.3, -0.4, 0.5, 0.05, 0.6, -0.15, 0.7])
    weight = workspace.table.grid(workspace.weight.value, "stem").squeeze(2)
    weight[0, :10] = row
    earlier["stem"][0, :10] = torch.tensor([1, 0, 1, 0, 0, 0, 0, 0, 1, 1]).bool()
    trainable = workspace.table.kernel_grid(workspace.trainable, "stem")
    trainable.copy_(~earlier["stem"])
    untouched = workspace.weight.value.clone()
    training.prune(earlier, 0.5)
    assert trainable[0, :10].tolist() == [i in (1, 5, 7) for i in range(10)]
    assert weight[0, :10].tolist() == pytest.approx([0.1, -0.9, 0.2, 0, 0, 0.5, 0, 0.6, -0.15, 0.7])
    assert int((workspace.weight.value != untouched).sum()) == 3
    assert torch.equal(workspace.effective, workspace.weight.value)
    training.prune(earlier, 4 / 6)
    assert trainable[0, :10].tolist() == [i in (1, 7) for i in range(10)]
    training.prune(earlier, 0.5)
    assert trainable[0, :10].tolist() == [i in (1, 7) for i in range(10)]


def test_what_is_pruned_leaves_the_network_at_once_and_stays_out(tmp_path: Path) -> None:
    """In a masked network, with momentum: two cuts within an epoch of five steps."""
    method = cpg()
    method.learn(tiny_task(1), 0.5, trainer(tmp_path / "1"))
    start, run = method.start(tiny_task(2), method.bank.widths), trainer(tmp_path / "2", 2)
    workspace, earlier = method.workspace(start, run, masked=True), method.earlier(start.widths)
    free = {name: int((~owned).sum()) for name, owned in earlier.items()}
    ramp = Ramp(0.0, 0.5, steps=4, frequency=2)
    training = GradualPruning(workspace, 0.01, earlier, ramp)
    pruned: list[int] = []

    def watch(module: torch.nn.Module, *_: object) -> None:
        table = workspace.table
        cut = {n: ~table.kernel_grid(workspace.trainable, n) & ~owned for n, owned in earlier.items()}
        for name, gone in cut.items():
            assert (table.grid(workspace.weight.value, name)[gone] == 0).all()
            assert (table.grid(workspace.effective, name)[gone] == 0).all()
        pruned.append(sum(int(gone.sum()) for gone in cut.values()))

    workspace.network.register_forward_pre_hook(watch)
    run.run(Stage(COMPACT, lr=0.05, lr_drops=(), epochs=2), training, tiny_task(2))
    first = sum(round(count * 0.5 * (1 - 0.5**3)) for count in free.values())
    assert pruned == [0, 0, first, first, *6 * [sum(round(count * 0.5) for count in free.values())]]


# The mask's gradient


def test_masks_have_the_identity_as_their_slope() -> None:
    """Three steps equal autograd with `bits + (m - stop(m))`, Adam on m and SGD on what is trainable."""
    architecture = tiny_architecture().elementwise()
    method = cpg()
    start = method.start(tiny_task(1), widths_at(architecture, 0.25))
    weights = {name: grid.double() for name, grid in start.weights.items()}
    workspace = Workspace(architecture, start.widths, 2, (SGD(0.0), Adam()), weights, {})
    draw = torch.Generator().manual_seed(5)
    workspace.masked.copy_(torch.rand(workspace.table.count, generator=draw) < 0.5)
    workspace.table.kernel_grid(workspace.masked, HEAD)[:] = False
    workspace.trainable.copy_(~workspace.masked)
    noise = torch.randn(workspace.table.count, generator=draw, dtype=torch.float64)
    workspace.logit.value.copy_(0.005 + 0.002 * noise)
    logit, weight = workspace.logit.value.clone(), workspace.weight.value.clone()
    adam, masked = PlainAdam(logit), workspace.masked.clone()
    private = {name: value for name, value in workspace.private_vectors().items() if "running" not in name}
    network = architecture.make(start.widths, 2).double()
    update = WeightTraining(workspace, 0.0).update
    assert isinstance(update, PiggyUpdate)
    update.begin_epoch(torch.rand)
    flips = 0
    for _ in range(3):
        images = torch.randn(6, 2, 4, 4, generator=draw, dtype=torch.float64)
        labels = torch.randint(0, 2, (6,), generator=draw)
        cross_entropy(workspace.network.train()(images), labels).backward()
        update.step(0.05, 2e-3, torch.rand)

        leaves = [
            logit.requires_grad_(),
            weight.requires_grad_(),
            *(v.requires_grad_() for v in private.values()),
        ]
        bits = (logit > 0.005).double()
        flat = weight * torch.where(masked, hard(logit, bits), 1.0)
        shaped = {
            f"{layer.name}.weight": workspace.table.grid(flat, layer.name).reshape(
                network.get_parameter(f"{layer.name}.weight").shape
            )
            for layer in workspace.table.layers
        }
        loss = cross_entropy(functional_call(network.train(), shaped | private, (images,)), labels)
        to_logit, to_weight, *to_private = torch.autograd.grad(loss, leaves)
        moved = adam.step(logit.detach(), to_logit, masked, 2e-3)
        flips += int(((moved > 0.005) != (logit > 0.005)).sum())
        logit = moved
        weight = torch.where(masked, weight.detach(), weight.detach() - 0.05 * to_weight)
        private = {
            name: value.detach() - 0.05 * gradient
            for (name, value), gradient in zip(private.items(), to_private, strict=True)
        }
    assert flips > 10
    torch.testing.assert_close(workspace.logit.value, logit, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(workspace.weight.value, weight, rtol=1e-9, atol=1e-12)


# Tasks


def test_task_one_is_trained_as_scratch_trains_it(tmp_path: Path) -> None:
    method, scratch = cpg(), Scratch(tiny_architecture(), ScratchSettings(), "paper", seed=1)
    scratch.learn(tiny_task(1), None, trainer(tmp_path / "scratch"))
    solution = method._attempt(1, method._widths()[0], tiny_task(1), trainer(tmp_path / "cpg"))
    mine, theirs = solution.network(method.architecture).state_dict(), scratch.network(1).state_dict()
    assert all(torch.equal(mine[name], theirs[name]) for name in theirs if "tracked" not in name)


def test_owners_of_three_tasks(tmp_path: Path) -> None:
    method = cpg(cap=1.0)
    frozen: dict[int, dict[str, torch.Tensor]] = {}
    for number, remaining, freed in ((1, 2, 0.7), (2, 1, 0.5), (3, 0, 0.0)):
        free = {name: int((owners == FREE).sum()) for name, owners in method.bank.owners.items()}
        method.remaining = remaining
        lesson = method.learn(tiny_task(number), OUT_OF_REACH, trainer(tmp_path / str(number), number))
        for name, owners in method.bank.owners.items():
            before = free[name] or owners.numel()
            assert int((owners == FREE).sum()) == round(freed * before), (number, name)
            used = method.bank.solution(number).used[name]
            assert torch.equal(used & (owners == number), owners == number)
            assert not (used & ((owners == FREE) | (owners > number))).any()
            assert (method.bank.weights[name][owners == FREE] == 0).all()
        assert lesson.growth["sparsity"] == freed
        for earlier, weights in frozen.items():
            for name, weight in weights.items():
                mine = method.bank.owners[name] == earlier
                assert torch.equal(method.bank.weights[name][mine], weight)
        frozen[number] = {
            name: weight[method.bank.owners[name] == number].clone()
            for name, weight in method.bank.weights.items()
        }
    assert (method.bank.solution(2).used["fc"] & (method.bank.owners["fc"] == 1)).any()


def test_a_goal_out_of_reach_grows_to_the_cap_and_no_further(tmp_path: Path) -> None:
    method = cpg(cap=1.6, grow_step=0.25)
    method.remaining = 1
    lesson = method.learn(tiny_task(1), OUT_OF_REACH, trainer(tmp_path / "1"))
    grow = [d for d in lesson.decisions if d["question"] == "grow"]
    assert [d["answer"] for d in grow] == [True, True, True, False]
    assert [d["reason"] for d in grow] == ["below_target"] * 3 + ["at_cap"]
    assert lesson.reason == "at_cap"
    assert list(lesson.stage_accuracy) == [1, 2, 3, 4, COMPACT, COMPACT + 1]
    assert method.bank.widths == cap_widths(method.architecture, 1.6)
    assert lesson.growth["sparsity"] == 0.5
    again = method.learn(tiny_task(2), OUT_OF_REACH, trainer(tmp_path / "2", 2))
    assert [d["answer"] for d in again.decisions if d["question"] == "grow"] == [False]
    assert RETRAIN in again.stage_accuracy


def test_coarse_levels_do_not_force_a_task_beyond_its_share(tmp_path: Path) -> None:
    """One task remains, so a task that missed its goal leaves half of its weights, whatever the levels."""
    method = cpg(cap=1.0, levels=(0.95,))
    method.remaining = 1
    lesson = method.learn(tiny_task(1), OUT_OF_REACH, trainer(tmp_path / "1"))
    assert lesson.growth["sparsity"] == 0.5
    assert lesson.growth["released_share"] == pytest.approx(0.5, abs=0.01)


def test_without_a_mask_rate_nothing_is_picked_and_nothing_retrained(tmp_path: Path) -> None:
    """PAE, the baseline of CPG's paper, has no masks over earlier weights and no retraining."""
    method = cpg(mask_lr=0.0)
    for number in (1, 2):
        lesson = method.learn(tiny_task(number), 0.6, trainer(tmp_path / str(number), number))
        assert RETRAIN not in lesson.stage_accuracy
    for layer, used in method.bank.solution(2).used.items():
        assert used[method.bank.owners[layer] == 1].all()
    assert Cpg.most_epochs(method.settings, 10, first=False) == Cpg.most_epochs(method.settings, 10, True)


def test_a_run_does_not_go_on_with_more_tasks_than_it_shared_its_network_among(
    data: Path, tmp_path: Path
) -> None:
    two = replace(job(data), tasks=(1, 2), goals={1: 0.6, 2: 0.6})
    learn_sequence(two, tmp_path)
    before = deterministic_files(tmp_path)
    with pytest.raises(ValueError, match=r"was begun for tasks \[1, 2\], among which cpg shares"):
        learn_sequence(replace(two, tasks=(1, 2, 3), goals={1: 0.6, 2: 0.6, 3: 0.6}), tmp_path)
    assert deterministic_files(tmp_path) == before
    learn_sequence(two, tmp_path)


def test_a_run_that_was_begun_for_other_tasks_and_finished_none_begins_anew(
    data: Path, tmp_path: Path
) -> None:
    """Its checkpoints hold levels that were chosen for the tasks it was begun for."""
    settings = replace(job(data).settings, levels=(0.9,), cap=1.0)
    three = replace(job(data), settings=settings, goals=dict.fromkeys((1, 2, 3), OUT_OF_REACH))
    two = replace(three, tasks=(1, 2))
    learn_sequence(three, tmp_path / "whole")
    with pytest.raises(Killed):
        learn_sequence(two, tmp_path / "killed", killer(1, None, None), 0.0)
    assert any((tmp_path / "killed").glob("checkpoint_*"))
    learn_sequence(three, tmp_path / "killed")
    assert deterministic_files(tmp_path / "killed") == deterministic_files(tmp_path / "whole")


def test_half_of_the_epochs_is_a_run_of_half_the_epochs(tmp_path: Path) -> None:
    """All its shares shrink with them: towards one goal it learns the same bits in the same steps."""
    half, whole = cpg(stage_epochs=0.5), cpg()
    for name, method, epochs in (("half", half, 12), ("whole", whole, 6)):
        for number in (1, 2):
            method.learn(tiny_task(number), OUT_OF_REACH, trainer(tmp_path / name, number, epochs))
    for number in (1, 2):
        ours, theirs = (method.network(number).state_dict() for method in (half, whole))
        assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert (tmp_path / "half/events.jsonl").read_text() == (tmp_path / "whole/events.jsonl").read_text()
    assert Cpg.most_epochs(half.settings, 12, False) == Cpg.most_epochs(whole.settings, 6, False) > 6


def test_no_width_is_tried_twice(tmp_path: Path) -> None:
    """Two steps of 0.1 round to the same widths in so narrow a network."""
    method = cpg(cap=1.2, grow_step=0.1, levels=())
    sizes = [cap_widths(method.architecture, size) for size in multipliers(1.2, 0.1)]
    assert sizes[0] == sizes[1] != sizes[2]
    lesson = method.learn(tiny_task(1), OUT_OF_REACH, trainer(tmp_path))
    assert [d["answer"] for d in lesson.decisions if d["question"] == "grow"] == [True, False]


def test_a_train_gate_out_of_reach_ends_at_the_cap_too(tmp_path: Path) -> None:
    """The official code grows for ever where the goal is met and the training accuracy is not."""
    method = cpg(train_accuracy=1.0, grow_step=0.25)
    task = tiny_task(1)
    task.train.labels[:20] = task.train.labels[:20].flip(0)
    lesson = method.learn(task, 0.0, trainer(tmp_path, epochs=2))
    grow = [d for d in lesson.decisions if d["question"] == "grow"]
    assert [d["reason"] for d in grow] == ["below_train_gate", "below_train_gate", "at_cap"]
    assert list(lesson.stage_accuracy) == [1, 2, 3, COMPACT], "compacting ends at the first level that fails"
    assert lesson.growth["sparsity"] == 0.0


def test_a_met_goal_neither_grows_nor_prunes_below_it(tmp_path: Path) -> None:
    method = cpg()
    lesson = method.learn(tiny_task(1), 0.8, trainer(tmp_path))
    assert lesson.reason == "target_met"
    assert [d["question"] for d in lesson.decisions] == ["grow", "compact"]
    levels = {level: lesson.stage_accuracy[COMPACT + i] for i, level in enumerate((0.3, 0.6, 0.9))}
    assert lesson.growth["sparsity"] == chosen_level(levels, 0.8, forced=False) > 0
    assert lesson.decisions[1]["value"] == levels[lesson.growth["sparsity"]] >= 0.8


def test_clean_keeps_a_wider_network_only_if_it_is_better(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    method = cpg("clean", grow_step=0.25)
    told = iter((0.6, 0.5, 0.7, 0.7, 0.7))
    monkeypatch.setattr(Cpg, "judged", lambda *args: next(told))
    lesson = Lesson("target_met")
    kept, best = method._pick(tiny_task(1), 0.9, trainer(tmp_path, epochs=1), lesson)
    assert best == 0.7
    assert kept.widths == cap_widths(method.architecture, 1.5)
    wider = [(d["answer"], d["value"], d["goal"]) for d in lesson.decisions if d["question"] == "keep_wider"]
    assert wider == [(False, 0.5, 0.6), (True, 0.7, 0.6)]
    told = iter((0.6, 0.5, 0.6))
    kept, best = method._pick(tiny_task(1), 0.9, trainer(tmp_path / "b", epochs=1), lesson)
    assert (best, kept.widths, lesson.reason) == (0.6, dict(method.architecture.streams), "kept_narrower")
    method.remaining, told = 1, iter([0.5] * 9)
    method._compact(kept, best, tiny_task(1), 0.9, trainer(tmp_path / "c", epochs=1), lesson)
    assert (lesson.decisions[-1]["question"], lesson.decisions[-1]["reason"]) == ("compact", "kept_narrower")


def test_masks_keep_their_rate_when_no_weight_is_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    method = cpg(cap=1.0)
    widths = method._widths()[0]
    seen: list[tuple[float, ...]] = []
    monkeypatch.setattr(Trainer, "run", lambda self, stage, *rest: seen.append(stage.mask_rates.factors))
    method._attempt(1, widths, tiny_task(1), trainer(tmp_path))
    method.bank.add(1, replace(method.start(tiny_task(1), widths), private=private_of(method, widths)))
    assert method.owned(method.start(tiny_task(2), widths)) == 0
    method._attempt(1, widths, tiny_task(2), trainer(tmp_path, 2))
    assert seen == [(0.2, 0.0), (0.2,)]


def private_of(method: SingleWeights, widths: dict[str, int]) -> dict[str, torch.Tensor]:
    start = method.start(tiny_task(1), widths)
    return Workspace(
        method.architecture, widths, 2, (SGD(0.9), Adam()), start.weights, start.private
    ).private_vectors()


# Retraining


def test_retraining_keeps_its_best_epoch(tmp_path: Path) -> None:
    method, run = cpg(), trainer(tmp_path, epochs=4)
    method.learn(tiny_task(1), 0.5, trainer(tmp_path / "1"))
    start = method.start(tiny_task(2), method.bank.widths)
    told, seen = iter((0.3, 0.9, 0.9, 0.5)), []

    def judge(network: torch.nn.Module) -> float:
        seen.append({name: value.clone() for name, value in network.state_dict().items()})
        return next(told)

    training = Retraining(method.workspace(start, run, True), 0.0, judge)
    run.run(Stage(RETRAIN, lr=0.05, lr_drops=()), training, tiny_task(2))
    training.note()
    assert training.best_accuracy == 0.9
    resumed = Retraining(method.workspace(start, run, True), 0.0, judge)
    resumed.load(training.tensors(), training.position())
    assert resumed.best_accuracy == 0.9
    for name, value in resumed.take_best().tensors().items():
        assert torch.equal(value, (training.tensors() | training.best)[name]), name
    best = method.solution(training.take_best()).network(method.architecture).state_dict()
    for name, value in best.items():
        if "tracked" not in name:
            assert torch.equal(value, seen[1][name]), name
    assert any(not torch.equal(value, seen[3][name]) for name, value in best.items())


@pytest.mark.parametrize("quirk", [False, True])
def test_only_the_official_quirk_lets_a_worse_network_replace_the_pruned_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quirk: bool
) -> None:
    method = cpg(official_retrain_quirk=quirk)
    method.learn(tiny_task(1), 0.5, trainer(tmp_path / "1"))
    method.learn(tiny_task(2), 0.5, trainer(tmp_path / "2", 2))
    task, run = tiny_task(3), trainer(tmp_path / "3", 3)
    pruned = method.start(task, method.bank.widths)
    monkeypatch.setattr(Cpg, "judged", lambda *args: -0.5)
    lesson = Lesson("trained")
    kept = method._retrain(pruned, 1.5, task, run, lesson)
    (decision,) = lesson.decisions
    assert (decision["answer"], decision["goal"]) == ((True, -0.5) if quirk else (False, 1.5))
    assert (kept is pruned) == (not quirk)


# Whole sequences


def test_a_sequence_forgets_nothing_and_tells_what_it_did(data: Path, tmp_path: Path) -> None:
    result = learn_sequence(job(data), tmp_path)
    assert verify(tmp_path).tasks == (1, 2, 3)
    assert result["forgetting"] == 0
    records = [RunDirectory(tmp_path).record(task) for task in (1, 2, 3)]
    for record in records:
        asked = [d["question"] for d in record["decisions"]]
        assert asked[0] == "grow"
        assert "compact" in asked
        assert ("keep_retrained" in asked) == (record["task"] > 1)
        assert all(stage["accuracy"].keys() == {"test"} for stage in record["stages"])
        assert record["size"]["used"] <= record["size"]["allocated"] <= 1.5
    assert [stage["stage"] for stage in records[0]["stages"]][:2] == [1, 2]


class Killed(Exception):
    """Stands for a kill between two events."""


def killer(task: int, stage: int | None, epoch: int | None) -> Callable[[Event], None]:
    def report(event: Event) -> None:
        if (event["task"], event.get("stage"), event.get("epoch")) == (task, stage, epoch):
            raise Killed

    return report


@pytest.mark.parametrize("checkpoint_seconds", [0.0, 1e9])
def test_killed_anywhere_and_resumed_equals_an_undisturbed_run(
    data: Path, tmp_path: Path, checkpoint_seconds: float
) -> None:
    """In a second attempt, within a level's rise, behind it, in retraining, before the record."""
    learn_sequence(job(data), tmp_path / "whole")
    killed = tmp_path / "killed"
    for where in (
        (1, 2, 4),
        (2, COMPACT + 1, 2),
        (2, COMPACT + 1, 3),
        (2, RETRAIN, 4),
        (2, None, None),
        (3, RETRAIN, 1),
    ):
        with pytest.raises(Killed):
            learn_sequence(job(data), killed, killer(*where), checkpoint_seconds)
        assert any(killed.glob("checkpoint_*"))
    learn_sequence(job(data), killed, checkpoint_seconds=checkpoint_seconds)
    assert deterministic_files(killed) == deterministic_files(tmp_path / "whole")


@pytest.mark.parametrize(
    ("name", "shape", "options"),
    [("lenet", (3, 32, 32), {}), ("vgg16-bn", (3, 32, 32), {"hidden": 64}), ("resnet18", (3, 32, 32), {})],
)
def test_every_network_can_be_owned_by_single_weights(
    name: str, shape: tuple[int, int, int], options: dict[str, int], tmp_path: Path
) -> None:
    """Two tasks at growing widths: pruned, picked, banked, and computed again from the bank."""
    method = Cpg(NETWORKS[name](shape, **options), CpgSettings(), "paper", seed=1)
    images, logits = torch.randn(2, *shape, generator=torch.Generator().manual_seed(0)), []
    for number, fraction in ((1, 1 / 16), (2, 1 / 12)):
        task, widths = tiny_task(number), widths_at(method.architecture, fraction)
        workspace = method.workspace(method.start(task, widths), trainer(tmp_path), masked=True)
        training = WeightTraining(workspace, 0.0)
        training.prune(method.earlier(widths), 0.5)
        if not workspace.dense:
            workspace.logit.value[::3] = 0.0
        solution = method.solution(workspace)
        assert method.owned(solution) == pytest.approx(
            0.5 * (method.architecture.weights(widths) - method.weights()[1]), rel=0.01
        )
        method.bank.add(number, solution)
        logits.append(method.network(number)(images))
        assert torch.equal(logits[0], method.network(1)(images))
        assert torch.equal(logits[-1], solution.network(method.architecture)(images))
