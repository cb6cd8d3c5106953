"""Sequences end to end: records, growth, resuming after a real kill, and the certificate's teeth."""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from lsg import certificate, digest, evaluation
from lsg.bank import Bank, ForgettingError, Solution
from lsg.certificate import verify, verify_in_fresh_process
from lsg.data import TaskFolder, load_task
from lsg.events import Event
from lsg.files import DamagedFileError
from lsg.job import Job
from lsg.methods import METHODS
from lsg.methods.fine_tune import FineTuneSettings
from lsg.networks import NETWORKS
from lsg.optimizers import SGD
from lsg.reading import rebuilt_method, restore_task
from lsg.records import LAST_RECORD, RunDirectory
from lsg.sequence import learn_sequence
from lsg.stepper import Stepper
from lsg.train_settings import TrainSettings
from lsg.training import DivergedError
from lsg.workspace import Workspace
from tests.lsg.mutations import moving_all
from tests.lsg.tiny import contrary_task, deterministic_files, tiny_architecture, write_tiny_tasks

TRAIN = TrainSettings(epochs=6, batch_size=8, lr=0.05)
GOAL = {1: 1.0, 2: 1.01, 3: 1.01}
"""Goals that no task can reach: every task grows."""


@pytest.fixture(autouse=True)
def tiny_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(NETWORKS, "tiny", lambda shape: tiny_architecture())
    monkeypatch.setattr("lsg.sequence.certificate.verify_in_fresh_process", verify)


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_tasks(tmp_path_factory.mktemp("tasks") / "tiny", 3)


def job(
    data: Path, method: str = "cl-lsg", protocol: str = "paper", network: str = "tiny", **changes: object
) -> Job:
    settings = METHODS[method].Settings(**({"cap": 2.0, "mask_lr": 5e-3} if method == "cl-lsg" else {}))
    fields = {"goals": GOAL, "train": TRAIN, "tasks": (1, 2, 3), "settings": settings} | changes
    return Job("tiny", method, protocol, 1, data=data, network={"name": network}, **fields)  # type: ignore[arg-type]


def test_cl_lsg_learns_grows_and_records_every_decision(data: Path, tmp_path: Path) -> None:
    result = learn_sequence(job(data), tmp_path)
    assert result["average"] > 0.8
    assert result["forgetting"] == 0
    records = [RunDirectory(tmp_path).record(task) for task in (1, 2, 3)]
    assert records[0]["reason"] == "grew"
    assert [stage["stage"] for stage in records[1]["stages"]] == [1, 2]
    for record in records[1:]:
        grow, keep = record["decisions"]
        assert (grow["question"], grow["answer"], grow["split"]) == ("grow", True, "test")
        assert grow["goal"] == 1.01
        assert grow["value"] == record["stages"][0]["accuracy"]["test"]
        assert (keep["question"], keep["answer"]) == ("keep_stage_2", True)
        opened = record["stages"][1]["gates_opened"]
        before, after = record["growth"]["channels_before"], record["growth"]["channels_after"]
        assert sum(after.values()) - sum(before.values()) == opened
        assert record["reason"] == ("grew" if opened else "grew_zero")
    sizes = [record["size"] for record in records]
    assert all(later["allocated"] >= earlier["allocated"] for earlier, later in pairwise(sizes))
    assert all(size["used"] <= size["allocated"] for size in sizes)
    assert result["matrix"]["3"]["1"] == records[0]["accuracy"]["test"]


def test_clean_decides_on_validation_and_drops_a_stage_2_that_is_no_better(
    data: Path, tmp_path: Path
) -> None:
    learn_sequence(job(data, protocol="clean"), tmp_path)
    for task in (2, 3):
        record = RunDirectory(tmp_path).record(task)
        grow, keep = record["decisions"]
        assert grow["split"] == keep["split"] == "validation"
        first, second = (stage["accuracy"]["validation"] for stage in record["stages"])
        assert keep["answer"] == (second > first)
        if not keep["answer"]:
            assert record["reason"] == keep["reason"] == "kept_stage_1"
            assert record["growth"]["channels_before"] == record["growth"]["channels_after"]
        assert record["accuracy"]["validation"] == max(first, second)


