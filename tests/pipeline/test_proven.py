"""Every unit is checked and listed; what is lost, damaged or foreign is one line with its file and remedy."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from lsg import certificate
from lsg.events import ignore
from lsg.methods import METHODS
from lsg.networks import NETWORKS
from pipeline.cli import main
from pipeline.units.proven import prove
from pipeline.units.store import RunStore, run_unit
from tests.pipeline.test_imported import edit, unit_of, without
from tests.pipeline.tiny_experiment import tiny_plan

DELETE = "delete its directory to compute it again"
Change = Callable[[Path], object]


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with two real units of digits: scratch on task 1, and two tasks of cl-lsg."""
    store, plan = RunStore(tmp_path_factory.mktemp("learned") / "runs"), tiny_plan()
    for unit in (plan.units("targets")[0], *plan.units("learn", {1: {1: 0.9, 2: 0.9}})):
        run_unit(unit, store, ignore)
    return store.root


@pytest.fixture
def runs(learned: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it that a test may spoil."""
    monkeypatch.chdir(tmp_path)
    return Path(shutil.copytree(learned, tmp_path / "runs"))


def job(**values: object) -> Change:
    return lambda unit: edit(unit / "job.json", lambda content: content.update(values))


def unfinished(unit: Path) -> None:
    (unit / "result.json").unlink()


FAULTS: dict[str, tuple[Change, str]] = {
    "an empty job": (
        lambda unit: (unit / "job.json").write_text("{}"),
        "job.json is damaged (it has no tasks, method, network, image_shape, settings, protocol, seed, "
        f"threads); {DELETE}",
    ),
    "a job that is a list": (
        lambda unit: (unit / "job.json").write_text("[]"),
        f"job.json is damaged (not a JSON object); {DELETE}",
    ),
    "no job": (lambda unit: (unit / "job.json").unlink(), f"job.json is damaged (it is missing); {DELETE}"),
    "a method of another checkout": (
        job(method="nope"),
        "job.json: this checkout has no method 'nope'; use a checkout that has it",
    ),
    "a method that is no name": (job(method=[]), "job.json: this checkout has no method []"),
    "a network of another checkout": (
        job(network={"name": "my-net"}),
        "job.json: this checkout has no network 'my-net'; use a checkout that has it",
    ),
    "a network without a name": (
        job(network="lenet"),
        f"job.json is damaged (its network has no name); {DELETE}",
    ),
    "no definition": (
        lambda unit: (unit / "unit.json").unlink(),
        f"unit.json is damaged (it is missing); {DELETE}",
    ),
    "a folder in a file's place": (
        lambda unit: ((unit / "task_01.safetensors").unlink(), (unit / "task_01.safetensors").mkdir()),
        "task_01.safetensors",
    ),
    "another network": (
        job(network={"name": "vgg16-bn"}),
        f"job.json is damaged (it differs from unit.json in network); {DELETE}",
    ),
    "a lost record": (
        lambda unit: (unit / "task_01.json").unlink(),
        f"task_01.json is damaged (it is missing though a later task's is there); {DELETE}",
    ),
    "a lost record of an unfinished unit": (
        lambda unit: (unfinished(unit), (unit / "task_01.json").unlink()),
        f"task_01.json is damaged (it is missing though a later task's is there); {DELETE}",
    ),
    "a lost last record": (
        lambda unit: (unit / "task_02.json").unlink(),
        f"task_02.json is damaged (it is missing); {DELETE}",
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_verify_and_export_name_the_file_and_the_remedy_and_the_other_units_are_verified(
    runs: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    change, said = FAULTS[name]
    unit, other = unit_of(runs, "cl-lsg"), unit_of(runs, "scratch")
    change(unit)
    assert main(["verify", str(runs)]) == 1
    told = capsys.readouterr()
    assert told.out.splitlines() == [
        f"{unit}: failed",
        f"{other}: 1 task unchanged, probe logits bit-equal",
    ]
    assert f"cl-lsg: 1 of 2 units failed: {unit}: " in told.err
    assert said in told.err
    assert told.err.count("\n") == 1
    assert main(["export", str(unit), "--task", "1", "--to", "one.pt2"]) == 2
    assert said in capsys.readouterr().err
    assert not Path("one.pt2").exists()


@pytest.mark.parametrize("command", ["verify", "import"])
def test_a_place_that_is_not_there_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    assert main([command, str(tmp_path / "none")]) == 2
    assert "none is not there; give " in capsys.readouterr().err


def test_what_a_killed_import_left_is_no_unit(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    unit = unit_of(runs, "cl-lsg")
    left = unit.with_name(f".{unit.name}.99999999.partial") / unit.name
    shutil.copytree(unit, left)
    (left / "task_02.json").unlink()
    assert main(["verify", str(runs)]) == 0
    assert ".partial" not in capsys.readouterr().out


def test_an_unfinished_unit_is_said_to_be_one(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    unit = unit_of(runs, "cl-lsg")
    unfinished(unit)
    assert main(["verify", str(unit)]) == 0
    assert capsys.readouterr().out.endswith(": 2 tasks unchanged, probe logits bit-equal; not finished\n")


def test_a_record_without_its_digest_is_one_line(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    unit = unit_of(runs, "scratch")
    unfinished(unit)
    edit(unit / "task_01.json", lambda record: record.pop("digest"))
    assert main(["verify", str(unit)]) == 1
    said = f"{unit} cannot be rebuilt (KeyError: 'digest'); use the checkout that learned it, or delete it"
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("kind", "known", "name"), [("method", METHODS, "cl-lsg"), ("network", NETWORKS, "lenet")]
)
def test_a_unit_of_another_checkout_is_not_called_damaged(
    runs: Path,
    capsys: pytest.CaptureFixture[str],
    kind: str,
    known: dict[str, object],
    name: str,
) -> None:
    unit = unit_of(runs, "cl-lsg")
    with without(known, name):
        assert main(["verify", str(unit)]) == 1
    said = f"{unit}/job.json: this checkout has no {kind} {name!r}; use a checkout that has it"
    assert said in capsys.readouterr().err


def test_a_unit_before_its_first_record_is_no_proof(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    unit = unit_of(runs, "cl-lsg")
    for path in (*unit.glob("task_*"), unit / "result.json"):
        path.unlink()
    assert main(["verify", str(unit)]) == 0
    assert capsys.readouterr().out == f"{unit}: nothing is learned yet; not finished\n"


def test_a_run_of_the_library_alone_needs_no_unit_json(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    unit = unit_of(runs, "cl-lsg").rename(runs / "mine")
    (unit / "unit.json").unlink()
    assert main(["verify", str(unit)]) == 0
    assert "2 tasks unchanged" in capsys.readouterr().out
    job(settings={"luck": 1})(unit)
    assert main(["verify", str(unit)]) == 1
    assert "job.json does not fit this checkout (" in capsys.readouterr().err


def test_a_record_in_results_is_no_unit(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It keeps copies of units' small files, which prove nothing and are no lost units."""
    unit = unit_of(runs, "cl-lsg")
    kept = Path("results/digits/first/units/cl-lsg") / unit.name
    kept.mkdir(parents=True)
    for name in ("unit.json", "task_01.json", "task_02.json", "result.json", "seconds.json"):
        shutil.copy(unit / name, kept)
    assert main(["verify", "results"]) == 2
    assert "results holds no unit" in capsys.readouterr().err


def test_a_proof_computes_with_the_threads_of_the_run(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With others, sums may differ in their last bits. The caller's number is as before then."""
    seen, probe, before = [], certificate.probe_logits, torch.get_num_threads()

    def noted(*arguments: Any) -> Tensor:
        seen.append(torch.get_num_threads())
        return probe(*arguments)

    monkeypatch.setattr(certificate, "probe_logits", noted)
    torch.set_num_threads(3)
    try:
        assert prove(unit_of(runs, "cl-lsg")).probes_bit_equal
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
    assert seen == [1, 1]


@pytest.mark.parametrize("given", ["nowhere", "runs", "runs/digits/cl-lsg"])
def test_export_of_what_is_no_unit_asks_for_one(
    runs: Path, capsys: pytest.CaptureFixture[str], given: str
) -> None:
    assert main(["export", given, "--task", "1", "--to", "one.pt2"]) == 2
    assert capsys.readouterr().err == (
        f"cl-lsg: {given} is no unit; give a unit's directory: runs/BENCH/METHOD/SEED-KEY\n"
    )


def test_export_of_a_record_s_unit_asks_for_the_one_that_was_learned(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    unit, kept = unit_of(runs, "cl-lsg"), Path("results/digits/first/units/cl-lsg/seed1")
    kept.mkdir(parents=True)
    for name in ("unit.json", "task_01.json", "result.json"):
        shutil.copy(unit / name, kept)
    assert main(["export", str(kept), "--task", "1", "--to", "one.pt2"]) == 2
    told = "is a record, which holds no networks; give a unit's directory: runs/BENCH/METHOD/SEED-KEY"
    assert capsys.readouterr().err == f"cl-lsg: {kept} {told}\n"


def test_export_of_a_task_that_was_not_learned_names_those_that_were(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    unit = unit_of(runs, "cl-lsg")
    assert json.loads((unit / "result.json").read_text())["tasks"] == [1, 2]
    assert main(["export", str(unit), "--task", "3", "--to", "three.pt2"]) == 2
    assert f"{unit} has learned tasks [1, 2], not task 3" in capsys.readouterr().err
