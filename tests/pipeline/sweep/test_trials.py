"""Trials are read from their units' directories; which one is chosen; what is left for a person."""

from dataclasses import replace
from pathlib import Path
from threading import Event, Thread

import pandas as pd
import pytest
from mlflow import MlflowClient
from ruamel.yaml import YAML

from pipeline.errors import UserError
from pipeline.locks import held
from pipeline.sweep.choice import choose, front
from pipeline.sweep.outputs import TABLE, command_to_run, write_outputs
from pipeline.sweep.settings import Sweep
from pipeline.sweep.sweep import run_sweep
from pipeline.sweep.trials import Outcome, Point
from pipeline.sweep.view import SweepView
from tests.pipeline.sweep.made_trials import PENALTY, made_row, made_study, made_sweep, write_unit


@pytest.fixture
def sweep(tmp_path: Path) -> Sweep:
    return made_sweep(made_study(tmp_path, "train.epochs=1"))


def test_a_trial_is_the_mean_over_tasks_and_seeds_of_validation_accuracy(tmp_path: Path) -> None:
    sweep = made_sweep(made_study(tmp_path, "train.epochs=1", "seeds=[1,2]"))
    study, trial = sweep.study, sweep.trial({PENALTY: 0.2})
    plan = study.plan(trial.values)
    assert trial.outcome() == Outcome((), False, None, ())
    for unit in study.needed(plan):
        write_unit(unit, study.bench.store.directory(unit), [0.9])
    first, second = study.units(plan)
    assert {unit.settings.penalty for unit in (first, second)} == {0.2}
    assert first.goals == pytest.approx({1: 0.89, 2: 0.89})
    write_unit(first, study.bench.store.directory(first), [0.81, 0.61])
    write_unit(second, study.bench.store.directory(second), [0.71], finished=False)
    told = trial.outcome()
    assert [point.learned for point in told.points] == [1, 2, 3]
    reached = [point.validation_accuracy for point in told.points]
    assert reached == pytest.approx([0.8, 0.7, (0.8 + 0.6 + 0.7) / 3])
    assert [point.size for point in told.points] == pytest.approx([0.1, 0.2, (0.2 + 0.1) / 2])
    assert [point.steps for point in told.points] == [8, 16, 24]
    assert told.points[-1].seconds == 4.5
    assert told.state == "stopped"
    (study.bench.store.directory(second) / "error.txt").write_text("Traceback\nArithmeticError: no\n")
    assert (trial.outcome().state, trial.outcome().fault) == ("failed", "ArithmeticError: no")


def test_a_baseline_s_trial_needs_no_goals_and_sums_its_tasks(tmp_path: Path) -> None:
    study = made_study(tmp_path, "train.epochs=1", method="fine-tune")
    sweep = made_sweep(study, "learn.fine-tune.lr=grid:0.1,0.2")
    trial = sweep.trial({"learn.fine-tune.lr": 0.2})
    plan = study.plan(trial.values)
    (start,), (tuned,) = study.needed(plan), study.units(plan)
    assert (start.method, start.tasks, tuned.settings.lr) == ("scratch", (1,), 0.2)
    for unit, accuracy in ((start, 0.81), (tuned, 0.61)):
        write_unit(unit, study.bench.store.directory(unit), [accuracy])
    told = trial.outcome()
    assert told.finished
    assert [point.validation_accuracy for point in told.points] == pytest.approx([0.8, 0.7])
    assert told.points[-1].size == 2.0


def test_values_that_do_not_fit_together_are_a_failed_trial(tmp_path: Path) -> None:
    params = ("learn.cl-lsg.seed_fraction=choice:0.125,0.5", "learn.cl-lsg.width_cap=choice:1.0,0.25")
    sweep = made_sweep(made_study(tmp_path), *params)
    sweep.check()
    trial = sweep.trial({"learn.cl-lsg.seed_fraction": 0.5, "learn.cl-lsg.width_cap": 0.25})
    told = trial.outcome()
    assert told.state == "failed"
    assert "allowed: at least seed_fraction" in str(told.fault)