@pytest.mark.parametrize(("protocol", "split"), [("clean", "validation"), ("paper", "test")])
def test_each_split_is_measured_on_its_own_images_and_the_protocol_s_decides(
    tmp_path: Path, protocol: str, split: str
) -> None:
    """Validation labels are the wrong way round, so what is right in test is wrong in validation."""
    contrary = write_tiny_tasks(tmp_path / "tasks", 2, contrary_task)
    learn_sequence(job(contrary, protocol=protocol, tasks=(1, 2), goals={2: 0.5}), tmp_path / "run")
    record = RunDirectory(tmp_path / "run").record(2)
    assert record["accuracy"]["test"] > 0.8
    assert record["accuracy"]["validation"] < 0.2
    grow = record["decisions"][0]
    assert (grow["split"], grow["answer"]) == (split, split == "validation")
    assert (grow["value"] > 0.8) == (split == "test")
    assert grow["value"] == record["stages"][0]["accuracy"][split]


def test_a_met_goal_stops_after_stage_1(data: Path, tmp_path: Path) -> None:
    learn_sequence(job(data, goals={2: 0.0, 3: 0.0}), tmp_path)
    record = RunDirectory(tmp_path).record(2)
    assert record["reason"] == "target_met"
    assert [stage["stage"] for stage in record["stages"]] == [1]
    assert record["growth"]["channels_before"] == record["growth"]["channels_after"]


def test_a_task_without_room_to_grow_says_so(data: Path, tmp_path: Path) -> None:
    """The share is too small for any channel, so task 1 keeps its seed and task 2 has no stage 2."""
    settings = METHODS["cl-lsg"].Settings(cap=2.0, growth_share=1e-6, mask_lr=5e-3)
    learn_sequence(job(data, tasks=(1, 2), settings=settings), tmp_path)
    first, second = (RunDirectory(tmp_path).record(task) for task in (1, 2))
    assert first["reason"] == "no_room"
    assert [decision["answer"] for decision in second["decisions"]] == [False]
    assert second["reason"] == second["decisions"][0]["reason"] == "no_room"
    assert [stage["stage"] for stage in second["stages"]] == [1]


def test_stored_size_is_the_bytes_on_disk(data: Path, tmp_path: Path) -> None:
    learn_sequence(job(data), tmp_path)
    total = 0
    for task in (1, 2, 3):
        content = (tmp_path / f"task_{task:02d}.safetensors").read_bytes()
        total += len(content) - 8 - int.from_bytes(content[:8], "little")
    dense = tiny_architecture().weights(tiny_architecture().streams)
    assert RunDirectory(tmp_path).record(3)["size"]["stored"] == pytest.approx(total / (4 * dense))


def test_fine_tune_starts_from_the_first_task_of_another_run(data: Path, tmp_path: Path) -> None:
    learn_sequence(job(data, "scratch", tasks=(1,)), tmp_path / "scratch")
    whole = learn_sequence(job(data, "fine-tune"), tmp_path / "whole")
    for task in (2, 3):
        alone = learn_sequence(
            job(data, "fine-tune", tasks=(task,), start=tmp_path / "scratch"), tmp_path / f"ft{task}"
        )
        assert alone["matrix"][str(task)][str(task)] == whole["matrix"]["3"][str(task)]
        one, two = (tmp_path / folder / f"task_{task:02d}.safetensors" for folder in (f"ft{task}", "whole"))
        assert one.read_bytes() == two.read_bytes()
        assert RunDirectory(tmp_path / f"ft{task}").record(task)["size"]["allocated"] == 1.0
    assert RunDirectory(tmp_path / "whole").record(3)["size"]["allocated"] == 3.0


