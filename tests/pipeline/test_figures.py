"""What figures are drawn from, against numbers worked out by hand; and when they are drawn."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from lsg.methods import METHODS
from pipeline.errors import UserError
from pipeline.report.figures import FIGURES, draw
from pipeline.report.figures.cost import cost
from pipeline.report.figures.curves import common_task
from pipeline.report.figures.pareto import front, pareto
from pipeline.report.figures.points import halves, log_axis
from pipeline.report.figures.reuse import shares
from pipeline.report.kernels import MAP, read_kernels
from pipeline.report.material import Material, read_material
from pipeline.report.style import KNOWN_LINES, LINES, lines
from tests.pipeline import made_kernels as kernels
from tests.pipeline import made_units as made
from tests.pipeline.test_tables import GROWN, Bench

WITHOUT_KERNELS = {"cost", "pareto", "accuracy", "matrix", "size"}


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """Scratch, fine-tune, and cl-lsg with bits."""
    made_bench = Bench(tmp_path)
    made_bench.seed(1)
    kernels.grow(made_bench.place("cl-lsg seed1"))
    made.finish(made_bench.place("cl-lsg seed1"))
    return made_bench


@pytest.fixture
def grown(bench: Bench) -> Bench:
    """The same, and grow-target; both grow at tasks 1 and 2."""
    directory = made.begin(bench.runs, made.definition("grow-target", 1, [1, 2, 3]))
    bench.list("learned", directory)
    for task, row in enumerate(GROWN, 1):
        made.learn(directory, task, row)
    made.finish(directory)
    for unit in (directory, bench.place("cl-lsg seed1")):
        for task in (1, 2):
            kernels.log_growth(unit, task)
        log = unit / "events.jsonl"
        log.write_text(log.read_text().replace('"train_accuracy"', '"test_accuracy": 0.5, "train_accuracy"'))
    return bench


def conv1(material: Material, task: int) -> dict[int, tuple[int, int]]:
    """Weights and used weights of each owner in conv1."""
    rows = material.kernels[(material.kernels["layer"] == "conv1") & (material.kernels["task"] == task)]
    return {
        int(owner): (int(weights), int(used))
        for owner, weights, used in zip(rows["owner"], rows["weights"], rows["used"], strict=True)
    }


def test_a_lost_log_is_named_and_costs_its_epochs_alone(
    grown: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    log = grown.place("cl-lsg seed1") / "events.jsonl"
    before = read_material(grown.frames()).epochs
    caplog.clear()
    log.unlink()
    after = read_material(grown.frames()).epochs
    assert f"{log} lacks epochs of task 1; figures leave them out" in caplog.text
    assert set(before["method"]) - set(after["method"]) == {"cl-lsg"}


def test_owners_follow_from_the_bits(bench: Bench) -> None:
    material = read_material(bench.frames())
    assert conv1(material, 1) == {0: (25, 0), 1: (25, 25)}
    assert conv1(material, 2) == {1: (25, 0), 2: (50, 50)}
    assert conv1(material, 3) == {1: (25, 25), 2: (50, 25)}
    (layer, *_) = material.maps["cl-lsg"]
    assert layer.owners.tolist() == [[1], [2], [2]]
    assert (layer.shape, layer.outputs) == ((3, 1), (2, 3, 3))


@pytest.mark.parametrize("content", ["{", None])
def test_a_damaged_job_is_named_with_what_helps(bench: Bench, content: str | None) -> None:
    """Moved away alone, it would be missing for ever: a finished unit writes none."""
    frames = bench.frames()
    job = bench.place("cl-lsg seed1") / "job.json"
    job.unlink() if content is None else job.write_text(content)
    with pytest.raises(UserError, match=rf"{job} is damaged \(.*\); delete its directory to compute it"):
        read_material(frames)


def test_methods_without_shared_kernels_have_none(bench: Bench) -> None:
    material = read_material(bench.frames())
    assert set(material.kernels["method"]) == {"cl-lsg"} == set(material.maps)


@pytest.mark.parametrize(
    ("method", "settings"), [("packnet", {}), ("cl-lsg", {"seed_fraction": 0.2, "later_masks": "weight"})]
)
def test_single_weights_are_counted_singly(bench: Bench, method: str, settings: dict[str, Any]) -> None:
    directory = made.begin(bench.runs, made.definition(method, 1, [1], settings=settings))
    made.learn(directory, 1, [0.9])
    grid = [[place % 5 == 0 for place in range(25)], [False] * 25]
    kernels.write_bits(directory, 1, grid)  # type: ignore[arg-type]
    _widen_to_single(directory)
    made.finish(directory)
    bench.listed["learned"] = {method: directory.relative_to(bench.runs).as_posix()}
    bench.listed["targets"] = {
        name: place for name, place in bench.listed["targets"].items() if name == "scratch seed1-task01"
    }
    assert conv1(read_material(bench.frames()), 1) == {0: (45, 0), 1: (5, 5)}


def _widen_to_single(directory: Path) -> None:
    """The other layers' bits, one a weight."""
    import torch
    from safetensors.torch import load_file, save_file

    from lsg.bank import packed

    path = directory / "task_01.safetensors"
    stored = load_file(path)
    for name, weights in (("conv2", 2 * 2 * 25), ("fc1", 2 * 2 * 4), ("fc2", 4)):
        stored[f"{name}.used"] = packed(torch.ones(weights, dtype=torch.bool))
    save_file(stored, path)


