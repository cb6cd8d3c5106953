"""Records of other times and machines make the tables that one run over all of their units would make."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipeline.cli import main
from pipeline.errors import UserError
from pipeline.joined import joined
from pipeline.recorded import finished_run, record, recording_of
from pipeline.report.frames import complete_runs
from pipeline.report.paper.writing import CLAIMS
from pipeline.tables import FACTS, METRICS, TABLES
from pipeline.units.records import open_unit
from tests.pipeline import made_units as made
from tests.pipeline.made_units import BENCHMARK
from tests.pipeline.test_tables import Bench

SHIFT = 0.01


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """Records `one` and `two`, of a seed each, whose stores of units are gone."""
    results = tmp_path / "results"
    for seed, name in ((1, "one"), (2, "two")):
        bench = Bench(tmp_path / name)
        bench.seed(seed, SHIFT * (seed - 1))
        bench.write()
        record(finished_run(BENCHMARK, bench.data, bench.runs, {"processor": name}), BENCHMARK, name, results)
        shutil.rmtree(tmp_path / name)
    return results


def told(folder: Path) -> dict[str, Any]:
    content = json.loads((folder / "units.json").read_text())
    assert isinstance(content, dict)
    return content


def lines(path: Path) -> list[str]:
    return sorted(path.read_text().splitlines())


def only(results: Path, name: str, method: str) -> Path:
    """The folder that a record keeps of one method's first unit."""
    return sorted((results / BENCHMARK / name / "units" / method).iterdir())[0]


def changed(unit: Path, **changes: Any) -> None:
    """Give the unit another definition, as if it had been learned so, and its record the key of that."""
    units = unit.parents[2] / "units.json"
    content = json.loads((unit / "unit.json").read_text()) | changes
    (unit / "unit.json").write_text(json.dumps(content))
    described = json.loads(units.read_text())
    described["units"][f"{unit.parent.name}/{unit.name}"]["key"] = made.key_of(unit)
    units.write_text(json.dumps(described))


def test_the_tables_are_those_of_one_run_over_all_units(results: Path, tmp_path: Path) -> None:
    """But for seconds, which are of two machines."""
    bench = Bench(tmp_path / "both")
    bench.seed(1)
    bench.seed(2, SHIFT)
    bench.write()
    run = finished_run(BENCHMARK, bench.data, bench.runs, {})
    assert run.facts is not None
    assert run.compared is not None
    apart = {name: replace(getattr(run, name), timed_alike=False) for name in ("facts", "compared")}
    whole = record(replace(run, **apart), BENCHMARK, "whole", results)
    both = record(joined(BENCHMARK, ["one", "two"], results), BENCHMARK, "both", results)
    assert sorted(path.name for path in both.iterdir()) == sorted(path.name for path in whole.iterdir())
    for name in (*FACTS, METRICS, TABLES, CLAIMS):
        assert lines(both / name) == lines(whole / name), name
    kept = [path.relative_to(both) for path in both.rglob("units/*/*/*")]
    assert len(kept) > 30
    for path in kept:
        assert (both / path).read_bytes() == (whole / path).read_bytes()


def test_each_unit_says_which_machine_and_record_it_is_from(results: Path) -> None:
    record(joined(BENCHMARK, ["one", "two"], results), BENCHMARK, "both", results)
    both = record(joined(BENCHMARK, ["both", "one"], results), BENCHMARK, "again", results)
    for name, unit in told(both)["units"].items():
        origin = "one" if "/seed1" in name else "two"
        assert (unit["record"], unit["machine"]) == (origin, {"processor": origin})
        before = told(results / BENCHMARK / origin)["units"][name]
        assert {key: unit[key] for key in before} == before


def test_how_tasks_were_cut_is_kept_of_the_data_that_units_cover(tmp_path: Path) -> None:
    results, bench = tmp_path / "results", Bench(tmp_path / "one")
    bench.seed(1)
    bench.write()
    (digest,) = {unit.content["data"] for unit in bench.frames().units}
    known = {digest: {"order": "given"}, "0" * 64: {"order": "seeded"}}
    run = finished_run(BENCHMARK, bench.data, bench.runs, {}, known)
    one = record(run, BENCHMARK, "one", results)
    both = record(joined(BENCHMARK, ["one"], results), BENCHMARK, "both", results)
    assert told(one)["data"] == told(both)["data"] == {digest: {"order": "given"}}


