"""The paper's tables beside hand-made runs, against numbers worked out by hand."""

import re
from pathlib import Path

import pandas as pd
import pytest

from lsg.methods import METHODS
from pipeline.report.latex import latex
from pipeline.report.layout import NOTHING, Cell, Row, Table
from pipeline.report.paper.benchmark_tables import accuracy_table, size_table
from pipeline.report.paper.grow_metrics import grow_metrics_table
from pipeline.report.paper.growth_and_gain import growth_and_gain_table
from pipeline.report.paper.increments import increments_table
from pipeline.report.paper.lines import PaperTable
from pipeline.report.paper.measured import grown
from pipeline.report.paper.printed import (
    ABLATION,
    BENCHMARKS,
    by_method,
    paper_benchmark,
    printed_cells,
    printed_table,
)
from pipeline.report.paper.writing import paper_tables, write_paper
from tests.pipeline.made_benchmarks import Results

SPLIT, SUPERCLASS = "cifar100-split", "cifar100-superclass"


def shown(table: Table, *named: str) -> list[str]:
    """The texts of the one row that begins with these."""
    (row,) = [texts for texts in table.texts() if tuple(texts[: len(named)]) == named]
    return [ascii_minus(text) for text in row[len(named) :]]


def ascii_minus(text: str) -> str:
    return text.replace("\N{MINUS SIGN}", "-")


def accuracy(results: Results) -> PaperTable:
    return accuracy_table(results.frames(), BENCHMARKS[results.benchmark])


@pytest.fixture
def three_tasks(tmp_path: Path) -> Results:
    """Split's tasks 1 to 3 under two seeds."""
    results = Results(tmp_path, SPLIT)
    results.add("scratch", [70, 60, 50], 1, sizes=[1, 2, 3])
    results.add("scratch", [72, 62, 52], 2, sizes=[1, 2, 3])
    results.add("packnet", [50, 50, 50], 1)
    results.add("packnet", [50, 50, 50], 2)
    results.add("cl-lsg", [71, 63, 55], 1, sizes=[0.2, 0.2, 0.5])
    results.add("cl-lsg", [71, 65, 59], 2, sizes=[0.2, 0.4, 0.5])
    return results


def test_every_printed_cell_is_there() -> None:
    cells = printed_cells()
    counts = cells.groupby("table").size().to_dict()
    # 22 = 20 tasks, average, size; of CPG's sizes three or four are printed; table 5 has no final column
    assert counts == {2: 6 * 22, 3: 5 * 21 + 4, 4: 7 * 12, 5: 6 * 10 + 3, 6: 5 * 22, 7: 4 * 21 + 4, 8: 5 * 21}
    assert not cells.duplicated(["table", "method", "task"]).any()
    for number, tasks in {2: 20, 4: 10, 6: 20, 8: 20}.items():
        for row in printed_table(number).values():
            assert list(row.cells) == list(range(1, tasks + 1))


def test_some_printed_cells_by_hand() -> None:
    assert by_method(2)["den"].cells[18].text == "79.4"
    assert by_method(2)["cl-lsg"].cells[5].text == "87.4"
    assert printed_table(8)["Ours"].cells[5].text == "86.8"
    assert by_method(4)["scratch"].average is not None
    assert by_method(4)["scratch"].average.text == "63.75"
    assert by_method(5)["pnn"].cells[8].value == 1.54
    assert list(by_method(5)["cpg"].cells) == [1, 2, 3]
    assert by_method(7)["grow"].cells[1].text == "0.35"
    assert printed_table(8)["+LSG"].cells[9].value == 2.2


@pytest.mark.parametrize(
    ("number", "means"),
    [
        (2, [78.75, 78.615, 76.65, 77.85, 81.25, 81.52]),
        (4, [65.38, 55.9, 54.72, 58.09, 60.78, 59.17, 60.8]),
        (6, [67.17, 59.95, 62.37, 64.22, 65.23]),
        (8, [76.65, 3.18, 1.05, 0.62, 81.49]),
    ],
)
def test_means_of_the_printed_cells(number: int, means: list[float]) -> None:
    assert [row.mean() for row in printed_table(number).values()] == pytest.approx(means)


