"""The stages `targets` and `learn`: goals come from the right split and rule, for their own settings."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from lsg import sequence
from lsg.events import ignore
from lsg.job import Job
from pipeline.errors import UserError
from pipeline.learn import learn
from pipeline.params.experiment import Params
from pipeline.stage import Bench, known_units
from pipeline.status import state_of, status
from pipeline.targets import targets
from pipeline.tracking.tracker import MlflowTracker
from pipeline.units.records import open_unit
from pipeline.units.store import RunStore, run_unit
from tests.pipeline import made_units as made
from tests.pipeline.tiny_experiment import BENCHMARK, tiny_bench, tiny_params, tiny_plan

VALIDATION, TEST = 0.5, 0.25


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """Stages over a library that trains nothing: fine-tune beats scratch, but not from task 3 on."""

    def learned(job: Job, directory: Path, _report: Callable[..., None], _s: float) -> dict[str, Any]:
        for task in job.tasks:
            better = 0.0 if job.method == "scratch" else 0.1 if task < 3 else -0.1
            reached = {"validation": VALIDATION + task / 100 + better, "test": TEST + task / 100 + better}
            made.learn(directory, task, [reached["test"]] * (job.tasks.index(task) + 1), accuracy=reached)
        made.finish(directory)
        return {}

    monkeypatch.setattr(sequence, "learn_sequence", learned)
    monkeypatch.setenv("CL_LSG_TRACKING", "off")
    return tiny_bench(tmp_path)


def test_a_method_is_learned_within_the_sizes_that_another_one_reached(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CL_LSG_TRACKING", "off")
    params, bench = tiny_params("methods=[scratch,cl-lsg,grow-matched]"), tiny_bench(tmp_path)
    targets(params, BENCHMARK, bench, 2)
    units = json.loads(learn(params, BENCHMARK, bench, 2).read_text())["units"]
    grown, matched = (
        open_unit(bench.store.root / units[f"{name} seed1"]) for name in ("cl-lsg", "grow-matched")
    )
    sizes = [grown.record(task).size.allocated for task in (1, 2)]
    assert matched.definition.settings["sizes"] == sizes
    assert all(matched.record(task).size.allocated <= size for task, size in zip((1, 2), sizes, strict=True))
    assert "waiting" not in status_of(params, bench)


def status_of(params: Params, bench: Bench) -> str:
    """What `status` says of the first two tasks' units."""
    plan = bench.plan(params, BENCHMARK, 2)
    units, waiting = known_units(plan, bench)
    return "\n".join([waiting, *(state_of(unit, bench.store) for unit in units)])


def test_status_counts_the_tasks_of_a_unit_and_not_those_of_the_benchmark(tmp_path: Path) -> None:
    store, second = RunStore(tmp_path / "runs"), tiny_plan().units("targets")[1]
    run_unit(second, store, ignore)
    (store.directory(second) / "result.json").unlink()
    assert second.tasks == (2,)
    assert state_of(second, store).startswith("interrupted, after task 1 of 1, ")


