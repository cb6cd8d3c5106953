"""A record holds the tables as they are, leads to each unit's parameters, and says what is missing."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from pipeline.cli import main
from pipeline.errors import UserError
from pipeline.execution.hardware import describe
from pipeline.planned import Planned, PlannedUnit, planned_file, read_planned, standing
from pipeline.recorded import finished_run, part_of_run, record
from pipeline.report.paper.writing import CLAIMS
from pipeline.report.part import comparable
from pipeline.tables import FACTS, METRICS, TABLES, write_all
from tests.pipeline import made_units as made
from tests.pipeline.made_units import BENCHMARK
from tests.pipeline.test_tables import Bench
from tests.pipeline.tiny_experiment import CPU

MACHINE = {"processor": "abacus"}


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    bench = Bench(tmp_path)
    bench.seed(1)
    return bench


def written(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def told(folder: Path) -> dict[str, Any]:
    content = json.loads((folder / "units.json").read_text())
    assert isinstance(content, dict)
    return content


# --- a finished experiment --------------------------------------------------------------------------------


def test_tables_are_those_of_the_stage_and_every_row_leads_to_a_described_unit(
    bench: Bench, tmp_path: Path
) -> None:
    tables = bench.tables()
    recording = finished_run(BENCHMARK, bench.data, bench.runs, MACHINE)
    folder = record(recording, BENCHMARK, "first", tmp_path / "results")
    assert folder == tmp_path / "results" / BENCHMARK / "first"
    assert sorted(written(folder)) == sorted([*FACTS, METRICS, TABLES, CLAIMS, "units.json"])
    for name in (*FACTS, METRICS, TABLES, CLAIMS):
        assert (folder / name).read_bytes() == (tables / name).read_bytes()
    content = told(folder)
    assert (content["machine"], content["missing"]) == (MACHINE, [])
    rows = pd.read_csv(folder / "accuracy.csv")
    assert len(rows) > 0
    for unit, task in zip(rows["unit"], rows["task"], strict=True):
        described = content["units"][unit.removeprefix(f"{BENCHMARK}/")]
        assert described["key"].startswith(unit.rpartition("-")[2])
        assert described["covers"]["seed"] == 1
        if str(task) in described["tasks"]:
            assert described["tasks"][str(task)]["network"] == "1" * 64
            assert described["seconds"][str(task)] == 1.5
            assert set(described["accuracy"][str(task)]) == {"validation", "test"}


def test_a_record_says_when_it_was_made_and_when_each_unit_was_finished(bench: Bench, tmp_path: Path) -> None:
    bench.write()
    content = told(
        record(finished_run(BENCHMARK, bench.data, bench.runs, MACHINE), BENCHMARK, "first", tmp_path)
    )
    times = [content["recorded"], *(unit["finished"] for unit in content["units"].values())]
    for text in times:
        assert abs(datetime.fromisoformat(text) - datetime.now(UTC)) < timedelta(minutes=5)


def test_the_command_names_machine_and_data_of_the_run_and_not_the_machine_that_records(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy("params.yaml", tmp_path)
    bench.write()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CL_LSG_RUNS", str(bench.runs))
    monkeypatch.setenv("CL_LSG_THREADS", "7")
    assert main(["record", BENCHMARK, "unknown"]) == 0
    assert told(tmp_path / "results" / BENCHMARK / "unknown")["machine"]["threads"] == 7
    planned_file(bench.data, BENCHMARK).parent.mkdir()
    (digest,) = {unit.content["data"] for unit in bench.frames().units}
    cut = {digest: {"order": "seeded"}}
    plan = Planned(format=1, benchmark=BENCHMARK, machine=MACHINE, units={}, waiting=(), data=cut)
    made.write(planned_file(bench.data, BENCHMARK), plan.model_dump())
    assert main(["record", BENCHMARK, "first"]) == 0
    first = told(tmp_path / "results" / BENCHMARK / "first")
    assert (first["machine"], first["data"]) == (MACHINE, cut)


def test_the_machine_is_described_with_what_decides_bits() -> None:
    machine = describe(CPU)
    assert (machine["torch"], machine["threads"], machine["device"], machine["gpu"]) == (
        "any",
        1,
        "cpu",
        None,
    )
    assert machine["cores"] >= 1
    assert machine["processor"]
    assert machine["instructions"] == torch.backends.cpu.get_cpu_capability()


def test_a_hole_in_a_finished_experiment_is_an_error_and_keeps_what_was_recorded(
    bench: Bench, tmp_path: Path
) -> None:
    bench.write()
    folder = record(finished_run(BENCHMARK, bench.data, bench.runs, MACHINE), BENCHMARK, "first", tmp_path)
    before = written(folder)
    bench.list("learned", made.sequence(bench.runs, 2, [[0.9]]))
    bench.write()
    with pytest.raises(UserError, match=r"cl-lsg, seed 2, task 2\) is missing"):
        finished_run(BENCHMARK, bench.data, bench.runs, MACHINE)
    assert written(folder) == before


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a:b"])
def test_a_record_is_a_folder_of_its_benchmark(bench: Bench, tmp_path: Path, name: str) -> None:
    bench.write()
    with pytest.raises(UserError, match="is no name of a folder"):
        record(finished_run(BENCHMARK, bench.data, bench.runs, MACHINE), BENCHMARK, name, tmp_path)


# --- a run under way --------------------------------------------------------------------------------------


def planned(bench: Bench, *further: str, waiting: Iterable[str] = ()) -> Planned:
    """What a run planned: all that was listed, and units of cl-lsg that were never begun."""
    units = {name: place for stage in bench.listed.values() for name, place in stage.items()}
    units |= {name: f"{BENCHMARK}/cl-lsg/{name.partition(' ')[2]}-0123456789ab" for name in further}
    described = {
        name: PlannedUnit(method=place.split("/")[1], seed=int(name.partition(" seed")[2][0]), place=place)
        for name, place in units.items()
    }
    return Planned(format=1, benchmark=BENCHMARK, machine=MACHINE, units=described, waiting=tuple(waiting))


def begin_seed_2(bench: Bench) -> Path:
    """Seed 2 as a kill left it: scratch and fine-tune are finished, cl-lsg has learned one of its tasks."""
    bench.seed(2, shift=0.01)
    (name,) = (name for name in bench.listed["learned"] if "seed2" in name)
    directory = bench.place(name)
    for path in (directory / "result.json", directory / "task_02.json", directory / "task_03.json"):
        path.unlink()
    return directory


def test_what_is_finished_goes_in_and_what_is_missing_is_named(bench: Bench, tmp_path: Path) -> None:
    directory = begin_seed_2(bench)
    plan = planned(bench, "cl-lsg seed3", waiting=["grow-matched seed1"])
    recording = part_of_run(plan, bench.runs)
    folder = record(recording, BENCHMARK, "part", tmp_path / "results")
    content = told(folder)
    assert content["missing"] == [
        "cl-lsg seed2 (1 of 3 tasks learned)",
        "cl-lsg seed3 (not begun)",
        "grow-matched seed1 (waits for goals or sizes)",
    ]
    assert content["machine"] == MACHINE
    assert len(content["units"]) == 11
    assert f"cl-lsg/{directory.name}" not in content["units"]
    facts = pd.read_csv(folder / "accuracy.csv")
    assert set(zip(facts["method"], facts["seed"], strict=True)) == {
        *(("scratch", 1), ("fine-tune", 1), ("cl-lsg", 1)),
        *(("scratch", 2), ("fine-tune", 2)),
    }
    for name in (TABLES, CLAIMS):
        note = (folder / name).read_text().splitlines()[2]
        assert note.startswith(
            "Incomplete, with 11 units finished; missing: cl-lsg seed2 (1 of 3 tasks learned)"
        )


def test_tables_of_a_part_compare_methods_under_the_same_seeds(bench: Bench, tmp_path: Path) -> None:
    begin_seed_2(bench)
    recording = part_of_run(planned(bench), bench.runs)
    assert recording.compared is not None
    assert set(recording.compared.runs) == {
        ("scratch", 1),
        ("scratch", 2),
        ("fine-tune", 1),
        ("fine-tune", 2),
    }
    summary = json.loads((record(recording, BENCHMARK, "part", tmp_path) / METRICS).read_text())
    # scratch: (0.9 + 0.8 + 0.7) / 3 under seed 1, 0.01 more under seed 2
    assert summary["scratch.average"] == pytest.approx(0.805)
    assert (
        "Compared here: scratch, fine-tune, seeds 1, 2."
        in (tmp_path / BENCHMARK / "part" / TABLES).read_text()
    )


def test_a_part_has_a_whole_report_too(bench: Bench, tmp_path: Path) -> None:
    begin_seed_2(bench)
    compared = part_of_run(planned(bench), bench.runs).compared
    assert compared is not None
    (tmp_path / "report").mkdir()
    write_all(compared, tmp_path / "report")
    page = (tmp_path / "report/index.html").read_text()
    assert "fine-tune" in page
    assert "cl-lsg/seed2" not in page


def test_a_part_is_recorded_again_as_it_grows_and_ends_as_the_whole(bench: Bench, tmp_path: Path) -> None:
    directory = begin_seed_2(bench)
    folder = record(part_of_run(planned(bench), bench.runs), BENCHMARK, "run", tmp_path)
    (folder / "stray.txt").write_text("of an older record")
    for task in (2, 3):
        made.learn(directory, task, [0.9] * task)
    made.finish(directory)
    record(part_of_run(planned(bench), bench.runs), BENCHMARK, "run", tmp_path)
    bench.write()
    whole = record(finished_run(BENCHMARK, bench.data, bench.runs, MACHINE), BENCHMARK, "whole", tmp_path)
    assert sorted(written(folder)) == sorted(written(whole))
    for name in (*FACTS, METRICS, TABLES, CLAIMS):
        assert sorted((folder / name).read_text().splitlines()) == sorted(
            (whole / name).read_text().splitlines()
        )
    assert told(folder)["missing"] == []
    assert told(folder)["units"] == told(whole)["units"]
    assert sorted(path.name for path in folder.parent.iterdir()) == ["run", "whole"]


def test_units_that_make_no_table_yet_are_recorded_all_the_same(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.list("targets", made.alone(bench.runs, "scratch", 1, 1, 0.9))
    bench.listed["targets"]["scratch seed1-task02"] = f"{BENCHMARK}/scratch/seed1-task02-0123456789ab"
    recording = part_of_run(planned(bench), bench.runs)
    folder = record(recording, BENCHMARK, "part", tmp_path / "results")
    assert list(written(folder)) == ["units.json"]
    (unit,) = told(folder)["units"].values()
    assert unit["accuracy"] == {"1": {"validation": pytest.approx(0.89), "test": 0.9}}
    assert told(folder)["missing"] == ["scratch seed1-task02 (not begun)"]


def test_nothing_finished_is_nothing_to_record(tmp_path: Path) -> None:
    plan = planned(Bench(tmp_path), "cl-lsg seed1")
    assert standing(plan, tmp_path / "runs").missing == ["cl-lsg seed1 (not begun)"]
    with pytest.raises(UserError, match=f"no unit of {BENCHMARK} is finished below"):
        part_of_run(plan, tmp_path / "runs")


def test_a_plan_that_is_missing_or_damaged_is_one_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="digits.json is not there; `cl-lsg run`"):
        read_planned(tmp_path / "digits.json", BENCHMARK)
    for text, said in (
        ('{"units": ', r"digits.json is no plan of a run \(Invalid JSON"),
        ("benchmarks: [digits]", f"is no plan of a run .*; give the file planned/{BENCHMARK}.json"),
        ('{"format": 1}', r"is no plan of a run \(benchmark: Field required\)"),
    ):
        (tmp_path / "digits.json").write_text(text)
        with pytest.raises(UserError, match=said):
            read_planned(tmp_path / "digits.json", BENCHMARK)


def test_a_plan_of_another_benchmark_is_refused(bench: Bench, tmp_path: Path) -> None:
    path = tmp_path / "digits.json"
    path.write_text(planned(bench).model_dump_json())
    assert read_planned(path, BENCHMARK).benchmark == BENCHMARK
    with pytest.raises(UserError, match=f"digits.json plans {BENCHMARK} and not cifar100-split; give the"):
        read_planned(path, "cifar100-split")


@pytest.mark.parametrize(
    ("complete", "block"),
    [
        ("", ""),
        ("a1 b1", ""),  # nothing without scratch
        ("scratch1 a1 b2", "scratch1 a1"),
        ("scratch1 scratch2 scratch3 a1", "scratch1 scratch2 scratch3"),
        ("scratch1 scratch2 a1 a2 b1", "scratch1 scratch2 a1 a2"),
        ("scratch1 scratch2 a1", "scratch1 a1"),  # as many runs, but two methods
        ("scratch2 a2 b2 scratch1", "scratch2 a2 b2"),
    ],
)
def test_the_largest_block_of_methods_and_seeds_is_compared(complete: str, block: str) -> None:
    def pairs(text: str) -> set[tuple[str, int]]:
        return {(name[:-1], int(name[-1])) for name in text.split()}

    assert comparable(pairs(complete)) == pairs(block)