def test_accuracy_stands_below_what_is_printed(three_tasks: Results) -> None:
    laid = accuracy(three_tasks).laid()
    assert laid.columns == ("Method", "Source", "1", "2", "3", "Mean", "Printed avg", "Model size")
    assert shown(laid, "cl-lsg", "printed") == ["57.6", "53.4", "65.2", "58.73", "60.83", "0.78x"]
    # means 63 and 65: half = 12.706 * sqrt(2) / sqrt(2)
    assert shown(laid, "cl-lsg", "run") == [
        "71.0",
        "64.0 ± 12.7",
        "57.0 ± 25.4",
        "64.00 ± 12.71",
        NOTHING,
        "0.50x",
    ]
    assert shown(laid, "pnn", "no run") == [""] * 6
    assert [texts[0] for texts in laid.texts()][-2:] == ["cl-lsg", "packnet"]
    paper = ["scratch", "pnn", "grow", "den", "cpg", "apd", "cl-lsg"]
    assert [texts[0] for texts in laid.texts() if texts[1] == "printed"] == paper
    assert not [texts for texts in laid.texts() if texts[:2] == ["packnet", "printed"]]


def test_a_part_of_the_tasks_says_so(three_tasks: Results) -> None:
    caption = accuracy(three_tasks).caption
    assert "Only tasks 1 to 3 of the paper's 10 were run" in caption
    assert "Protocol clean" in caption
    assert "95 % interval over 2 seeds" in caption


def test_who_forgets_has_a_line_of_what_it_had_learned(tmp_path: Path) -> None:
    results = Results(tmp_path, SPLIT)
    for method in ("den", "cl-lsg"):
        results.add(method, [60, 70, 80])
    results.forget("den", [51, 60, 80])
    table = accuracy(results)
    laid = table.laid()
    assert shown(laid, "den", "run")[:4] == ["51.0", "60.0", "80.0", "63.67"]
    assert shown(laid, "den", "run, as learned")[:4] == ["60.0", "70.0", "80.0", "70.00"]
    assert not [texts for texts in laid.texts() if texts[:2] == ["cl-lsg", "run, as learned"]]
    seeds = table.frame(results.frames()).set_index(["method", "source"])["seeds"]
    assert seeds["den", "run, as learned"] == 1


def test_other_tasks_or_another_order_or_network_fill_no_table_of_the_paper(tmp_path: Path) -> None:
    for name, benchmark, tasks, numbered in (
        ("usual", SUPERCLASS, ("aquatic_mammals", "fish"), True),
        ("moved", SUPERCLASS, ("fish", "aquatic_mammals"), False),
        ("split", SPLIT, ("apple-bottle", "bowl-cattle"), True),
        ("split moved", SPLIT, ("bowl-cattle", "apple-bottle"), False),
        ("split of fives", SPLIT, ("apple-bear", "beaver-bottle"), False),
        ("split by number", SPLIT, ("0-9", "10-19"), True),
        ("reduced", f"{SUPERCLASS}-quarter", ("aquatic_mammals", "fish"), False),
    ):
        results = Results(tmp_path / name, benchmark)
        named = {task: {"name": given} for task, given in enumerate(tasks, start=1)}
        for method in ("scratch", "grow-target", "grow+sel", "grow+sel+lsg", "cl-lsg"):
            results.add(method, [50, 60], changes=named)
        frames = results.frames()
        assert (paper_benchmark(frames) is not None) == numbered, name
        sources = {line.source for table in paper_tables(frames) for line in table.lines}
        assert ("printed" in sources) == numbered, name


def test_all_tasks_are_compared_with_the_printed_final_size(tmp_path: Path) -> None:
    results = Results(tmp_path, SPLIT)
    results.add("scratch", [50] * 10, sizes=range(1, 11))
    table = accuracy(results)
    assert "Only tasks" not in table.caption
    assert "1 seed, hence no interval" in table.caption
    assert shown(table.laid(), "cpg", "printed")[-3:] == ["60.78", "60.12", "1.3x"]
    assert shown(table.laid(), "scratch", "run")[-3:] == ["50.00", NOTHING, "10.00x"]
    sizes = size_table(results.frames(), BENCHMARKS[SPLIT]).laid()
    assert shown(sizes, "scratch", "run")[-2:] == ["10.00x", "10.00x"]
    assert shown(sizes, "cpg", "printed") == ["1.0x", "1.3x", "1.3x", *[NOTHING] * 7, "1.3x"]