def test_a_run_goes_on_from_the_start_that_it_began_with_alone(data: Path, tmp_path: Path) -> None:
    for seed in (1, 2):
        learn_sequence(replace(job(data, "scratch", tasks=(1,)), seed=seed), tmp_path / f"scratch{seed}")
    asked = job(data, "fine-tune", tasks=(2,), start=tmp_path / "scratch1")

    def stop(event: Event) -> None:
        if event.get("epoch") == 2:
            raise RuntimeError("stopped")

    with pytest.raises(RuntimeError, match="stopped"):
        learn_sequence(asked, tmp_path / "run", stop, checkpoint_seconds=0)
    with pytest.raises(ValueError, match="the directory of another job, with start"):
        learn_sequence(replace(asked, start=tmp_path / "scratch2"), tmp_path / "run")
    learn_sequence(asked, tmp_path / "run")


def test_a_job_that_no_longer_asks_for_what_was_learned_is_damaged(data: Path, tmp_path: Path) -> None:
    """Else its proof would leave tasks out."""
    learn_sequence(job(data, "scratch", tasks=(1, 2)), tmp_path)
    path = tmp_path / "job.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"tasks": [1]}))
    with pytest.raises(DamagedFileError, match=r"job\.json.*its tasks are \[1\], the result's \[1, 2\]"):
        verify(tmp_path)


@pytest.mark.parametrize("method", sorted(METHODS))
def test_only_fine_tune_s_networks_start_from_another_run(data: Path, tmp_path: Path, method: str) -> None:
    """Others' networks are made of their earlier tasks' files too, which another directory would hold."""
    learn_sequence(job(data, "scratch", tasks=(1,)), tmp_path / "scratch")
    later = job(data, method, tasks=(2,), start=tmp_path / "scratch")
    if method == "fine-tune":
        learn_sequence(later, tmp_path / "later")
        later = replace(later, settings=FineTuneSettings(start="sequential"))
    with pytest.raises(ValueError, match=f"start .*none for {re.escape(method)}"):
        learn_sequence(later, tmp_path / "refused")
    assert not (tmp_path / "refused").exists()


def test_sequential_fine_tuning_has_one_network_and_shows_what_it_forgets(data: Path, tmp_path: Path) -> None:
    """The same numbers as a method of its own and as Fine-tune's third variant; its matrix tells the fall."""
    result = learn_sequence(job(data, "sequential"), tmp_path / "own")
    variant = job(data, "fine-tune", settings=FineTuneSettings(start="sequential"))
    told = learn_sequence(variant, tmp_path / "variant")
    assert told | {LAST_RECORD: result[LAST_RECORD]} == result, "but for the methods' names in the records"
    assert not result["certificate"]["verified"]
    record, run = RunDirectory(tmp_path / "own").record(3), RunDirectory(tmp_path / "own")
    assert record["size"]["allocated"] == 1.0
    method = rebuilt_method(run.job())
    for task in (1, 2, 3):
        restore_task(method, run, task)
        networks = [method.network(number).state_dict() for number in range(1, task + 1)]
        for name in ("stem.weight", "conv1.bias", "norm.running_mean"):
            assert all(torch.equal(network[name], networks[-1][name]) for network in networks)
        assert len({digest.of_tensor(network["head.weight"]) for network in networks}) == task
        for number in range(1, task + 1):
            other = load_task(TaskFolder(data), number)
            measured = evaluation.accuracy(method.network(number), other, other.test)
            assert result["matrix"][str(task)][str(number)] == measured


def test_a_sequential_run_goes_on_from_its_files(data: Path, tmp_path: Path) -> None:
    learn_sequence(job(data, "sequential"), tmp_path / "whole")
    learn_sequence(job(data, "sequential", tasks=(1, 2)), tmp_path / "parts")
    learn_sequence(job(data, "sequential"), tmp_path / "parts")
    assert deterministic_files(tmp_path / "parts") == deterministic_files(tmp_path / "whole")