def test_a_map_of_a_large_layer_is_a_sample_of_it(bench: Bench) -> None:
    directory = bench.place("cl-lsg seed1")
    for task in (1, 2, 3):
        kernels.write_bits(directory, task, [[1]] * 300)
    made.finish(directory)
    found = read_kernels(bench.frames().runs["cl-lsg", 1])
    assert found is not None
    assert found.maps[0].owners.shape == (MAP, 1)
    assert found.maps[0].shape == (300, 1)


@pytest.mark.parametrize("end", [b"", b"\x7f"])
def test_a_mask_that_is_cut_short_or_has_another_byte_is_named(bench: Bench, end: bytes) -> None:
    file = bench.place("cl-lsg seed1") / "task_02.safetensors"
    file.write_bytes(file.read_bytes()[:-1] + end)
    with pytest.raises(UserError, match=r"task_02\.safetensors is damaged"):
        read_material(bench.frames())


def test_shares_of_owners_and_the_mask_s_density(bench: Bench) -> None:
    rows = read_material(bench.frames()).kernels
    grid = shares(rows[rows["layer"] == "conv1"], 3)
    assert grid.shape == (3, 4)
    assert np.array_equal(grid[:, :2], np.array([[1, np.nan], [0, 1], [1, 0.5]]), equal_nan=True)
    assert np.isnan(grid[:, 2]).all()
    assert grid[:, 3].tolist() == pytest.approx([25 / 50, 50 / 75, 50 / 75])


def test_the_front_is_what_nothing_beats() -> None:
    table = pd.DataFrame(
        {"average": [0.9, 0.8, 0.8, 0.9], "size": [2.0, 1.0, 1.5, 3.0], "work": [5, 5, 1, 9]}
    )
    assert front(table, ["average", "size", "work"]).tolist() == [True, True, True, False]
    assert front(table, ["average", "size"]).tolist() == [True, True, False, False]


def test_equals_do_not_beat_each_other() -> None:
    table = pd.DataFrame({"average": [0.9, 0.9], "size": [1.0, 1.0]})
    assert front(table, ["average", "size"]).all()


def test_the_first_later_task_at_which_both_grow_is_shown() -> None:
    rows = [("a", 1, 2), ("a", 2, 1), ("a", 3, 2), ("a", 4, 2), ("b", 1, 2), ("b", 2, 2), ("b", 4, 2)]
    epochs = pd.DataFrame(rows, columns=["method", "task", "stage"])
    assert common_task(epochs, ["a", "b"]) == 4
    assert common_task(epochs[epochs["task"] < 4], ["a", "b"]) == 1
    assert common_task(epochs[epochs["method"] == "a"], ["a", "b"]) is None


def test_epochs_are_those_of_the_tasks_that_count(grown: Bench) -> None:
    epochs = read_material(grown.frames()).epochs
    rows = epochs[(epochs["method"] == "grow-target") & (epochs["task"] == 2) & (epochs["stage"] == 2)]
    assert rows["gates_on"].tolist() == [1, 3]
    tuned = epochs[epochs["method"] == "fine-tune"]
    assert sorted(set(tuned["task"])) == [1, 2, 3]
    assert all((grown.runs / place).is_dir() for place in set(epochs["unit"]))


def test_every_figure_is_drawn_where_there_is_material_for_all(grown: Bench, tmp_path: Path) -> None:
    drawn = draw(read_material(grown.frames()), tmp_path / "figures")
    assert [figure.name for figure in drawn] == list(FIGURES)
    assert {path.name for path in (tmp_path / "figures").iterdir()} == {
        f"{name}.{kind}" for name in FIGURES for kind in ("svg", "png")
    }
    curves = next(figure for figure in drawn if figure.name == "curves")
    assert "Task 2." in curves.note
    assert "test accuracy</text>" in curves.svg