def test_records_that_share_a_unit_join_in_any_order(tmp_path: Path) -> None:
    """Each holds a copy of the scratch unit that its fine-tune units start from."""
    results = tmp_path / "results"
    for name, task in (("one", 2), ("two", 3)):
        bench = Bench(tmp_path / name)
        first = bench.list("targets", made.alone(bench.runs, "scratch", 1, 1, 0.6))
        for other in (2, 3):
            bench.list("targets", made.alone(bench.runs, "scratch", 1, other, 0.6))
        start = {"start": made.key_of(first)}
        bench.list("targets", made.alone(bench.runs, "fine-tune", 1, task, 0.6, **start))
        units = [open_unit(bench.runs / place) for place in bench.listed["targets"].values()]
        lacking = [f"fine-tune seed1-task0{5 - task} (not begun)", "cl-lsg seed1 (1 of 3 tasks learned)"]
        part = recording_of(BENCHMARK, units, complete_runs(units), {"processor": name}, lacking)
        record(part, BENCHMARK, name, results)
    for names in (["one", "two"], ["two", "one"]):
        both = joined(BENCHMARK, names, results)
        assert both.facts is not None
        assert set(both.facts.runs) == {("scratch", 1), ("fine-tune", 1)}
        assert both.missing == ["cl-lsg seed1 (1 of 3 tasks learned)"]
        assert not both.facts.timed_alike
    assert joined(BENCHMARK, ["one"], results).facts.timed_alike


def test_methods_without_all_seeds_are_in_the_facts_and_not_compared(results: Path) -> None:
    shutil.rmtree(results / BENCHMARK / "two/units/cl-lsg")
    recording = joined(BENCHMARK, ["one", "two"], results)
    assert recording.facts is not None
    assert ("cl-lsg", 1) in recording.facts.runs
    folder = record(recording, BENCHMARK, "both", results)
    assert (folder / TABLES).read_text().splitlines()[2] == "Compared here: scratch, fine-tune, seeds 1, 2."


@pytest.mark.parametrize(
    ("method", "changes", "said"),
    [
        ("cl-lsg", {"settings": {"penalty": 1.0}}, "settings"),
        ("scratch", {"data": "f" * 64}, "data"),
        ("fine-tune", {"train": {"lr": 1.0}}, "train"),
        ("scratch", {"network": {"name": "vgg16-bn"}}, "network"),
    ],
)
def test_what_cannot_stand_in_one_table_is_refused(
    results: Path, method: str, changes: dict[str, Any], said: str
) -> None:
    changed(only(results, "two", method), **changes)
    with pytest.raises(UserError, match=rf"seed2.* and .*seed1.* differ in {said}; they cannot"):
        joined(BENCHMARK, ["one", "two"], results)


def towards(goal: float) -> dict[str, Any]:
    """A task that was decided by its goal."""
    decision = {"question": "grow", "answer": True, "value": 0.6, "split": "validation", "reason": "grew"}
    kept = decision | {"question": "keep_stage_2", "value": 0.65, "goal": 0.6}
    return {"goal": goal, "decisions": [decision | {"goal": goal}, kept]}


def recorded(results: Path, name: str, *units: Path) -> None:
    """Record these units alone."""
    opened = [open_unit(unit) for unit in units]
    record(recording_of(BENCHMARK, opened, complete_runs(opened), {}), BENCHMARK, name, results)


def learned(runs: Path, method: str, task: dict[str, Any], seed: int = 1, **changes: Any) -> Path:
    """A finished unit of two tasks, of which the second is as given."""
    unit = made.begin(runs, made.definition(method, seed, [1, 2], **changes))
    made.learn(unit, 1, [0.9])
    made.learn(unit, 2, [0.9, 0.8], **task)
    made.finish(unit)
    return unit


def test_one_goal_a_task_and_seed(tmp_path: Path) -> None:
    results, runs = tmp_path / "results", tmp_path / "runs"
    recorded(results, "ours", learned(runs, "cl-lsg", towards(0.7)))
    recorded(results, "theirs", learned(runs, "cpg", towards(0.71)))
    with pytest.raises(UserError, match=r"cpg.* learned task 2 towards 0.71 and .*cl-lsg.* towards 0.7;"):
        joined(BENCHMARK, ["ours", "theirs"], results)
    recorded(results, "other seed", learned(runs, "cpg", towards(0.72), seed=2))
    assert len(joined(BENCHMARK, ["ours", "other seed"], results).units) == 2
    undecided = towards(0.71) | {"decisions": []}
    recorded(results, "undecided", learned(runs, "pnn", undecided))
    assert len(joined(BENCHMARK, ["ours", "undecided"], results).units) == 2