def test_a_run_that_goes_on_with_more_tasks_is_unfinished_and_its_old_end_is_checked(
    data: Path, tmp_path: Path
) -> None:
    learn_sequence(job(data, tasks=(1, 2)), tmp_path / "run")
    shutil.copytree(tmp_path / "run", tmp_path / "changed")
    run = RunDirectory(tmp_path / "run")
    run.take(job(data).described())
    with pytest.raises(FileNotFoundError):
        run.result()
    record = tmp_path / "changed" / "task_02.json"
    told = json.loads(record.read_text())
    record.write_text(json.dumps(told | {"accuracy": {"test": 1.0}}))
    with pytest.raises(DamagedFileError, match=r"task_02\.json"):
        learn_sequence(job(data), tmp_path / "changed")


def test_curves_are_logged_where_they_are_asked_for_and_change_nothing(data: Path, tmp_path: Path) -> None:
    plain, curved = job(data), replace(job(data), train=replace(job(data).train, curves=True))
    assert learn_sequence(plain, tmp_path / "plain") == learn_sequence(curved, tmp_path / "curved")
    logged = (tmp_path / "curved" / "events.jsonl").read_text().splitlines()
    epochs = [event for event in map(json.loads, logged) if event["event"] == "epoch"]
    assert all(0 <= event[f"{split}_accuracy"] <= 1 for event in epochs for split in ("validation", "test"))
    assert "test_accuracy" not in (tmp_path / "plain" / "events.jsonl").read_text()