def test_sizes_stand_below_what_is_printed(three_tasks: Results) -> None:
    laid = size_table(three_tasks.frames(), BENCHMARKS[SPLIT]).laid()
    assert shown(laid, "cl-lsg", "printed") == ["0.5x", "0.64x", "0.78x", "1.2x"]
    assert shown(laid, "cl-lsg", "run") == ["0.20x", "0.30x ± 1.27", "0.50x", NOTHING]
    assert shown(laid, "den", "no run") == [""] * 4


def test_every_run_line_leads_to_its_units(three_tasks: Results) -> None:
    lines = accuracy(three_tasks).lines
    assert {line.source: len(line.units) for line in lines} == {"printed": 0, "no run": 0, "run": 2}


@pytest.mark.parametrize("benchmark", list(BENCHMARKS))
def test_each_benchmark_has_its_two_tables(benchmark: str, tmp_path: Path) -> None:
    results = Results(tmp_path, benchmark)
    results.add("scratch", [50, 60])
    numbers = [table.number for table in paper_tables(results.frames())]
    expected = {SUPERCLASS: [2, 3, 8], SPLIT: [4, 5], "miniimagenet": [6, 7]}
    assert numbers == expected[benchmark]


def test_another_benchmark_and_other_tasks_are_not_the_paper_s(tmp_path: Path) -> None:
    for place, (benchmark, tasks) in enumerate((("digits", 2), (SPLIT, 11))):
        results = Results(tmp_path / str(place), benchmark)
        results.add("scratch", [50] * tasks)
        assert paper_benchmark(results.frames()) is None
        assert paper_tables(results.frames()) == []


def ablation(results: Results, skip: str = "") -> Results:
    """Growth alone 50, then +2, +1 and -3 points, 1 point more under seed 2."""
    for seed in (1, 2):
        for method, reached in (("grow-target", 50), ("grow+sel", 52), ("grow+sel+lsg", 53), ("cl-lsg", 50)):
            if method != skip:
                results.add(method, [reached + seed, reached + 2 * seed], seed)
    return results


def test_increments_are_over_the_row_before(tmp_path: Path) -> None:
    table = increments_table(ablation(Results(tmp_path, SUPERCLASS)).frames())
    assert table is not None
    assert table.number == ABLATION
    laid = table.laid()
    assert laid.columns[:3] == ("Method", "Step", "Source")
    assert shown(laid, "grow+sel", "+Sel-mask", "printed") == ["+0.0", "+2.0", "+1.00", "+3.7"]
    assert shown(laid, "grow+sel", "+Sel-mask", "run") == ["+2.0", "+2.0", "+2.00", NOTHING]
    assert shown(laid, "cl-lsg", "+Re-train", "run")[:3] == ["-3.0", "-3.0", "-3.00"]
    assert shown(laid, "cl-lsg", "Ours", "run")[0] == "51.5 ± 6.4"
    assert "Only tasks 1 to 2 of the paper's 20" in table.caption


def test_increments_of_a_benchmark_that_the_paper_does_not_ablate(tmp_path: Path) -> None:
    table = increments_table(ablation(Results(tmp_path, "digits"), skip="grow-target").frames())
    assert table is not None
    laid = table.laid()
    assert "Printed avg" not in laid.columns
    assert {texts[2] for texts in laid.texts()} == {"run", "no run"}
    assert shown(laid, "grow+sel", "+Sel-mask") == ["no run", "", "", ""]
    assert shown(laid, "grow+sel+lsg", "+LSG", "run") == ["+1.0", "+1.0", "+1.00"]


def test_table_1_is_what_the_methods_declare(three_tasks: Results) -> None:
    laid = grow_metrics_table(three_tasks.frames())
    assert shown(laid, "den") == ["target accuracy", "target accuracy", "no run"]
    assert shown(laid, "DAN") == ["by default", "not among our methods", NOTHING]
    # seed 1 grows at task 3 alone, seed 2 at both
    assert shown(laid, "cl-lsg") == ["target accuracy", "target accuracy", "1.5 of 2"]
    assert shown(laid, "scratch") == [NOTHING, "does not grow", NOTHING]
    assert {texts[0] for texts in laid.texts()} >= set(METHODS)
    declared = {"target accuracy": "target", "by default": "default", "does not grow": None}
    for name, _, ours, _ in laid.texts():
        if name in METHODS:
            assert declared[ours] == METHODS[name].grows