def test_numbers_of_trials_outlast_the_process_and_equal_values_are_one(sweep: Sweep) -> None:
    assert [sweep.trial({PENALTY: value}).number for value in (0.3, 0.1, 0.3)] == [1, 2, 1]
    again = replace(sweep)
    assert again.trial({PENALTY: 0.1}).number == 2
    assert [trial.values[PENALTY] for trial in again.trials()] == [0.3, 0.1]


def test_a_sweep_waits_while_the_same_one_runs(
    tmp_path: Path, sweep: Sweep, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ran = Event()
    monkeypatch.setattr("pipeline.sweep.sweep._run", lambda *_: ran.set())
    waiting = Thread(target=run_sweep, args=(sweep, None, tmp_path))
    with held(sweep.lock, ""):
        waiting.start()
        assert not ran.wait(1.0)
    waiting.join(120.0)
    assert ran.is_set()
    assert "the same sweep runs already" in capsys.readouterr().err


def test_another_start_or_space_is_another_sweep(tmp_path: Path, sweep: Sweep) -> None:
    study = sweep.study
    others = [
        replace(sweep, samples=2),
        replace(sweep, study=replace(study, changes=("train.epochs=2",))),
        replace(sweep, study=replace(study, tasks=1)),
        made_sweep(study, f"{PENALTY}=grid:0.1,0.2"),
    ]
    assert len({each.identity for each in (sweep, *others)}) == 5
    assert replace(sweep, within=0.1).identity == sweep.identity


@pytest.mark.parametrize(
    ("trials", "chosen", "best"),
    [
        ([(0.90, 0.5), (0.94, 0.9), (0.937, 0.6)], 2, [0, 2, 1]),
        ([(0.90, 0.5), (0.94, 0.9), (0.934, 0.6)], 1, [0, 2, 1]),
        ([(0.940, 0.6), (0.936, 0.6)], 0, [0]),
        ([(0.5, 0.3), (0.5, 0.2)], 1, [1]),
    ],
)
def test_the_smallest_network_within_half_a_point_of_the_best_is_chosen(
    sweep: Sweep, trials: list[tuple[float, float]], chosen: int, best: list[int]
) -> None:
    rows = [made_row(sweep, index / 10, *trial) for index, trial in enumerate(trials)]
    assert choose(rows, 0.005) is rows[chosen]
    assert front(rows) == [rows[index] for index in best]


def test_what_is_not_finished_is_not_chosen(sweep: Sweep) -> None:
    rows = [made_row(sweep, 0.1, 0.99, 0.1, "stopped"), made_row(sweep, 0.2, 0.5, 0.3)]
    assert choose(rows, 0.005) is rows[1]
    assert choose(rows[:1], 0.005) is None


def test_the_table_keeps_other_sweeps_and_the_lines_can_be_set(tmp_path: Path, sweep: Sweep) -> None:
    other = made_sweep(sweep.study, "learn.cl-lsg.cap=grid:1.1,1.2")
    capped = replace(made_row(sweep, 0.1, 0.8, 0.5), trial=other.trial({"learn.cl-lsg.cap": 1.2}))
    write_outputs(other, [capped], tmp_path)
    rows = [
        made_row(sweep, 0.1, 0.9, 0.5),
        made_row(sweep, 0.2, 0.9, 0.4),
        made_row(sweep, 0.3, 0.9, 0.2, "failed"),
    ]
    for _ in range(2):
        written = write_outputs(sweep, rows, tmp_path)
    table = pd.read_csv(tmp_path / "digits" / TABLE)
    assert list(table["trial"]) == [1, 1, 2, 3]
    assert list(table["state"]) == ["finished", "finished", "finished", "failed"]
    assert list(table["chosen"]) == [True, False, True, False]
    assert table["learn.cl-lsg.cap"].tolist()[0] == 1.2
    assert table[PENALTY].tolist()[1:] == [0.1, 0.2, 0.3]
    assert table["validation_accuracy"].tolist() == [0.8, 0.9, 0.9, 0.5]
    assert table["units"].tolist()[2] == "digits/cl-lsg/seed1-0.2"
    assert [path.name for path in written] == [
        TABLE,
        *(f"sweep-cl-lsg.{kind}" for kind in ("yaml", "svg", "png")),
    ]
    lines = written[1].read_text()
    assert YAML(typ="safe").load(lines) == {"learn": {"cl-lsg": {"penalty": 0.2}}}
    assert "# 3 trials (2 finished, 1 failed), search random, scheduler asha" in lines
    assert "at most 0.5 points below the best one's" in lines
    assert "chosen: penalty 0.2" in written[2].read_text()
    assert "-S 'learn.cl-lsg.penalty=0.2'" in command_to_run(sweep, rows[1])


def test_a_damaged_table_is_named(tmp_path: Path, sweep: Sweep) -> None:
    (tmp_path / "digits").mkdir()
    (tmp_path / "digits" / TABLE).write_text("a,b\n1,2\n")
    with pytest.raises(UserError, match=r"sweep.csv is damaged .*; move it away and run the sweep again"):
        write_outputs(sweep, [made_row(sweep, 0.1, 0.9, 0.5)], tmp_path)


@pytest.mark.slow
def test_mlflow_shows_trials_below_their_sweep_once_and_no_test_accuracy(
    tmp_path: Path, sweep: Sweep
) -> None:
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    first, second = made_row(sweep, 0.1, 0.9, 0.5), made_row(sweep, 0.2, 0.9, 0.4)
    half = replace(first, outcome=replace(first.outcome, points=first.outcome.points[:1], finished=False))
    SweepView(sweep, uri).show(half, over=False)
    for _ in range(2):
        SweepView(sweep, uri).close([first, second])
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("digits-sweeps")
    assert experiment is not None
    runs = {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}
    title = f"sweep of cl-lsg {sweep.identity[:6]}"
    assert set(runs) == {title, "penalty 0.1", "penalty 0.2"}
    parent, child = runs[title], runs["penalty 0.2"]
    assert {run.data.tags.get("mlflow.parentRunId") for run in runs.values()} == {None, parent.info.run_id}
    assert child.data.params == {"penalty": "0.2"}
    assert (child.data.tags["chosen"], parent.data.tags["chosen_trial"]) == ("true", "2")
    assert parent.data.params["varied.penalty"] == "grid:0.1,0.2,0.3"
    assert parent.data.metrics["trials"] == 2
    history = client.get_metric_history(runs["penalty 0.1"].info.run_id, "validation_accuracy")
    assert [(point.step, point.value) for point in history] == [(1, 0.5), (2, 0.9)]
    assert {run.info.status for run in runs.values()} == {"FINISHED"}
    assert set(child.data.metrics) == {"validation_accuracy", "size", "steps"}
    assert set(parent.data.metrics) == {"trials", "validation_accuracy", "size"}
    wider = replace(sweep, within=0.5)
    larger = replace(second, outcome=replace(second.outcome, points=(Point(2, 0.91, 0.9, 20, 2.5),)))
    SweepView(wider, uri).close([first, larger])
    runs = {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}
    assert [runs[f"penalty {value}"].data.tags["chosen"] for value in (0.1, 0.2)] == ["true", "false"]
    assert runs[title].data.tags["chosen_trial"] == "1"
    assert "50" in runs[title].data.tags["rule"]


def test_a_store_that_is_gone_does_not_end_the_sweep(
    sweep: Sweep, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    SweepView(sweep, f"sqlite:///{tmp_path}/file/mlflow.db").close([made_row(sweep, 0.1, 0.9, 0.5)])
    assert "cannot be written" in caplog.text