def test_convolutions_are_learned_in_whole_float32(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    learn_sequence(job(data, "scratch", tasks=(1,)), tmp_path)
    assert not torch.backends.cudnn.allow_tf32


LOADED = """
import sys
from pathlib import Path
from lsg import certificate, sequence
from lsg.job import Job
from lsg.methods import METHODS
from lsg.networks import NETWORKS
from lsg.train_settings import TrainSettings
from tests.lsg.tiny import tiny_architecture
NETWORKS["tiny"] = lambda shape: tiny_architecture()
certificate.verify_in_fresh_process = certificate.verify
learn, loaded = sequence.Sequence._learn, []
def watched(self, number):
    loaded.append("torch._dynamo" in sys.modules)
    learn(self, number)
    loaded.append("torch._dynamo" in sys.modules)
sequence.Sequence._learn = watched
method, data, out = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
job = Job("tiny", method, "paper", 1, (1,), data, {"name": "tiny"}, TrainSettings(epochs=1),
                   METHODS[method].Settings(), {1: 1.0})
sequence.learn_sequence(job, out)
assert loaded[0] == loaded[1], loaded
"""


@pytest.mark.parametrize("method", ["apd", "den", "pnn", "cpg", "cl-lsg"])
def test_no_task_s_seconds_hold_the_loading_of_torch_s_compiler(
    method: str, data: Path, tmp_path: Path
) -> None:
    command = [sys.executable, "-c", LOADED, method, str(data), str(tmp_path)]
    subprocess.run(command, check=True, cwd=Path(__file__).parents[2])


RUN = """
import sys
from itertools import pairwise
from pathlib import Path
from lsg import training
from lsg.job import Job
from lsg.methods import METHODS
from lsg.methods.fine_tune import FineTuneSettings
from lsg.networks import NETWORKS
from lsg.sequence import learn_sequence
from lsg.train_settings import TrainSettings
from tests.lsg.tiny import tiny_architecture
NETWORKS["tiny"] = lambda shape: tiny_architecture()
import lsg.certificate
lsg.certificate.verify_in_fresh_process = lsg.certificate.verify
data, out, slow = Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3])
if slow:
    import time
    epoch = training.Stepper.epoch
    def slowly(*args):
        time.sleep(slow)
        return epoch(*args)
    training.Stepper.epoch = slowly
settings = METHODS["cl-lsg"].Settings(cap=2.0, mask_lr=5e-3)
job = Job("tiny", "cl-lsg", "paper", 1, (1, 2, 3), data, {"name": "tiny"},
          TrainSettings(epochs=6, batch_size=8, lr=0.05), settings, {1: 1.0, 2: 1.01, 3: 1.01})
learn_sequence(job, out, checkpoint_seconds=float(sys.argv[4]))
"""


def wait_for(condition: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "the run under test did not get there in time"
        time.sleep(0.005)


def epochs_logged(directory: Path, task: int, stage: int) -> int:
    path = directory / "events.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    events = [json.loads(line) for line in lines if line.endswith("}")]
    return sum(e["event"] == "epoch" and (e["task"], e["stage"]) == (task, stage) for e in events)


def reached(directory: Path, task: int, stage: int, epochs: int) -> bool:
    return epochs_logged(directory, task, stage) >= epochs


@pytest.mark.parametrize("checkpoint_seconds", ["0", "0.2"])
def test_killed_anywhere_and_resumed_equals_an_undisturbed_run(
    data: Path, tmp_path: Path, checkpoint_seconds: str
) -> None:
    """SIGKILL in task 1, in stage 1 and in stage 2 of task 2, between checkpoints and right behind them."""
    learn_sequence(job(data), tmp_path / "whole")
    killed = tmp_path / "killed"
    command = [sys.executable, "-c", RUN, str(data), str(killed)]
    for task, stage, epochs in ((1, 2, 4), (2, 1, 3), (2, 2, 5), (3, 2, 2)):
        process = subprocess.Popen([*command, "0.02", checkpoint_seconds], cwd=Path(__file__).parents[2])
        wait_for(partial(reached, killed, task, stage, epochs))
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        assert not (killed / "result.json").exists()
    assert any(killed.glob("checkpoint_*")), "the last kill left no checkpoint to resume from"
    subprocess.run([*command, "0", checkpoint_seconds], check=True, cwd=Path(__file__).parents[2])
    assert deterministic_files(killed) == deterministic_files(tmp_path / "whole")


def test_a_torn_checkpoint_costs_time_only(data: Path, tmp_path: Path) -> None:
    learn_sequence(job(data), tmp_path / "whole")
    torn = tmp_path / "torn"
    shutil.copytree(tmp_path / "whole", torn)
    for name in ("result.json", "task_03.json", "task_03.safetensors"):
        (torn / name).unlink()
    (torn / "checkpoint_03_1.safetensors").write_bytes(b"half a checkpoint")
    learn_sequence(job(data), torn)
    assert deterministic_files(torn) == deterministic_files(tmp_path / "whole")


@pytest.mark.parametrize("method", ["scratch", "cl-lsg"])
def test_training_that_diverges_says_where_and_what_to_lower(data: Path, tmp_path: Path, method: str) -> None:
    diverging = job(data, method, tasks=(1,), train=replace(TRAIN, lr=1e6))
    said = r"diverged in task 1, stage [12], epoch \d: its loss is (nan|inf); lower train\.lr"
    for _ in range(2):
        with pytest.raises(DivergedError, match=said):
            learn_sequence(diverging, tmp_path, checkpoint_seconds=0)


def test_training_that_diverges_in_its_last_step_is_not_recorded(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each loss is that before its step."""
    monkeypatch.setattr(certificate, "probe_logits", lambda network, shape: torch.full((8, 2), math.nan))
    with pytest.raises(DivergedError, match="diverged in the last step of task 1; lower train.lr"):
        learn_sequence(job(data, tasks=(1,)), tmp_path)
    assert not (tmp_path / "task_01.json").exists()


def test_answers_that_are_no_numbers_are_no_proof(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    learn_sequence(job(data, tasks=(1,)), tmp_path)
    answers = certificate.probe_logits
    monkeypatch.setattr(
        certificate, "probe_logits", lambda network, shape: answers(network, shape) * math.nan
    )
    with pytest.raises(ForgettingError, match="task 1: probe logits differ by nan"):
        verify(tmp_path)


def test_what_was_learned_before_training_diverged_stays(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    learn_sequence(job(data, tasks=(1,)), tmp_path / "whole")
    epoch = Stepper.epoch

    def diverging(self: Stepper, number: int, *rates: Any) -> tuple[float, int]:
        loss, hits = epoch(self, number, *rates)
        return (math.nan if number == 3 else loss), hits

    monkeypatch.setattr(Stepper, "epoch", diverging)
    with pytest.raises(DivergedError, match="task 1, stage 2, epoch 3"):
        learn_sequence(job(data, tasks=(1,)), tmp_path / "again", checkpoint_seconds=0)
    assert epochs_logged(tmp_path / "again", 1, 2) == 2
    monkeypatch.setattr(Stepper, "epoch", epoch)
    learn_sequence(job(data, tasks=(1,)), tmp_path / "again")
    assert deterministic_files(tmp_path / "again") == deterministic_files(tmp_path / "whole")


def test_another_job_does_not_go_on_in_this_directory(data: Path, tmp_path: Path) -> None:
    learn_sequence(job(data, tasks=(1,)), tmp_path)
    before = (tmp_path / "job.json").read_bytes()
    with pytest.raises(ValueError, match=r"another job, with tasks \[1\] and not \[2, 3\]; take another"):
        learn_sequence(job(data, tasks=(2, 3)), tmp_path)
    with pytest.raises(ValueError, match=r"another job, with goals \{'1': 1.0, .* and not \{'1': 0.5\}"):
        learn_sequence(job(data, tasks=(1, 2), goals={1: 0.5}), tmp_path)
    with pytest.raises(ValueError, match="another job, with protocol 'paper' and not 'clean'"):
        learn_sequence(job(data, protocol="clean", tasks=(1,)), tmp_path)
    assert (tmp_path / "job.json").read_bytes() == before


@pytest.mark.parametrize("tasks", [(), (2, 1), (1, 1)])
def test_tasks_are_numbers_that_rise(data: Path, tasks: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="; allowed: one or more numbers that rise"):
        job(data, tasks=tasks)


def test_a_damaged_task_file_is_named(data: Path, tmp_path: Path) -> None:
    learn_sequence(job(data), tmp_path)
    path = tmp_path / "task_02.safetensors"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)
    with pytest.raises(DamagedFileError, match=r"task_02\.safetensors"):
        verify(tmp_path)


@pytest.mark.parametrize(
    ("optimizer", "momentum", "decay"),
    [("sgd", 0.0, 0.0), ("sgd", 0.9, 1e-2), ("adam", 0.9, 1e-2), ("adamw", 0.9, 0.1)],
)
def test_no_optimizer_moves_what_is_frozen(
    data: Path, tmp_path: Path, optimizer: str, momentum: float, decay: float
) -> None:
    train = TrainSettings(optimizer, 0.01, momentum, decay, epochs=3, batch_size=8)  # type: ignore[arg-type]
    learn_sequence(job(data, train=train), tmp_path)
    report = verify(tmp_path)
    assert report.tasks == (1, 2, 3)
    assert report.probes_bit_equal


# Mutations: each breaks one thing that keeps earlier tasks as they are, and the certificate must say so.


def test_fires_when_the_freeze_is_removed(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Frozen kernels move in training: the bank refuses the solution."""
    monkeypatch.setattr(SGD, "step", moving_all(SGD.step))
    with pytest.raises(
        ForgettingError, match=r"task 2: \d+ frozen kernels of \w+ moved, owned by tasks \[1\]"
    ):
        learn_sequence(job(data), tmp_path)


def test_fires_when_frozen_kernels_are_overwritten(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same, with a bank that takes whatever training gives: the networks in memory have changed."""
    monkeypatch.setattr(SGD, "step", moving_all(SGD.step))
    monkeypatch.setattr(Bank, "_check_frozen", lambda bank, task, solution: None)
    add = Bank.add

    def overwriting(bank: Bank, task: int, solution: Solution) -> None:
        add(bank, task, solution)
        for name, used in solution.used.items():
            bank.weights[name][used] = solution.weights[name][used]

    monkeypatch.setattr(Bank, "add", overwriting)
    moved = r"task 1 was changed .*(stem|conv1|conv2|fc)\.weight moved"
    for _again in range(2):
        with pytest.raises(ForgettingError, match=moved):
            learn_sequence(job(data), tmp_path)
        assert RunDirectory(tmp_path).learned() == [1]
    assert not (tmp_path / "result.json").exists()


def test_fires_when_a_batchnorm_statistic_is_touched(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tensors = Workspace.private_vectors

    def shared(workspace: Workspace) -> dict[str, torch.Tensor]:
        """Statistics handed out without a copy, so that training a later task moves them."""
        vectors = tensors(workspace)
        first = kept.setdefault("norm.running_mean", vectors["norm.running_mean"])
        first[:2] += 1e-3
        vectors["norm.running_mean"] = torch.cat([first, vectors["norm.running_mean"][len(first) :]])[
            : len(vectors["norm.running_mean"])
        ]
        return vectors

    kept: dict[str, torch.Tensor] = {}
    monkeypatch.setattr(Workspace, "private_vectors", shared)
    add = Bank.add

    def aliasing(bank: Bank, task: int, solution: Solution) -> None:
        add(bank, task, solution)
        if task == 1:
            bank.private(1)["norm.running_mean"] = kept["norm.running_mean"][: bank.widths["outer"]]

    monkeypatch.setattr(Bank, "add", aliasing)
    with pytest.raises(ForgettingError, match=r"norm\.running_mean moved"):
        learn_sequence(job(data), tmp_path)


def test_fires_when_a_released_kernel_leaks_into_an_earlier_task(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An earlier task that sees every kernel owned by somebody, instead of those its bits name."""
    solution = Bank.solution

    def leaking(bank: Bank, task: int) -> Solution:
        sound = solution(bank, task)
        for name, bits in sound.used.items():
            sound.used[name] = bits | (bank.owners[name][: bits.shape[0], : bits.shape[1]] > 0)
        return sound

    monkeypatch.setattr(Bank, "solution", leaking)
    with pytest.raises(ForgettingError, match="task 1 was changed"):
        learn_sequence(job(data), tmp_path)


def test_fires_on_disk_when_a_kernel_is_changed_and_its_file_digest_recomputed(
    data: Path, tmp_path: Path
) -> None:
    learn_sequence(job(data), tmp_path)
    path, record_path = tmp_path / "task_01.safetensors", tmp_path / "task_01.json"
    tensors = load_file(path)
    tensors["fc.owned"][0, 0] += 1e-6
    save_file(tensors, path)
    record = json.loads(record_path.read_text())
    record["digest"] = digest.of_file(path)
    record_path.write_text(json.dumps(record))
    with pytest.raises(DamagedFileError, match="it was changed after it was written"):
        verify(tmp_path)
    (tmp_path / "result.json").unlink()
    (tmp_path / "job.json").write_text(json.dumps(RunDirectory(tmp_path).job() | {"tasks": [1]}))
    with pytest.raises(ForgettingError, match=r"task 1 was changed .*fc\.weight moved"):
        verify(tmp_path)


def test_fresh_process_verifies_a_real_network(tmp_path: Path) -> None:
    """With a network that a fresh process knows, through the command that every run ends with."""
    data = write_tiny_tasks(tmp_path / "tasks", 2)
    settings = METHODS["cl-lsg"].Settings()
    train = TrainSettings(epochs=2, batch_size=8)
    one = Job("tiny", "cl-lsg", "clean", 1, (1, 2), data, {"name": "lenet"}, train, settings, {2: 0.0})
    learn_sequence(one, tmp_path / "run")
    verify_in_fresh_process(tmp_path / "run")
    path = tmp_path / "run" / "task_01.json"
    path.write_text(path.read_text().replace('"previous": null', '"previous": "0"'))
    with pytest.raises(DamagedFileError, match=r"task_01\.json is damaged .it was changed"):
        verify_in_fresh_process(tmp_path / "run")


def test_the_library_imports_nothing_but_torch_numpy_and_safetensors() -> None:
    code = (
        "import sys, pkgutil, importlib, lsg\n"
        "for module in pkgutil.walk_packages(lsg.__path__, 'lsg.'): importlib.import_module(module.name)\n"
        "banned = {'pipeline', 'ray', 'mlflow', 'dvc', 'torchvision', 'pydantic', 'pandas', 'yaml'}\n"
        "print(sorted(banned & {name.split('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ
    )
    assert done.stdout.strip() == "[]"
