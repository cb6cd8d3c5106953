"""MLflow as a view of unit directories, on real sqlite stores."""

import json
import logging
import multiprocessing
import os
import shutil
import sqlite3
import subprocess
import sys
from collections import Counter
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from pipeline.errors import UserError
from pipeline.tracking.tracker import (
    MlflowTracker,
    Off,
    attach_report,
    default_uri,
    links,
    open_tracker,
    rebuild,
)
from tests.pipeline import made_units as made

HISTORY = [[0.9], [0.9, 0.8], [0.9, 0.7, 0.85]]


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sqlite store with all tables, none of our experiments; making one takes seconds, copying none."""
    path = tmp_path_factory.mktemp("store") / "mlflow.db"
    MlflowClient(f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture
def uri(migrated: Path, tmp_path: Path) -> str:
    shutil.copy(migrated, tmp_path / "mlflow.db")
    return f"sqlite:///{tmp_path}/mlflow.db"


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    return tmp_path / "runs"


def tracker(uri: str) -> MlflowTracker:
    opened = open_tracker(uri, made.BENCHMARK, interval=0)
    assert isinstance(opened, MlflowTracker)
    return opened


def runs_in(uri: str) -> list[Run]:
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name(made.BENCHMARK)
    assert experiment is not None
    return list(client.search_runs([experiment.experiment_id], order_by=["tags.mlflow.runName ASC"]))


def only_run(uri: str) -> Run:
    (run,) = runs_in(uri)
    return run


def points(uri: str, run: Run, metric: str) -> list[tuple[int, float]]:
    history = MlflowClient(uri).get_metric_history(run.info.run_id, metric)
    return [(point.step, point.value) for point in history]


def artifacts(uri: str, run: Run) -> list[str]:
    return [file.path for file in MlflowClient(uri).list_artifacts(run.info.run_id)]


def stored_points(uri: str) -> Counter[tuple[str, str, int]]:
    """How often each (run, metric, step) stands in the store, read past MLflow."""
    with sqlite3.connect(uri.removeprefix("sqlite:///")) as store:
        rows = store.execute("select run_uuid, key, step from metrics")
        return Counter((str(run), str(key), int(step)) for run, key, step in rows)


def show(uri: str, *directories: Path) -> None:
    shown = tracker(uri)
    for directory in directories:
        shown.follow(directory)
    shown.close()


def test_a_sequence_is_one_run_with_epochs_and_tasks_as_steps(uri: str, runs: Path) -> None:
    directory = made.sequence(runs, 1, HISTORY)
    show(uri, directory)
    run = only_run(uri)
    assert run.info.run_name == "cl-lsg seed 1"
    assert run.info.status == "FINISHED"
    assert points(uri, run, "task/accuracy") == [(1, 0.9), (2, 0.8), (3, 0.85)]
    assert points(uri, run, "train/loss") == [(epoch, 1 / epoch) for epoch in range(1, 7)]
    assert points(uri, run, "task/size_used") == [(1, 0.08), (2, 0.16), (3, 0.24)]
    assert run.data.metrics["final/average"] == pytest.approx((0.9 + 0.7 + 0.85) / 3)
    assert run.data.metrics["final/forgetting"] == pytest.approx((0.0 + 0.1) / 2)
    assert points(uri, run, "final/steps") == [(0, 24)]


def test_parameters_tags_data_set_and_artifacts_lead_back_to_the_unit(uri: str, runs: Path) -> None:
    directory = made.sequence(runs, 1, HISTORY)
    show(uri, directory)
    run = only_run(uri)
    assert run.data.params["penalty"] == "0.0001"
    assert run.data.params["train.lr"] == "0.01"
    assert run.data.params["network.name"] == "lenet"
    assert run.data.tags["unit"] == made.key_of(directory)
    assert run.data.tags["directories"] == f"cl-lsg/{directory.name}"
    assert {name: run.data.tags[name] for name in ("method", "protocol", "seed", "benchmark", "code")} == {
        "method": "cl-lsg",
        "protocol": "clean",
        "seed": "1",
        "benchmark": made.BENCHMARK,
        "code": "c" * 64,
    }
    assert run.inputs is not None
    (data,) = run.inputs.dataset_inputs
    assert (data.dataset.name, data.dataset.digest) == (made.BENCHMARK, "d" * 36)
    names = [f"task_{task:02d}.{kind}" for task in (1, 2, 3) for kind in ("json", "safetensors")]
    assert artifacts(uri, run) == names
    copied = Path(MlflowClient(uri).download_artifacts(run.info.run_id, "task_02.json"))
    assert json.loads(copied.read_text())["row"] == {"1": 0.9, "2": 0.8}


def test_goals_and_decisions_are_metrics_of_their_task(uri: str, runs: Path) -> None:
    directory = made.begin(runs, made.definition("cl-lsg", 1, [1, 2]))
    asked = {"answer": True, "goal": 0.95, "split": "validation", "reason": "below_target"}
    made.learn(directory, 1, [0.9])
    made.learn(directory, 2, [0.9, 0.8], goal=0.95, decisions=[{"question": "grow", "value": 0.7, **asked}])
    made.finish(directory)
    show(uri, directory)
    assert points(uri, only_run(uri), "task/goal") == [(2, 0.95)]
    assert points(uri, only_run(uri), "task/decision_grow") == [(2, 0.7)]


def test_units_of_one_task_feed_the_run_of_their_method_and_seed(uri: str, runs: Path) -> None:
    scratch = [made.alone(runs, "scratch", 1, task, accuracy) for task, accuracy in ((1, 0.9), (2, 0.8))]
    other = made.alone(runs, "scratch", 2, 1, 0.7)
    show(uri, *scratch, other)
    first, second = runs_in(uri)
    assert (first.info.run_name, second.info.run_name) == ("scratch seed 1", "scratch seed 2")
    assert points(uri, first, "task/accuracy") == [(1, 0.9), (2, 0.8)]
    assert points(uri, first, "task/size_allocated") == [(1, 1.0), (2, 2.0)]
    assert points(uri, first, "train/loss") == [(1, 1.0), (2, 0.5), (3, 1.0), (4, 0.5)]
    assert first.data.metrics["final/average"] == pytest.approx(0.85)
    assert len(artifacts(uri, first)) == 4


def test_fine_tune_counts_the_scratch_network_that_it_starts_from_as_task_1(uri: str, runs: Path) -> None:
    scratch = made.alone(runs, "scratch", 1, 1, 0.9)
    tuned = made.alone(runs, "fine-tune", 1, 2, 0.6, start=made.key_of(scratch))
    show(uri, tuned)
    run = only_run(uri)
    assert points(uri, run, "task/accuracy") == [(1, 0.9), (2, 0.6)]
    assert run.data.metrics["final/average"] == pytest.approx(0.75)
    assert points(uri, run, "final/size") == [(0, 2.0)]


def test_what_a_running_unit_writes_appears_at_the_next_poll(uri: str, runs: Path) -> None:
    shown = tracker(uri)
    unit = made.definition("cl-lsg", 1, [1, 2])
    shown.follow(runs / made.BENCHMARK / "cl-lsg" / "seed1-000000000000")
    shown.poll()
    directory = made.begin(runs, unit)
    shown.follow(directory)
    made.add_epoch(directory, 1, 1)
    with (directory / "events.jsonl").open("a") as file:
        file.write('{"event": "epo')
    shown.poll()
    run = only_run(uri)
    assert run.info.status == "RUNNING"
    assert points(uri, run, "train/loss") == [(1, 1.0)]
    (directory / "events.jsonl").write_text("")
    made.learn(directory, 1, [0.9])
    shown.poll()
    assert points(uri, run, "train/loss") == [(1, 1.0), (2, 0.5)]
    assert points(uri, run, "task/accuracy") == [(1, 0.9)]


def test_polls_closer_than_the_interval_cost_nothing(uri: str, runs: Path) -> None:
    directory = made.begin(runs, made.definition("cl-lsg", 1, [1, 2]))
    shown = open_tracker(uri, made.BENCHMARK, interval=3600)
    shown.follow(directory)
    shown.poll()
    made.learn(directory, 1, [0.9])
    shown.poll()
    assert points(uri, only_run(uri), "task/accuracy") == []
    shown.close()
    assert points(uri, only_run(uri), "task/accuracy") == [(1, 0.9)]


def test_a_log_that_is_cut_back_logs_no_point_twice(uri: str, runs: Path) -> None:
    directory = made.begin(runs, made.definition("cl-lsg", 1, [1, 2]))
    shown = tracker(uri)
    shown.follow(directory)
    made.learn(directory, 1, [0.9])
    made.add_epoch(directory, 2, 3)
    shown.poll()
    kept = (directory / "events.jsonl").read_text().splitlines(keepends=True)[:-2]
    (directory / "events.jsonl").write_text("".join(kept))
    shown.poll()
    made.learn(directory, 2, [0.9, 0.8])
    made.finish(directory)
    shown.close()
    assert points(uri, only_run(uri), "train/loss") == [(epoch, 1 / epoch) for epoch in range(1, 5)]
    assert set(stored_points(uri).values()) == {1}


@pytest.mark.slow
def test_a_run_left_by_a_killed_driver_is_continued_and_ended(uri: str, runs: Path) -> None:
    directory = made.begin(runs, made.definition("cl-lsg", 1, [1, 2]))
    made.learn(directory, 1, [0.9])
    tell = (
        "import os, sys; from pathlib import Path; from pipeline.tracking.tracker import open_tracker;"
        "t = open_tracker(sys.argv[1], 'digits'); t.follow(Path(sys.argv[2])); t.poll();"
        "os.kill(os.getpid(), 9)"
    )
    killed = subprocess.run([sys.executable, "-c", tell, uri, str(directory)], check=False)
    assert killed.returncode == -9
    left = only_run(uri)
    assert left.info.status == "RUNNING"
    made.learn(directory, 2, [0.9, 0.8])
    made.finish(directory)
    show(uri, directory)
    run = only_run(uri)
    assert (run.info.run_id, run.info.status) == (left.info.run_id, "FINISHED")
    assert points(uri, run, "task/accuracy") == [(1, 0.9), (2, 0.8)]
    assert set(stored_points(uri).values()) == {1}


def test_a_later_start_ends_runs_whose_driver_died(uri: str, runs: Path) -> None:
    abandoned, other = (made.begin(runs, made.definition("cl-lsg", seed, [1])) for seed in (1, 2))
    shown = tracker(uri)
    shown.follow(abandoned)
    shown.poll()
    tell = [sys.executable, "-c", "import os; print(os.getpid())"]
    dead = subprocess.run(tell, capture_output=True, check=True)
    run = only_run(uri)
    host = run.data.tags["driver"].rpartition(":")[0]
    MlflowClient(uri).set_tag(run.info.run_id, "driver", f"{host}:{int(dead.stdout)}")
    made.learn(other, 1, [0.9])
    made.finish(other)
    show(uri, other)
    assert [run.info.status for run in runs_in(uri)] == ["KILLED", "FINISHED"]


def test_a_run_that_another_living_driver_writes_is_left_alone(uri: str, runs: Path) -> None:
    directory = made.sequence(runs, 1, HISTORY)
    shown = tracker(uri)
    shown.follow(directory)
    shown.poll()
    run = only_run(uri)
    client = MlflowClient(uri)
    host = run.data.tags["driver"].rpartition(":")[0]
    client.update_run(run.info.run_id, status="RUNNING")
    client.set_tag(run.info.run_id, "driver", f"{host}:{os.getppid()}")
    client.set_tag(run.info.run_id, "content", "")
    show(uri, directory)
    assert only_run(uri).info.status == "RUNNING"


@pytest.mark.parametrize(("failing", "status"), [(True, "FAILED"), (False, "KILLED")])
def test_an_unfinished_run_ends_as_what_happened(uri: str, runs: Path, failing: bool, status: str) -> None:
    directory = made.begin(runs, made.definition("cl-lsg", 1, [1, 2]))
    made.learn(directory, 1, [0.9])
    shown = tracker(uri)
    shown.follow(directory)
    shown.close(failed=[directory] if failing else [])
    assert only_run(uri).info.status == status
    assert "final/average" not in only_run(uri).data.metrics


def test_rebuild_makes_everything_again_and_doing_it_twice_changes_nothing(uri: str, runs: Path) -> None:
    made.sequence(runs, 1, HISTORY)
    made.sequence(runs, 2, HISTORY)
    scratch = made.alone(runs, "scratch", 1, 1, 0.9)
    made.alone(runs, "fine-tune", 1, 2, 0.6, start=made.key_of(scratch))
    assert rebuild(runs, made.BENCHMARK, uri) == (4, 0)
    before = stored_points(uri)
    assert rebuild(runs, made.BENCHMARK, uri) == (0, 4)
    assert stored_points(uri) == before
    assert set(before.values()) == {1}
    names = [run.info.run_name for run in runs_in(uri)]
    assert names == ["cl-lsg seed 1", "cl-lsg seed 2", "fine-tune seed 1", "scratch seed 1"]


def test_rebuild_agrees_with_what_was_written_while_the_units_ran(
    uri: str, runs: Path, tmp_path: Path
) -> None:
    shown = tracker(uri)
    directories = []
    for task in (1, 2):
        directory = made.begin(runs, made.definition("scratch", 1, [task]))
        shown.follow(directory)
        shown.poll()
        made.learn(directory, task, [0.9])
        shown.poll()
        made.finish(directory)
        directories.append(directory)
    shown.close()
    assert rebuild(runs, made.BENCHMARK, uri) == (0, 1)
    again = f"sqlite:///{tmp_path}/again.db"
    shutil.copy(uri.removeprefix("sqlite:///"), tmp_path / "again.db")
    client = MlflowClient(again)
    client.delete_run(only_run(again).info.run_id)
    assert rebuild(runs, made.BENCHMARK, again) == (1, 0)
    live, rebuilt = only_run(uri), only_run(again)
    assert rebuilt.data.metrics == live.data.metrics
    assert rebuilt.data.params == live.data.params
    for metric in live.data.metrics:
        assert points(again, rebuilt, metric) == points(uri, live, metric)


def test_a_unit_learned_anew_with_other_values_replaces_its_run(uri: str, runs: Path) -> None:
    directory = made.sequence(runs, 1, HISTORY)
    show(uri, directory)
    shutil.rmtree(directory)
    made.sequence(runs, 1, [[0.9], [0.9, 0.8], [0.9, 0.8, 0.5]])
    assert rebuild(runs, made.BENCHMARK, uri) == (1, 0)
    assert points(uri, only_run(uri), "task/accuracy") == [(1, 0.9), (2, 0.8), (3, 0.5)]


def test_other_settings_and_other_images_are_other_runs(uri: str, runs: Path) -> None:
    for settings in ({"lr": 0.1}, {"lr": 0.2}):
        made.alone(runs, "scratch", 1, 1, 0.9, settings=settings)
    rate = {"lr": 0.1}
    old = made.begin(runs, made.definition("scratch", 1, [2], settings=rate))
    new = made.begin(runs, made.definition("scratch", 1, [2], settings=rate, data="new"), version="e" * 64)
    for directory, accuracy in ((old, 0.5), (new, 0.6)):
        made.learn(directory, 2, [accuracy])
        made.finish(directory)
    assert rebuild(runs, made.BENCHMARK, uri) == (3, 0)
    shown: dict[str, list[list[tuple[int, float]]]] = {"0.1": [], "0.2": []}
    for run in runs_in(uri):
        shown[run.data.params["lr"]].append(points(uri, run, "task/accuracy"))
    assert shown["0.2"] == [[(1, 0.9)]]
    assert sorted(shown["0.1"]) == [[(1, 0.9), (2, 0.5)], [(2, 0.6)]]


def test_a_damaged_unit_stops_a_rebuild_by_name_and_training_by_nothing(
    uri: str, runs: Path, caplog: pytest.LogCaptureFixture
) -> None:
    directory = made.sequence(runs, 1, HISTORY)
    (directory / "task_02.json").write_text("{")
    with pytest.raises(UserError, match=r"task_02\.json is damaged"):
        rebuild(runs, made.BENCHMARK, uri)
    with caplog.at_level(logging.WARNING):
        show(uri, directory)
    assert "task_02.json is damaged" in caplog.text


def test_a_damaged_sibling_that_nobody_follows_is_passed_over(
    uri: str, runs: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fresh = [made.alone(runs, "scratch", 1, task, 0.9) for task in (1, 2)]
    damaged = made.alone(runs, "scratch", 1, 3, 0.7)
    (damaged / "task_03.json").write_text("{")
    show(uri, *fresh)
    run = only_run(uri)
    assert (run.info.status, points(uri, run, "task/accuracy")) == ("FINISHED", [(1, 0.9), (2, 0.9)])
    assert "damaged" not in caplog.text


def test_a_damaged_unit_ends_its_own_run_and_no_other_one(
    uri: str, runs: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = (made.begin(runs, made.definition("cl-lsg", seed, [1, 2])) for seed in (1, 2))
    shown = tracker(uri)
    for directory in (first, second):
        shown.follow(directory)
    shown.poll()
    for directory in (first, second):
        made.learn(directory, 1, [0.9])
    (first / "task_01.json").write_text("{")
    for _ in range(2):
        shown.poll()
    made.learn(second, 2, [0.9, 0.8])
    made.finish(second)
    shown.close()
    assert [run.info.status for run in runs_in(uri)] == ["FAILED", "FINISHED"]
    assert caplog.text.count("task_01.json is damaged") == 1
    assert "store" not in caplog.text


def test_a_rebuild_writes_all_that_is_sound_before_it_names_the_damage(uri: str, runs: Path) -> None:
    damaged = made.sequence(runs, 1, HISTORY)
    (damaged / "task_02.json").write_text("{")
    made.sequence(runs, 2, HISTORY)
    with pytest.raises(UserError, match=r"task_02\.json is damaged"):
        rebuild(runs, made.BENCHMARK, uri)
    assert only_run(uri).info.run_name == "cl-lsg seed 2"


def test_a_store_that_cannot_be_written_warns_once(
    runs: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    directory = made.sequence(runs, 1, HISTORY)
    (tmp_path / "mlflow.db").write_text("this is no database")
    shown = tracker(f"sqlite:///{tmp_path}/mlflow.db")
    shown.follow(directory)
    with caplog.at_level(logging.WARNING, logger="pipeline.tracking.tracker"):
        shown.poll()
        shown.poll()
        shown.close()
    assert len([record for record in caplog.records if record.name == "pipeline.tracking.tracker"]) == 1
    with pytest.raises(UserError, match="cannot be written"):
        rebuild(runs, made.BENCHMARK, f"sqlite:///{tmp_path}/mlflow.db")


def test_off_needs_no_mlflow(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CL_LSG_TRACKING", "off")
    assert isinstance(open_tracker(None, made.BENCHMARK), Off)
    tell = (
        "import sys; from pathlib import Path; sys.modules['mlflow'] = None;"
        "from pipeline.tracking.tracker import open_tracker; t = open_tracker(None, 'digits');"
        "t.follow(Path('x')); t.poll(); t.close(); assert 'pandas' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", tell], check=True, env={**os.environ, "CL_LSG_TRACKING": "off"})


def test_off_as_an_option_wins_over_the_environment_and_leaves_it_alone(
    monkeypatch: pytest.MonkeyPatch, uri: str
) -> None:
    monkeypatch.setenv("CL_LSG_TRACKING", "mlflow")
    assert isinstance(open_tracker("off", made.BENCHMARK), Off)
    assert isinstance(open_tracker(uri, made.BENCHMARK), MlflowTracker)
    monkeypatch.setenv("CL_LSG_TRACKING", "off")
    assert isinstance(open_tracker(uri, made.BENCHMARK), MlflowTracker)


def test_an_unknown_choice_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CL_LSG_TRACKING", "wandb")
    with pytest.raises(UserError, match="CL_LSG_TRACKING=wandb"):
        open_tracker(None, made.BENCHMARK)
    for place in ("OFF", "wandb://runs", "./mlruns"):
        with pytest.raises(UserError, match=f"^{place} is no store of MLflow's; give off, "):
            open_tracker(place, made.BENCHMARK)


def test_the_default_store_is_the_checkout_s_even_in_a_copy_that_dvc_made(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    copy = tmp_path / ".dvc" / "tmp" / "exps" / "tmp1"
    copy.mkdir(parents=True)
    monkeypatch.chdir(copy)
    assert default_uri() == f"sqlite:///{tmp_path}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:5000")
    assert default_uri() == "http://127.0.0.1:5000"


def test_links_open_the_runs_side_by_side_and_as_charts(uri: str, runs: Path) -> None:
    with pytest.raises(UserError, match="no experiment digits"):
        links(uri, made.BENCHMARK)
    show(uri, made.sequence(runs, 1, HISTORY))
    number = only_run(uri).info.experiment_id
    assert links(uri, made.BENCHMARK) == {
        "runs": f"/#/experiments/{number}/runs?viewStateShareKey=side-by-side",
        "charts": f"/#/experiments/{number}/runs?compareRunsMode=CHART",
    }
    tags = MlflowClient(uri).get_experiment(number).tags
    view = json.loads(tags["mlflow.sharedViewState.side-by-side"])
    shown = {kind: set(getattr(only_run(uri).data, kind)) for kind in ("params", "metrics")}
    for column in view["selectedColumns"]:
        kind, _, name = column.partition(".")
        assert name.strip("`") in shown[kind], column


def written_report(folder: Path, text: str) -> Path:
    """A report of a page, a summary and a figure."""
    (folder / "figures").mkdir(parents=True, exist_ok=True)
    for name in ("index.html", "summary.txt", "figures/size.svg"):
        (folder / name).write_text(text)
    return folder


def reports(uri: str) -> list[Run]:
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name(made.BENCHMARK)
    return list(client.search_runs([experiment.experiment_id], "tags.identity = 'report'"))


def test_the_report_is_attached_once_and_replaced_when_it_changes(uri: str, tmp_path: Path) -> None:
    folder = written_report(tmp_path / "report", "first")
    attach_report(uri, made.BENCHMARK, folder)
    (run,) = reports(uri)
    assert run.info.status == "FINISHED"
    assert "first" in run.data.tags["mlflow.note.content"]
    client = MlflowClient(uri)
    assert {file.path for file in client.list_artifacts(run.info.run_id)} == {
        "index.html",
        "summary.txt",
        "figures",
    }
    assert [file.path for file in client.list_artifacts(run.info.run_id, "figures")] == ["figures/size.svg"]

    attach_report(uri, made.BENCHMARK, folder)
    assert [found.info.run_id for found in reports(uri)] == [run.info.run_id]
    attach_report(uri, made.BENCHMARK, written_report(folder, "second"))
    (replaced,) = reports(uri)
    assert replaced.info.run_id != run.info.run_id
    assert links(uri, made.BENCHMARK)["report"].endswith(f"/runs/{replaced.info.run_id}/artifacts/index.html")


def test_a_rebuild_leaves_the_report_and_counts_runs_only(uri: str, runs: Path, tmp_path: Path) -> None:
    attach_report(uri, made.BENCHMARK, written_report(tmp_path / "report", "text"))
    made.sequence(runs, 1, HISTORY)
    assert rebuild(runs, made.BENCHMARK, uri) == (1, 0)
    assert len(reports(uri)) == 1


def test_a_report_without_a_store_is_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    folder = written_report(tmp_path / "report", "text")
    (tmp_path / "file").write_text("")
    broken = f"sqlite:///{tmp_path}/file/mlflow.db"
    monkeypatch.setenv("CL_LSG_TRACKING", "off")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", broken)
    attach_report(None, made.BENCHMARK, folder)
    assert not caplog.records
    attach_report(broken, made.BENCHMARK, folder)
    assert "has no report of digits" in caplog.text


def test_an_experiment_that_was_deleted_comes_back(uri: str, runs: Path) -> None:
    directory = made.sequence(runs, 1, HISTORY)
    show(uri, directory)
    MlflowClient(uri).delete_experiment(only_run(uri).info.experiment_id)
    assert rebuild(runs, made.BENCHMARK, uri) == (0, 1)
    assert only_run(uri).info.status == "FINISHED"


def test_a_rebuild_without_units_says_so(uri: str, runs: Path) -> None:
    with pytest.raises(UserError, match="holds no units"):
        rebuild(runs, made.BENCHMARK, uri)


def _open_and_show(together: Barrier, uri: str, directory: Path) -> None:
    together.wait()
    shown = open_tracker(uri, made.BENCHMARK)
    shown.follow(directory)
    shown.close()


@pytest.mark.slow
def test_eight_processes_may_open_a_new_store_at_once(tmp_path: Path, runs: Path) -> None:
    uri = f"sqlite:///{tmp_path}/new.db"
    units = [made.sequence(runs, seed, HISTORY) for seed in range(1, 9)]
    context = multiprocessing.get_context("forkserver")
    store = "mlflow.store.tracking.sqlalchemy_store"
    context.set_forkserver_preload(["pipeline.tracking.view", store, __name__])
    together = context.Barrier(len(units))
    drivers = [context.Process(target=_open_and_show, args=(together, uri, unit)) for unit in units]
    for driver in drivers:
        driver.start()
    for driver in drivers:
        driver.join()
    assert [driver.exitcode for driver in drivers] == [0] * 8
    assert [run.info.status for run in runs_in(uri)] == ["FINISHED"] * 8
    assert set(stored_points(uri).values()) == {1}