def written(bench: Bench, *overrides: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(targets(tiny_params(*overrides), BENCHMARK, bench).read_text())
    return content


@pytest.mark.parametrize(
    ("overrides", "split", "goals"),
    [
        ([], "validation", [0.51, 0.52, 0.53, 0.54, 0.55]),
        (["protocol=paper"], "test", [0.26, 0.27, 0.28, 0.29, 0.30]),
        (["targets.rule=best_of"], "validation", [0.51, 0.62, 0.53, 0.54, 0.55]),
        (
            ["targets.rule=best_of", "learn.fine-tune.start=random_previous"],
            "validation",
            [0.61, 0.62, 0.53, 0.54, 0.55],
        ),
    ],
)
def test_goals_are_the_baselines_accuracies_on_the_split_that_decides(
    bench: Bench, overrides: list[str], split: str, goals: list[float]
) -> None:
    content = written(bench, *overrides)
    assert content["split"] == split
    assert list(content["goals"]) == ["1"]
    assert [content["goals"]["1"][str(task)] for task in range(1, 6)] == pytest.approx(goals)


def test_each_seed_has_goals_of_its_own_and_units_are_listed_with_their_places(bench: Bench) -> None:
    content = written(bench, "seeds=[1,2]")
    assert set(content["goals"]) == {"1", "2"}
    assert len(content["units"]) == 18
    for place in content["units"].values():
        assert (bench.store.root / place / "result.json").is_file()
    learned = json.loads(learn(tiny_params("seeds=[1,2]"), BENCHMARK, bench).read_text())
    assert set(learned) == {"format", "units"}
    assert set(learned["units"]) == {"cl-lsg seed1", "cl-lsg seed2"}


def test_status_lists_damaged_units_beside_the_others(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    places = written(bench)["units"]
    places |= json.loads(learn(tiny_params(), BENCHMARK, bench).read_text())["units"]
    damaged = ("scratch seed1-task02", "cl-lsg seed1")
    for name in damaged:
        (bench.store.root / places[name] / "result.json").write_text("{")
    capsys.readouterr()
    status(tiny_params(), bench)
    lines = {line[8:36].rstrip(): line[37:] for line in capsys.readouterr().out.splitlines()}
    assert set(lines) == set(places)
    for name, said in lines.items():
        assert said.startswith("damaged: " if name in damaged else "finished, "), name
    assert f"{places[damaged[0]]}/result.json is damaged" in lines[damaged[0]]
    assert "delete its directory to compute it again" in lines[damaged[0]]


def test_a_finished_unit_without_its_definition_is_damaged_and_not_waiting(bench: Bench) -> None:
    written(bench)
    unit = next(iter(bench.plan(tiny_params(), BENCHMARK).units("targets")))
    (bench.store.directory(unit) / "unit.json").unlink()
    assert state_of(unit, bench.store).startswith("damaged: ")
    assert "unit.json is damaged (it is missing)" in state_of(unit, bench.store)


@pytest.mark.parametrize(
    "change", ["train.lr=0.02", "targets.rule=best_of", "seeds=[1,2]", "methods=[cl-lsg]"]
)
def test_goals_of_other_settings_are_refused(bench: Bench, change: str) -> None:
    written(bench)
    with pytest.raises(
        UserError, match="holds the goals of other settings, data or code; run `cl-lsg targets"
    ):
        learn(tiny_params(change), BENCHMARK, bench)


def test_methods_alone_change_no_goals(bench: Bench) -> None:
    written(bench)
    assert learn(tiny_params("learn.cl-lsg.cap=1.1"), BENCHMARK, bench).is_file()


def test_a_split_that_is_empty_cannot_be_a_goal(bench: Bench) -> None:
    def emptied(job: Job, directory: Path, *_others: object) -> None:
        for place, task in enumerate(job.tasks, 1):
            made.learn(directory, task, [0.5] * place, accuracy={"test": 0.5})
        made.finish(directory)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sequence, "learn_sequence", emptied)
        with pytest.raises(UserError, match=r"has no validation accuracy .*data.validation above 0"):
            targets(tiny_params(), BENCHMARK, bench)


@pytest.mark.slow
def test_the_same_command_completes_the_runs_that_a_kill_left_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A baseline's run ends with its stage, when no unit of it may be left to follow."""
    monkeypatch.setenv("CL_LSG_TRACKING", "mlflow")
    tracked = replace(tiny_bench(tmp_path), tracking=f"sqlite:///{tmp_path}/mlflow.db")
    params = tiny_params("methods=[scratch]")

    def statuses() -> list[tuple[str, bool]]:
        client = MlflowClient(tracked.tracking)
        experiment = client.get_experiment_by_name(BENCHMARK)
        assert experiment is not None
        runs = client.search_runs([experiment.experiment_id])
        return [(run.info.status, "final/average" in run.data.metrics) for run in runs]

    with monkeypatch.context() as patched:
        patched.setattr(MlflowTracker, "close", lambda tracker, failed=(): tracker.poll())
        targets(params, BENCHMARK, tracked, 2)
    assert statuses() == [("RUNNING", False)]
    targets(params, BENCHMARK, tracked, 2)
    assert statuses() == [("FINISHED", True)]