def test_table_1_says_what_made_a_run_grow(tmp_path: Path) -> None:
    results = Results(tmp_path, SPLIT)
    results.add("grow", [60, 70], settings={"when": "target"})
    assert shown(grow_metrics_table(results.frames()), "grow")[:2] == [NOTHING, "target accuracy"]


def test_a_rounding_error_is_no_growth() -> None:
    assert grown({1: 0.3, 2: 0.1 + 0.2, 3: 0.5}).to_numpy().tolist() == [[0.0, 0.2]]


def test_growth_and_gain_by_task(three_tasks: Results) -> None:
    table = growth_and_gain_table(three_tasks.frames())
    assert table is not None
    assert table.columns == ("Task", "Printed growth", "Printed gain", "Growth", "Gain")
    # 0.64 - 0.5 and 53.4 - 57.0; seeds grow by 0 and 0.2 and gain 3 and 3
    assert shown(table, "2") == ["0.14x", "-3.6", "0.10x ± 1.27", "+3.0"]
    assert shown(table, "3")[:2] == ["0.14x", "-2.6"]


def test_csv_files_hold_numbers_with_their_intervals(three_tasks: Results, tmp_path: Path) -> None:
    write_paper(three_tasks.frames(), tmp_path / "report")
    table = pd.read_csv(tmp_path / "report" / "paper" / "table_4.csv").set_index(["method", "source"])
    run = table.xs(("cl-lsg", "run"))
    assert (run["2"], run["Mean"], run["Model size"], run["seeds"]) == (64, 64, 0.5, 2)
    assert run["2 half"] == pytest.approx(12.706205, rel=1e-6)
    assert run["protocol"] == "clean"
    printed = table.xs(("cl-lsg", "printed"))
    assert (printed["1"], printed["Printed avg"]) == (57.6, 60.83)
    assert pd.isna(printed["seeds"])
    assert table.loc[("pnn", "no run")].drop(["step", "protocol"]).isna().all()


def test_each_table_is_written_three_ways_and_returned_for_the_page(
    three_tasks: Results, tmp_path: Path
) -> None:
    laid = write_paper(three_tasks.frames(), tmp_path / "report")
    names = ["claims", "contradictions", "growth_and_gain", "table_1", "table_4", "table_5"]
    assert [table.name for table in laid] == names
    written = {path.name for path in (tmp_path / "report" / "paper").iterdir()}
    assert written == {f"{name}.{kind}" for name in names for kind in ("csv", "md", "tex")}
    text = (tmp_path / "report" / "paper" / "table_4.md").read_text()
    assert re.search(r"\| pnn +\| no run +\|", text)
    assert "Only tasks 1 to 3" in text


def test_latex_escapes_and_keeps_its_columns() -> None:
    rows = (
        Row((Cell("a & b_1 {x}", "a"), Cell("\N{MINUS SIGN}3 ± 1 %", 1.0)), ()),
        Row((Cell(NOTHING, "b"), Cell("~^\\<$#", 2.0)), ()),
    )
    text = latex(Table("table_9", "Title", "50 % & more", ("Method", "Avg %"), rows))
    assert r"\caption{Title. 50 \% \& more}" in text
    assert r"\label{tab:table-9}" in text
    assert r"\begin{tabular}{lr}" in text
    for rule in ("toprule", "midrule", "bottomrule"):
        assert text.count(f"\\{rule}") == 1
    body = [line for line in text.splitlines() if line.endswith(r"\\")]
    assert [len(re.findall(r"(?<!\\)&", line)) for line in body] == [1, 1, 1]
    assert r"a \& b\_1 \{x\}" in body[1]
    assert r"$-$3 $\pm$ 1 \%" in body[1]
    assert r"\textasciitilde{}\^{}\textbackslash{}\ensuremath{<}\$\#" in body[2]
    assert text.isascii()
    assert text.count(r"\begin{") == text.count(r"\end{") == 2


def test_every_written_latex_file_is_ascii_and_even(three_tasks: Results, tmp_path: Path) -> None:
    for table in write_paper(three_tasks.frames(), tmp_path / "report"):
        text = (tmp_path / "report" / "paper" / f"{table.name}.tex").read_text()
        assert text.isascii(), table.name
        rows = [line for line in text.splitlines() if line.endswith(r"\\")]
        assert {len(re.findall(r"(?<!\\)&", line)) for line in rows} == {len(table.columns) - 1}
        assert len(rows) == 1 + len(table.rows)