@pytest.mark.parametrize(("sizes", "stands"), [([0.1, 0.2], True), ([0.1, 0.3], False)])
def test_within_the_sizes_of_the_joined_one(tmp_path: Path, sizes: list[float], stands: bool) -> None:
    results, runs = tmp_path / "results", tmp_path / "runs"
    recorded(results, "ours", learned(runs, "cl-lsg", {}))
    recorded(results, "matched", learned(runs, "grow-matched", {}, settings={"sizes": sizes}))
    if stands:
        assert len(joined(BENCHMARK, ["ours", "matched"], results).units) == 2
    else:
        with pytest.raises(UserError, match=r"grow-matched.* within other sizes than those of .*cl-lsg"):
            joined(BENCHMARK, ["ours", "matched"], results)


def test_two_units_of_one_task_are_refused(results: Path) -> None:
    unit = only(results, "two", "scratch")
    changed(unit, seed=1, code="e" * 64)
    with pytest.raises(UserError, match="task 1 of scratch, seed 1, is in two units"):
        joined(BENCHMARK, ["one", "two"], results)


def test_a_changed_digit_is_named(results: Path) -> None:
    path = only(results, "one", "cl-lsg") / "task_01.json"
    path.write_text(path.read_text().replace("0.88", "0.98"))
    with pytest.raises(UserError, match=r"one/units/cl-lsg/.*task_01.json"):
        joined(BENCHMARK, ["one", "two"], results)


def test_a_changed_definition_is_named(results: Path) -> None:
    unit = only(results, "one", "cl-lsg")
    (unit / "unit.json").write_text((unit / "unit.json").read_text().replace('"seed": 1', '"seed": 3'))
    with pytest.raises(UserError, match=r"one/units/cl-lsg/.*unit.json is damaged: its digest"):
        joined(BENCHMARK, ["one"], results)


def test_what_is_no_record_or_an_old_one_is_said(results: Path) -> None:
    with pytest.raises(UserError, match="three is no record; `cl-lsg record` makes one"):
        joined(BENCHMARK, ["one", "three"], results)
    shutil.rmtree(results / BENCHMARK / "two/units")
    with pytest.raises(UserError, match="two keeps no files of its units"):
        joined(BENCHMARK, ["one", "two"], results)
    damaged: list[dict[str, Any]] = [{}, {"units": {}, "missing": 1}, {"units": {}, "data": []}]
    for content in damaged:
        (results / BENCHMARK / "one/units.json").write_text(json.dumps(content))
        with pytest.raises(UserError, match=r"units.json is damaged: it describes no units"):
            joined(BENCHMARK, ["one"], results)


def test_the_command(
    results: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy("params.yaml", results.parent)
    monkeypatch.chdir(results.parent)
    assert main(["record", BENCHMARK, "both", "--join", "one", "two"]) == 0
    assert capsys.readouterr().out.splitlines() == ["results/digits/both"]
    assert len(told(results / BENCHMARK / "both")["units"]) == 12
    assert main(["record", BENCHMARK, "both", "--join", "none"]) == 2
    assert "results/digits/none is no record" in capsys.readouterr().err


def test_some_methods_of_a_record(results: Path) -> None:
    """One seed's baselines beside another record's CL-LSG; what is missing of other methods is not missed."""
    units = results / BENCHMARK / "one/units.json"
    content = told(units.parent)
    content["missing"] = ["cl-lsg seed9 (waits)", "scratch seed9 (waits)"]
    units.write_text(json.dumps(content))
    both = joined(BENCHMARK, ["one:scratch,fine-tune", "two:cl-lsg"], results)
    assert {(unit.definition.method, unit.definition.seed) for unit in both.units} == {
        ("scratch", 1),
        ("fine-tune", 1),
        ("cl-lsg", 2),
    }
    assert both.missing == ["scratch seed9 (waits)"]
    assert joined(BENCHMARK, ["one:scratch,"], results).units, "an empty name names none"
    with pytest.raises(UserError, match=r"one holds nothing of cgp; its methods: cl-lsg, .*scratch"):
        joined(BENCHMARK, ["one:scratch,cgp"], results)


def test_a_unit_is_joined_with_the_one_that_it_starts_from(results: Path) -> None:
    """Else the record could never be joined again: where it starts is looked up beside it."""
    first = made.key_of(only(results, "one", "scratch"))
    changed(only(results, "one", "fine-tune"), start=first)
    with pytest.raises(UserError, match=rf"starts from unit {first[:12]}, which is not joined; join the"):
        joined(BENCHMARK, ["one:fine-tune", "two:scratch"], results)
    assert joined(BENCHMARK, ["one:fine-tune", "one:scratch"], results).units