def test_intervals_come_with_the_second_seed(tmp_path: Path) -> None:
    """Two seeds 0.02 apart: a standard error of 0.01, times Student's 12.706 with one degree of freedom."""
    bench = Bench(tmp_path)
    bench.seed(1)
    assert halves(bench.frames()) == {}
    bench.seed(2, 0.02)
    expected = dict.fromkeys(["scratch", "fine-tune", "cl-lsg"], pytest.approx(0.12706, abs=1e-5))
    assert halves(bench.frames()) == expected
    drawn = pareto(read_material(bench.frames()))
    assert drawn is not None
    accuracy, seconds = drawn.figure.axes
    bars = [len(axes.collections) for axes in (accuracy, seconds)]
    assert bars == [3, 0], "a bar a method, of accuracy alone"


@pytest.mark.parametrize(
    ("low", "high", "shown"),
    [(1_400, 3_000, [1_600, 2_000, 2_400, 2_800]), (10, 2_000, [10, 20, 50, 100, 200, 500, 1_000, 2_000])],
)
def test_a_log_axis_has_few_and_round_numbers(low: float, high: float, shown: list[float]) -> None:
    axes = Figure().subplots()
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    log_axis(axes.xaxis)
    assert [tick for tick in axes.xaxis.get_ticklocs() if low <= tick <= high] == shown


def test_a_figure_without_its_material_is_left_out(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.seed(1)
    bench.listed["learned"].clear()
    drawn = draw(read_material(bench.frames()), tmp_path / "figures")
    assert {figure.name for figure in drawn} == WITHOUT_KERNELS


def test_where_seconds_are_missing_a_method_is_left_out_or_multiply_accumulates_stand_in(
    bench: Bench,
) -> None:
    named = "Not shown, as their seconds are not known: fine-tune. "
    in_seconds, compared = cost(read_material(bench.frames())), pareto(read_material(bench.frames()))
    assert in_seconds is not None
    assert compared is not None
    assert named not in in_seconds.note
    assert "accuracy, size and seconds at once" in compared.note
    assert compared.figure.axes[1].get_ylabel() == "CPU-seconds of training"
    (bench.place("fine-tune seed1-task02") / "seconds.json").unlink()
    in_seconds, compared = cost(read_material(bench.frames())), pareto(read_material(bench.frames()))
    assert in_seconds is not None
    assert compared is not None
    assert named in in_seconds.note
    assert "accuracy, size and multiply-accumulates at once" in compared.note
    right = compared.figure.axes[1]
    assert right.get_ylabel() == "billions of multiply-accumulates of training"
    macs = bench.frames().cost.groupby("method")["macs"].sum() / 1e9
    heights = [np.asarray(line.get_ydata(), float) for line in right.lines]
    assert {height.item() for height in heights if height.size == 1} == set(macs)


def test_no_bar_leads_beyond_all_images(bench: Bench) -> None:
    bench.seed(2, 0.08)
    for figure in (cost, pareto):
        drawn = figure(read_material(bench.frames()))
        assert drawn is not None
        axes = drawn.figure.axes[0]
        highest = max(bar.get_datalim(axes.transData).y1 for bar in axes.collections)
        assert highest > 1.02 >= axes.get_ylim()[1]


def test_without_seconds_no_figure_has_them(bench: Bench, tmp_path: Path) -> None:
    assert "cost" in {figure.name for figure in draw(read_material(bench.frames()), tmp_path / "figures")}
    for file in bench.runs.rglob("seconds.json"):
        file.unlink()
    drawn = draw(read_material(bench.frames()), tmp_path / "figures")
    assert "cost" not in {figure.name for figure in drawn}
    assert not any("seconds" in figure.svg for figure in drawn)
    assert {path.stem for path in (tmp_path / "figures").iterdir()} == {figure.name for figure in drawn}


def test_without_logged_test_accuracy_the_training_s_is_shown_and_said(grown: Bench, tmp_path: Path) -> None:
    directory = grown.place("cl-lsg seed1")
    log = directory / "events.jsonl"
    log.write_text(log.read_text().replace("test_accuracy", "other"))
    drawn = draw(read_material(grown.frames()), tmp_path / "figures")
    curves = next(figure for figure in drawn if figure.name == "curves")
    assert "training accuracy</text>" in curves.svg
    assert "Star: test accuracy of the learned task" in curves.note


def test_every_method_of_the_library_has_a_look_of_its_own() -> None:
    assert set(KNOWN_LINES) <= set(METHODS)
    assert len({(line.marker, line.hollow) for line in LINES}) == len(LINES)
    drawn = lines(METHODS)
    looks = {(line.marker, line.hollow) for line in drawn.values()}
    assert len(looks) == len(drawn), "give new methods lines in KNOWN_LINES: there are few others"
