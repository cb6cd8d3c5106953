"""From hand-made units to tables, against numbers worked out by hand."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from pipeline.errors import UserError
from pipeline.report.frames import Frames, read_frames
from pipeline.report.layout import all_tables, big, growth_table, percent
from pipeline.report.origins import origins
from pipeline.report.statistics import Estimate, estimate, metrics, totals
from pipeline.report.style import GROUND, INKS, LINES, lines
from pipeline.report.text import summary_text
from pipeline.tables import tables
from tests.pipeline import made_units as made

SCRATCH = {1: 0.9, 2: 0.8, 3: 0.7}
TUNED = {2: 0.6, 3: 0.5}
GROWN = [[0.88], [0.84, 0.8], [0.86, 0.7, 0.75]]


class Bench:
    """A folder with units and the listings of stages targets and learn."""

    def __init__(self, root: Path) -> None:
        self.runs, self.data, self.reports = root / "runs", root / "data", root / "reports"
        self.listed: dict[str, dict[str, str]] = {"targets": {}, "learned": {}}

    def list(self, stage: str, directory: Path) -> Path:
        name = f"{directory.parent.name} {directory.name.rpartition('-')[0]}"
        self.listed[stage][name] = directory.relative_to(self.runs).as_posix()
        return directory

    def seed(self, seed: int, shift: float = 0.0) -> None:
        """Scratch, fine-tune and cl-lsg under one seed, every accuracy moved by `shift`."""
        first = self.list("targets", made.alone(self.runs, "scratch", seed, 1, SCRATCH[1] + shift))
        for task in (2, 3):
            self.list("targets", made.alone(self.runs, "scratch", seed, task, SCRATCH[task] + shift))
            start = {"start": made.key_of(first)}
            self.list("targets", made.alone(self.runs, "fine-tune", seed, task, TUNED[task] + shift, **start))
        moved = [[accuracy + shift for accuracy in row] for row in GROWN]
        self.list("learned", made.sequence(self.runs, seed, moved))

    def write(self) -> None:
        for stage, units in self.listed.items():
            (self.data / stage).mkdir(parents=True, exist_ok=True)
            made.write(self.data / stage / f"{made.BENCHMARK}.json", {"format": 1, "units": units})

    def frames(self) -> Frames:
        self.write()
        listings = [self.data / stage / f"{made.BENCHMARK}.json" for stage in self.listed]
        return read_frames(made.BENCHMARK, listings, self.runs)

    def tables(self) -> Path:
        self.write()
        return tables(made.BENCHMARK, self.data, self.runs, self.reports)

    def place(self, name: str) -> Path:
        stage = "learned" if name.startswith("cl-lsg") else "targets"
        return self.runs / self.listed[stage][name]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    made_bench = Bench(tmp_path)
    made_bench.seed(1)
    return made_bench


def only(table: pd.DataFrame, **where: Any) -> Mapping[str, Any]:
    """The one row with these values."""
    for name, value in where.items():
        table = table[table[name] == value]
    (row,) = table.to_dict("records")
    return {str(name): value for name, value in row.items()}


def test_the_accuracy_matrix_of_a_sequence_is_its_rows(bench: Bench) -> None:
    table = bench.frames().accuracy
    assert only(table, method="cl-lsg", task=1, after_task=2)["accuracy"] == 0.84
    assert only(table, method="cl-lsg", task=2, after_task=3)["accuracy"] == 0.7
    assert len(table[table["method"] == "cl-lsg"]) == 6


def test_independent_networks_forget_nothing(bench: Bench) -> None:
    table = bench.frames().accuracy
    for after in (2, 3):
        assert only(table, method="scratch", task=2, after_task=after)["accuracy"] == 0.8
    assert table[(table["method"] == "scratch") & (table["after_task"] < table["task"])].empty


def test_fine_tune_s_first_task_is_scratch_s(bench: Bench) -> None:
    frames = bench.frames()
    row = only(frames.accuracy, method="fine-tune", task=1, after_task=3)
    assert row["accuracy"] == 0.9
    assert row["unit"] == bench.listed["targets"]["scratch seed1-task01"]
    assert only(frames.cost, method="fine-tune", task=1)["unit"] == row["unit"]


def test_average_and_forgetting_by_hand(bench: Bench) -> None:
    table = totals(bench.frames())
    scratch, tuned, grown = (only(table, method=name) for name in ("scratch", "fine-tune", "cl-lsg"))
    assert scratch["average"] == pytest.approx((0.9 + 0.8 + 0.7) / 3)
    assert tuned["average"] == pytest.approx((0.9 + 0.6 + 0.5) / 3)
    assert grown["average"] == pytest.approx((0.86 + 0.7 + 0.75) / 3)
    assert grown["forgetting"] == pytest.approx(((0.88 - 0.86) + (0.8 - 0.7)) / 2)
    assert scratch["forgetting"] == tuned["forgetting"] == 0


def test_t_independent_tasks_are_t_networks(bench: Bench) -> None:
    table = bench.frames().size
    assert [only(table, method="scratch", task=task)["allocated"] for task in (1, 2, 3)] == [1, 2, 3]
    assert only(table, method="fine-tune", task=3)["stored"] == pytest.approx(3.03)
    assert only(table, method="cl-lsg", task=3)["used"] == pytest.approx(0.24)


def test_costs_and_the_unit_that_they_come_from(bench: Bench) -> None:
    row = only(bench.frames().cost, method="cl-lsg", task=2)
    assert (row["steps"], row["macs"], row["parameters"], row["stored_bytes"]) == (8, 1000, 200, 40)
    assert row["seconds"] == 1.5
    assert (bench.runs / row["unit"] / "unit.json").is_file()
    assert only(totals(bench.frames()), method="cl-lsg")["steps"] == 24


def test_networks_of_their_own_add_up_to_the_weights_so_far(bench: Bench) -> None:
    """A made unit's task t has 100 t weights; a sequence counts all of its tasks' itself."""
    cost = bench.frames().cost
    for method, weights in {"scratch": [100, 300, 600], "cl-lsg": [100, 200, 300]}.items():
        assert [only(cost, method=method, task=task)["parameters"] for task in (1, 2, 3)] == weights


def test_an_answer_that_is_a_number_is_one_wherever_it_is_shown(tmp_path: Path) -> None:
    """CPG answers how much it pruned; 0.0 is no "no"."""
    bench = Bench(tmp_path)
    bench.seed(1)
    directory = bench.list("learned", made.begin(bench.runs, made.definition("cpg", 1, [1, 2, 3])))
    told = {"value": None, "goal": None, "split": "weights", "reason": "pruned"}
    answers: dict[str, bool | float] = {"compact": 0.0, "grow": False, "retrain": True}
    decisions = [{**told, "question": question, "answer": answer} for question, answer in answers.items()]
    for task, row in enumerate(GROWN, 1):
        made.learn(directory, task, row, decisions=decisions if task == 1 else [])
    made.finish(directory)
    frames = bench.frames()
    table = next(table for table in all_tables(frames) if table.title == "Decisions")
    columns = {cell.text for row in table.rows for cell in row.cells}
    assert columns >= {"0.0", "no", "yes"}
    origin = next(origin for origin in origins(frames) if origin.method == "cpg")
    shown = [cell.text for cell in origin.tasks[0].cells]
    assert "compact: 0.0 (pruned); grow: no (pruned); retrain: yes (pruned)" in shown


def test_seconds_that_were_not_taken_are_not_zero(bench: Bench) -> None:
    (bench.place("cl-lsg seed1") / "seconds.json").unlink()
    frames = bench.frames()
    assert pd.isna(only(totals(frames), method="cl-lsg")["seconds"])
    assert "\N{EN DASH}" in summary_text(frames)
    assert "<td>not timed</td>" in (bench.tables() / "index.html").read_text()


def test_seconds_that_one_of_two_seeds_has_not_are_not_averaged(bench: Bench) -> None:
    bench.seed(2)
    (bench.place("cl-lsg seed2") / "seconds.json").unlink()
    assert "\N{EN DASH}" in summary_text(bench.frames()).splitlines()[-1]


def test_seconds_of_different_machines_are_not_set_side_by_side(bench: Bench) -> None:
    frames = bench.frames()
    assert "\N{EN DASH}" not in summary_text(frames)
    apart = replace(frames, timed_alike=False)
    assert totals(apart)["seconds"].isna().all()
    assert summary_text(apart).count("\N{EN DASH}") == len(frames.methods)


def test_mean_and_interval_over_seeds_by_hand() -> None:
    found = estimate([0.7, 0.8, 0.9])
    assert found.mean == pytest.approx(0.8)
    assert found.half == pytest.approx(4.302653 * 0.1 / 3**0.5, rel=1e-6)
    assert estimate([0.7]).half is None


def test_two_seeds_show_an_interval_where_they_differ(bench: Bench) -> None:
    bench.seed(2, shift=-0.02)
    laid = {table.name: table for table in all_tables(bench.frames())}
    scratch = laid["accuracy"].rows[0]
    half = (
        12.706205 * 1.0
    )  # t of one degree of freedom; two values 2 points apart deviate by sqrt(2), over sqrt(2)
    assert scratch.cells[1].text == f"89.0 ± {half:.1f}"
    assert scratch.cells[-1].text == "3.00x"
    assert "95 % interval over 2 seeds" in laid["accuracy"].caption
    assert len(scratch.units) == 6


def test_one_seed_claims_no_interval(bench: Bench) -> None:
    for table in all_tables(bench.frames()):
        assert all("±" not in cell.text for row in table.rows for cell in row.cells)
    assert "no interval" in all_tables(bench.frames())[0].caption


def test_decisions_and_growth_show_what_each_stage_reached(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    directory = bench.list("learned", made.begin(bench.runs, made.definition("cl-lsg", 1, [1, 2])))
    growth = {"channels_before": {"conv1": 3}, "channels_after": {"conv1": 5}, "released_share": 0.125}
    made.learn(directory, 1, [0.9], growth=growth, reason="grew", stages=[made.stage(2, 0.89, 3, 1)])
    decision = {"question": "grow", "answer": True, "value": 0.7, "goal": 0.95, "split": "validation"}
    made.learn(
        directory,
        2,
        [0.9, 0.8],
        goal=0.95,
        growth=growth,
        reason="grew",
        stages=[made.stage(1, 0.7), made.stage(2, 0.79, 2, 6)],
        decisions=[{**decision, "reason": "below_target"}],
    )
    made.finish(directory)
    frames = bench.frames()
    row = only(frames.growth, task=2)
    assert (row["stage_1"], row["stage_2"], row["goal"]) == (0.7, 0.79, 0.95)
    assert (row["gates_opened"], row["gates_closed"], row["released_share"]) == (2, 6, 0.125)
    assert pd.isna(only(frames.growth, task=1)["stage_1"])
    decided = only(frames.decisions, task=2)
    assert (decided["question"], decided["answer"], decided["value"], decided["split"]) == (
        "grow",
        True,
        0.7,
        "validation",
    )
    shown = [cell.text for cell in growth_table(frames).rows[1].cells]
    assert shown == ["cl-lsg", "1", "2", "95.0", "70.0", "79.0", "2", "6", "12.5", "grew"]


def test_every_file_of_a_report(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    folder = bench.tables()
    names = {
        "accuracy.csv",
        "size.csv",
        "cost.csv",
        "decisions.csv",
        "growth.csv",
        "epochs.csv",
        "kernels.csv",
        "summary.json",
        "summary.txt",
        "tables.md",
        "claims.md",
        "paper",
    }
    assert {path.name for path in folder.iterdir()} == names | {"figures", "index.html"}
    assert (folder / "figures" / "accuracy.png").is_file()
    table = pd.read_csv(folder / "accuracy.csv")
    assert list(table.columns) == ["method", "protocol", "seed", "task", "after_task", "accuracy", "unit"]
    assert table["accuracy"].between(0, 1).all()
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["cl-lsg.average"] == pytest.approx((0.86 + 0.7 + 0.75) / 3)
    assert summary["scratch.size"] == 3
    assert "| scratch   |" in (folder / "tables.md").read_text()
    shown = capsys.readouterr().out
    assert shown.strip() == (folder / "summary.txt").read_text().strip()
    rows = [line.split()[0] for line in shown.splitlines() if line[:1].isalpha()]
    assert {"scratch", "fine-tune", "cl-lsg"} <= set(rows)


def test_equal_units_give_equal_bytes(bench: Bench) -> None:
    folder = bench.tables()
    first = contents(folder)
    shutil.rmtree(folder)
    bench.tables()
    assert contents(folder) == first
    assert len(first) > 15


def test_what_an_earlier_report_had_and_this_one_has_not_is_gone(bench: Bench) -> None:
    folder = bench.tables()
    first = contents(folder)
    for place in ("figures/curves.svg", "paper/table-9.csv"):
        assert Path(place) not in first
        (folder / place).write_text("of an experiment that had more")
    bench.tables()
    assert contents(folder) == first


def contents(folder: Path) -> dict[Path, bytes]:
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_metrics_are_few_flat_numbers(bench: Bench) -> None:
    found = metrics(bench.frames())
    assert set(found) == {
        f"{method}.{name}" for method in ("scratch", "cl-lsg") for name in ("average", "size")
    }
    assert found["scratch.average"] == pytest.approx((0.9 + 0.8 + 0.7) / 3)


def test_what_rounds_to_zero_has_no_sign() -> None:
    assert [percent(Estimate(value)).text for value in (-0.0003, -0.0006, 0.0004)] == ["0.0", "-0.1", "0.0"]


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (Estimate(0.0), "0"),
        (Estimate(999.0), "999"),
        (Estimate(12_345.0), "12.3 k"),
        (Estimate(999.4e6), "999 M"),
        (Estimate(999.6e6), "1.00 G"),
        (Estimate(5e21), "5000000 P"),
        (Estimate(1.5e9, 0.0), "1.50 G"),
        (Estimate(1.5e9, 2.5e8), "1.50 G ± 0.25"),
        (Estimate(12.5e12, 2.1e15), "12.5 T ± 2100.0"),
    ],
)
def test_large_numbers_have_three_digits_a_unit_and_their_interval(value: Estimate, shown: str) -> None:
    assert big(value).text == shown


def test_forward_transfer_compares_with_scratch(bench: Bench) -> None:
    table = totals(bench.frames())
    learned_first = sum(GROWN[task - 1][task - 1] - SCRATCH[task] for task in (2, 3)) / 2
    assert only(table, method="cl-lsg")["forward_transfer"] == pytest.approx(learned_first)
    assert only(table, method="scratch")["forward_transfer"] == 0


@pytest.mark.parametrize(
    ("name", "hole"),
    [
        ("scratch seed1-task02", r"scratch, seed 1, task 2"),
        ("fine-tune seed1-task03", r"fine-tune, seed 1, task 3"),
    ],
)
def test_a_missing_task_is_named(bench: Bench, name: str, hole: str) -> None:
    del bench.listed["targets"][name]
    with pytest.raises(UserError, match=f"{hole}.* is missing"):
        bench.frames()


def test_a_missing_seed_is_named(bench: Bench) -> None:
    bench.seed(2)
    del bench.listed["learned"]["cl-lsg seed2"]
    with pytest.raises(UserError, match="cl-lsg, seed 2, task 1.* is missing"):
        bench.frames()


def test_a_doubled_task_is_named_with_both_units(bench: Bench) -> None:
    twice = made.alone(bench.runs, "scratch", 1, 2, 0.8, settings={"lr": 0.5})
    bench.listed["targets"]["scratch again"] = twice.relative_to(bench.runs).as_posix()
    first = bench.place("scratch seed1-task02").name
    with pytest.raises(UserError, match="task 2 of scratch, seed 1, is in two units") as raised:
        bench.frames()
    assert first in str(raised.value)
    assert twice.name in str(raised.value)


def test_a_damaged_record_is_named(bench: Bench) -> None:
    record = bench.place("cl-lsg seed1") / "task_02.json"
    for content in ("{", "[]", '{"format": 1}', record.read_text().replace('"format": 1', '"format": 2')):
        record.write_text(content)
        with pytest.raises(UserError, match=r"cl-lsg/.*task_02\.json is damaged"):
            bench.frames()


@pytest.mark.parametrize("task", [1, 3])
def test_a_digit_that_was_flipped_in_a_record_is_named(bench: Bench, task: int) -> None:
    record = bench.place("cl-lsg seed1") / f"task_{task:02d}.json"
    record.write_text(record.read_text().replace('"steps": 8', '"steps": 9'))
    with pytest.raises(UserError, match=rf"{record} is damaged \(it was changed .*; delete its directory"):
        bench.frames()


def test_a_record_without_one_of_its_tasks_is_named(bench: Bench) -> None:
    record = bench.place("cl-lsg seed1") / "task_03.json"
    content = json.loads(record.read_text())
    del content["row"]["1"]
    made.write(record, content)
    made.finish(record.parent)
    with pytest.raises(UserError, match=r"task_03\.json is damaged: its row"):
        bench.frames()


def test_units_of_two_runs_are_in_no_table(bench: Bench) -> None:
    """As after a run with other settings that was killed in its stage learn."""
    bench.frames()
    for setting in ({"train": {"lr": 1.0, "epochs": 2}}, {"data": "f" * 64}):
        bench.list("learned", made.sequence(bench.runs, 1, GROWN, **setting))
        said = rf"cl-lsg/seed1.* and .*/seed1.* differ in {next(iter(setting))}; .*different runs; give"
        with pytest.raises(UserError, match=said):
            bench.frames()


def test_units_that_decided_by_other_goals_are_in_no_table(bench: Bench) -> None:
    """As after `cl-lsg targets` with another rule, and nothing learned towards its goals yet."""
    goal = 0.7
    step = {"question": "grow", "answer": False, "value": 0.75, "goal": goal, "split": "validation"}
    directory = bench.place("cl-lsg seed1")
    for task in (1, 2, 3):
        record = json.loads((directory / f"task_{task:02d}.json").read_text())
        decided = {"goal": goal, "decisions": [{**step, "reason": "target_met"}]} if task == 2 else {}
        made.write(directory / f"task_{task:02d}.json", record | decided)
    made.finish(directory)
    for goals, stands in (({2: goal}, True), ({2: goal + 0.01}, False), ({2: "a"}, False)):
        bench.write()
        path = bench.data / "targets" / f"{made.BENCHMARK}.json"
        content = json.loads(path.read_text())
        made.write(path, content | {"goals": {"1": goals}})
        listings = [bench.data / stage / f"{made.BENCHMARK}.json" for stage in bench.listed]
        if stands:
            assert read_frames(made.BENCHMARK, listings, bench.runs).methods
            continue
        with pytest.raises(
            UserError, match=r"towards .*, and its goal is .*different runs|its goals are none"
        ):
            read_frames(made.BENCHMARK, listings, bench.runs)


def test_a_unit_of_a_method_that_is_not_here_is_named(bench: Bench) -> None:
    there = bench.place("cl-lsg seed1")
    unit = there / "unit.json"
    made.write(unit, json.loads(unit.read_text()) | {"method": "shrink"})
    with pytest.raises(UserError, match=r"this checkout does not have, shrink; use a checkout"):
        bench.frames()


def test_a_result_without_its_tasks_is_named(bench: Bench) -> None:
    result = bench.place("cl-lsg seed1") / "result.json"
    result.write_text('{"a": 1}')
    with pytest.raises(UserError, match=rf"{result} is damaged \(it holds no accuracy matrix\); delete its"):
        bench.frames()


def test_an_unfinished_unit_and_a_missing_one_are_named(bench: Bench) -> None:
    directory = bench.place("cl-lsg seed1")
    (directory / "result.json").unlink()
    with pytest.raises(UserError, match=f"{directory.name} is not finished"):
        bench.frames()
    shutil.rmtree(directory)
    with pytest.raises(UserError, match=f"{directory.name}/unit.json cannot be read"):
        bench.frames()


def test_a_fine_tune_unit_without_its_start_is_named(bench: Bench) -> None:
    directory = bench.place("scratch seed1-task01")
    del bench.listed["targets"]["scratch seed1-task01"]
    shutil.rmtree(directory)
    with pytest.raises(UserError, match=f"starts from unit {directory.name.rpartition('-')[2]}"):
        bench.frames()


def test_units_of_another_benchmark_or_protocol_are_refused(bench: Bench) -> None:
    foreign = made.sequence(bench.runs, 1, GROWN, protocol="paper")
    bench.listed["learned"]["cl-lsg seed1"] = foreign.relative_to(bench.runs).as_posix()
    with pytest.raises(UserError, match="protocols clean and paper"):
        bench.frames()
    foreign = made.sequence(bench.runs, 1, GROWN, benchmark="letters")
    bench.listed["learned"]["cl-lsg seed1"] = foreign.relative_to(bench.runs).as_posix()
    with pytest.raises(UserError, match="belongs to letters, not to digits"):
        bench.frames()


def test_missing_and_damaged_listings_are_named(bench: Bench) -> None:
    bench.write()
    listing = bench.data / "learned" / "digits.json"
    listing.write_text('{"format": 1}')
    with pytest.raises(UserError, match=r"learned/digits\.json is damaged"):
        tables(made.BENCHMARK, bench.data, bench.runs, bench.reports)
    listing.unlink()
    with pytest.raises(UserError, match=r"learned/digits\.json cannot be read"):
        tables(made.BENCHMARK, bench.data, bench.runs, bench.reports)
    assert not bench.reports.exists()


def _luminance(colour: str) -> float:
    """Relative luminance of WCAG 2."""
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _contrast(one: str, other: str) -> float:
    low, high = sorted((_luminance(one), _luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_every_line_stands_out_from_its_ground() -> None:
    for line in LINES:
        assert _contrast(line.ink.light, GROUND.light) >= 3
        assert _contrast(line.ink.dark, GROUND.dark) >= 3


def test_methods_differ_in_grey_and_in_shape() -> None:
    drawn = lines(["scratch", "fine-tune", "cl-lsg", "grow", "pnn", "den", "cpg"])
    assert len({line.marker for line in drawn.values()}) == len(drawn)
    known = [drawn[name].ink for name in ("scratch", "fine-tune", "cl-lsg")]
    for place, one in enumerate(known):
        for other in known[place + 1 :]:
            assert _contrast(one.light, other.light) >= 1.2
            assert _contrast(one.dark, other.dark) >= 1.2


def test_each_colour_has_one_variable_on_the_page() -> None:
    assert len({ink.name for ink in INKS}) == len({ink.light for ink in INKS}) == len(INKS)
