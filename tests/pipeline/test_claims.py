"""The audit of the paper's claims: its own cells, and hand-made runs, against verdicts worked out by hand."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from pipeline.report.layout import NOTHING
from pipeline.report.paper.claims import claims_table, findings
from pipeline.report.paper.claims_size import rank_correlation
from pipeline.report.paper.contradictions import contradictions, contradictions_table
from pipeline.report.paper.finding import Finding
from pipeline.report.paper.writing import write_paper
from tests.pipeline import made_units as made
from tests.pipeline.made_benchmarks import Results

SPLIT, SUPERCLASS, MINI = "cifar100-split", "cifar100-superclass", "miniimagenet"
OVER_CPG = "0.71%, 1.0% and 1.2%"
ALL_OF_DEN, MOST_OF_CPG = "than DEN on all tasks", "CPG on most of tasks"
SMALLEST, SAME_OR_LESS = "guarantee the smallest model size", "same or even less model size"
NAMED, WITHOUT = "does not need to grow", "without growing in certain tasks"
FASTER, ONE_ORDER = "1.4x and 3.5x speedup", "one order more training time"
SELECTIVE, EACH_TASK = "selective-masking method largely", "improves the accuracy for each task"
LOSS, SPARSITY, FORGETTING = "lower loss values", "kernel-wise sparsity", "without affecting"


def claim(results: Results, *words: str) -> Finding:
    """The one claim with these words in it."""
    (found,) = [each for each in findings(results.frames()) if all(word in each.claim for word in words)]
    return found


@pytest.fixture
def scratch_only(tmp_path: Path) -> dict[str, Results]:
    """Each benchmark with a run of Scratch and nothing else."""
    made_results = {}
    for benchmark, tasks in ((SPLIT, 10), (SUPERCLASS, 20), (MINI, 20)):
        results = Results(tmp_path / benchmark, benchmark)
        results.add("scratch", [50] * tasks, sizes=range(1, tasks + 1))
        made_results[benchmark] = results
    return made_results


@pytest.mark.parametrize(
    ("benchmark", "printed", "cells", "verdict"),
    [
        (SPLIT, "+0.71", "+0.02", "cannot be decided"),
        (SUPERCLASS, "+1.00", "+0.27", "cannot be decided"),
        (MINI, "+1.20", "+1.01", "holds"),
    ],
)
def test_the_printed_gain_over_cpg_and_that_of_the_cells(
    scratch_only: dict[str, Results], benchmark: str, printed: str, cells: str, verdict: str
) -> None:
    found = claim(scratch_only[benchmark], OVER_CPG)
    assert (found.paper.printed, found.paper.cells) == (printed, cells)
    assert found.paper.verdict.startswith(f"{verdict}: over ")
    assert found.ours.verdict == "not run"
    assert found.ours.found == "no run of cl-lsg, cpg"


def sized_as(smallest: int, level: int, larger: int) -> str:
    return f"smallest at {smallest} tasks, level with another at {level}, larger at {larger}"


def test_the_paper_s_own_cells_against_its_words(scratch_only: dict[str, Results]) -> None:
    superclass, split = scratch_only[SUPERCLASS], scratch_only[SPLIT]
    expected = {
        (superclass, ALL_OF_DEN): ("18 better, 0 level, 2 worse (task 2, 18)", "does not hold"),
        (superclass, MOST_OF_CPG): ("10 better, 2 level, 8 worse", "does not hold"),
        (split, MOST_OF_CPG): ("6 better, 0 level, 4 worse (task 1, 2, 7, 8)", "holds"),
        (superclass, SMALLEST): (sized_as(0, 20, 0), "does not hold"),
        (split, SMALLEST): (sized_as(7, 3, 0), "does not hold"),
        (superclass, NAMED): ("no growth at tasks 7, 10, 14, 16, 19", "holds"),
        (split, WITHOUT): ("no growth at tasks 4, 7; of these at or above Scratch: none", "does not hold"),
        (superclass, EACH_TASK): ("19 better, 0 level, 0 worse", "holds"),
    }
    for (results, words), (cells, verdict) in expected.items():
        found = claim(results, words)
        assert (found.paper.cells, found.paper.verdict) == (cells, verdict), words
        assert found.ours.verdict == "not run"
    final = claim(split, SAME_OR_LESS)
    assert final.paper.cells == "1.20x against pnn 1.70x, grow 1.30x, den 1.80x, cpg 1.30x, apd 1.30x"
    assert final.paper.verdict == "holds"
    selective = claim(superclass, SELECTIVE)
    assert (selective.paper.printed, selective.paper.cells) == ("+3.7", "+3.18")
    order = claim(superclass, ONE_ORDER, "cpg")
    assert (order.paper.printed, order.paper.verdict) == ("10x", "does not hold")


def test_the_claim_on_equal_sizes_says_how_equal_they_are(tmp_path: Path) -> None:
    """Shares of the means over seeds: 0.2 of 0.4 after task 1, 0.45 of 0.5 after task 2."""
    results = Results(tmp_path, "digits")
    for seed, larger in enumerate((0.1, -0.1), 1):
        sizes = [0.4 + larger, 0.5]
        results.add("cl-lsg", [60, 60], seed, sizes=sizes)
        results.add("grow-matched", [55, 55], seed, sizes=[0.2, 0.45], settings={"sizes": sizes})
    found = claim(results, "with the same model size").ours.found
    assert found.startswith("+5.00")
    assert found.endswith("; Grow has 0.50 to 0.90 of its size")


def test_selective_masks_are_judged_from_task_2_on(tmp_path: Path) -> None:
    """Where there is nothing to select yet, both rows are one network."""
    results = Results(tmp_path, SUPERCLASS)
    results.add("grow-target", [50] * 20)
    results.add("grow+sel", [50, *[51] * 19])
    ours = claim(results, EACH_TASK).ours
    assert (ours.found, ours.verdict) == ("19 better, 0 level, 0 worse", "holds")


def test_elsewhere_too_the_smallest_of_all_is_not_decided_without_all(tmp_path: Path) -> None:
    results = two(Results(tmp_path, "digits"), [[61, 62]], 60)
    for words in (SMALLEST, SAME_OR_LESS):
        assert "no run of pnn, grow, den, apd" in claim(results, words).ours.test
        assert claim(results, words).ours.verdict != "holds"


def two(results: Results, ours: Sequence[Sequence[float]], theirs: float, rival: str = "cpg") -> Results:
    """CL-LSG with these accuracies a seed, a rival with the same at each task."""
    for seed, reached in enumerate(ours, 1):
        results.add("cl-lsg", reached, seed)
        results.add(rival, [theirs] * len(reached), seed)
    return results


def test_three_seeds_and_ten_tasks_are_decided_by_the_tasks(tmp_path: Path) -> None:
    results = two(Results(tmp_path, SPLIT), [[61] * 10, [61.5] * 10, [62] * 10], 60)
    found = claim(results, OVER_CPG).ours
    # means 1, 1.5, 2: half = 4.302653 * 0.5 / sqrt(3); ten equal signs: 2 / 1024
    assert (found.found, found.verdict) == ("+1.50 ± 1.24", "holds")
    assert "3 seeds cannot go below p = 0.25" in found.test
    assert "over 10 tasks p = 0.002" in found.test


def test_an_interval_over_seeds_with_0_in_it_leaves_it_open(tmp_path: Path) -> None:
    results = two(Results(tmp_path, SPLIT), [[61] * 10, [62] * 10, [63] * 10], 60)
    found = claim(results, OVER_CPG).ours
    assert (found.found, found.verdict) == ("+2.00 ± 2.48", "cannot be decided")


def test_a_loss_on_every_task_does_not_hold(tmp_path: Path) -> None:
    results = two(Results(tmp_path, SPLIT), [[59] * 10], 60)
    assert claim(results, OVER_CPG).ours.verdict == "does not hold"
    assert claim(results, MOST_OF_CPG).ours.verdict == "does not hold"


def test_seeds_that_disagree_leave_it_open(tmp_path: Path) -> None:
    seeds = [[61 + shift] * 10 for shift in (0, 1, 2, 0, 1, -2)]
    found = claim(two(Results(tmp_path, SPLIT), seeds, 60), OVER_CPG).ours
    # means 1 2 3 1 2 -1: 8 of at most 10 needs none or one of three ones turned; with mirrors 8 of 64
    assert "over 6 seeds p = 0.12" in found.test
    assert found.verdict == "cannot be decided"


def test_a_part_of_the_tasks_decides_nothing_of_all(tmp_path: Path) -> None:
    seeds = [[61 + seed] * 3 for seed in range(6)]
    results = two(Results(tmp_path, SPLIT), seeds, 60)
    gain = claim(results, OVER_CPG)
    assert gain.paper.cells.replace("\N{MINUS SIGN}", "-") == "+0.02; -1.07 (tasks 1 to 3)"
    assert "over 6 seeds p = 0.031; 3 tasks cannot go below p = 0.25" in gain.ours.test
    assert gain.ours.verdict == "cannot be decided"
    assert claim(results, MOST_OF_CPG).ours.verdict == "cannot be decided"


@pytest.mark.parametrize(
    ("ours", "most", "every"),
    [
        ([61] * 10, "holds", "holds"),
        ([61] * 6 + [59] * 4, "holds", "does not hold"),
        ([61] * 9 + [60], "holds", "does not hold"),
        ([61] * 5 + [60] * 5, "does not hold", "does not hold"),
        ([61] * 6, "holds", "cannot be decided"),
        ([59] + [61] * 3, "cannot be decided", "does not hold"),
        ([59] * 5, "does not hold", "does not hold"),
    ],
)
def test_all_and_most_tasks(tmp_path: Path, ours: list[float], most: str, every: str) -> None:
    results = two(Results(tmp_path, SPLIT), [ours], 60)
    results.add("den", [60] * len(ours))
    assert claim(results, MOST_OF_CPG).ours.verdict == most
    assert claim(results, ALL_OF_DEN).ours.verdict == every


def sized(tmp_path: Path, sizes: Mapping[str, Sequence[float]], tasks: int = 10) -> Results:
    results = Results(tmp_path, SPLIT)
    for method, values in sizes.items():
        results.add(method, [60] * tasks, sizes=values)
    return results


def test_the_smallest_at_each_task(tmp_path: Path) -> None:
    small = [0.1 * task for task in range(1, 11)]
    rivals = dict.fromkeys(("pnn", "grow", "den", "cpg", "apd"), [2.0] * 10)
    found = claim(sized(tmp_path / "all", {"cl-lsg": small, **rivals}), SMALLEST).ours
    assert (found.found, found.verdict) == (
        sized_as(10, 0, 0),
        "holds",
    )
    del rivals["apd"]
    found = claim(sized(tmp_path / "some", {"cl-lsg": small, **rivals}), SMALLEST).ours
    assert found.verdict == "cannot be decided"
    assert found.test.endswith("no run of apd")
    rivals["den"] = [0.1, *[2.0] * 9]
    results = sized(tmp_path / "level", {"cl-lsg": small, **rivals})
    assert claim(results, SMALLEST).ours.verdict == "does not hold"


def test_the_smallest_of_one_is_no_finding(tmp_path: Path) -> None:
    results = sized(tmp_path, {"cl-lsg": [0.5] * 10})
    for words in (SMALLEST, SAME_OR_LESS):
        ours = claim(results, words).ours
        assert (ours.found, ours.verdict) == ("no run of a method to compare with", "not run")


def test_the_size_after_the_last_task(tmp_path: Path) -> None:
    rivals = dict.fromkeys(("pnn", "grow", "den", "cpg", "apd"), [1.2] * 10)
    level = claim(sized(tmp_path / "level", {"cl-lsg": [1.2] * 10, **rivals}), SAME_OR_LESS).ours
    assert level.verdict == "holds"
    larger = claim(sized(tmp_path / "larger", {"cl-lsg": [1.3] * 10, **rivals}), SAME_OR_LESS).ours
    assert larger.found.startswith("1.30x against pnn 1.20x")
    assert larger.verdict == "does not hold"
    early = dict.fromkeys(("cl-lsg", *rivals), [1.2] * 3)
    part = claim(sized(tmp_path / "part", early, tasks=3), SAME_OR_LESS).ours
    assert part.verdict == "cannot be decided"


def rising(tasks: int, level: Sequence[int]) -> list[float]:
    """Sizes that rise by 0.1 at every task but these."""
    grown = [0.0 if task in level else 0.1 for task in range(1, tasks + 1)]
    return [sum(grown[:task]) for task in range(1, tasks + 1)]


@pytest.mark.parametrize(
    ("tasks", "level", "found", "verdict"),
    [
        (20, [7, 10, 14, 16, 19], "grew at tasks none of 7, 10, 14, 16, 19", "holds"),
        (20, [7, 10, 14], "grew at tasks 16, 19 of 7, 10, 14, 16, 19", "does not hold"),
        (8, [7], "grew at tasks none of 7", "cannot be decided"),
        (3, [], "none of these tasks was run", "not run"),
    ],
)
def test_the_tasks_that_the_text_names(
    tmp_path: Path, tasks: int, level: list[int], found: str, verdict: str
) -> None:
    results = Results(tmp_path, SUPERCLASS)
    results.add("cl-lsg", [60] * tasks, sizes=rising(tasks, level))
    ours = claim(results, NAMED).ours
    assert (ours.found, ours.verdict) == (found, verdict)


@pytest.mark.parametrize(
    ("reasons", "verdict"),
    [
        (["target_met", "target_met"], "holds"),
        (["target_met", "kept_stage_1"], "cannot be decided"),
        (["kept_stage_1", "at_cap"], "does not hold"),
    ],
)
def test_good_without_growth_is_a_goal_met_in_every_seed(
    tmp_path: Path, reasons: list[str], verdict: str
) -> None:
    results = Results(tmp_path, "digits")
    for seed, reason in enumerate(reasons, 1):
        changes = {1: {"reason": "grew"}, 2: {"reason": reason}}
        results.add("cl-lsg", [60, 60], seed, sizes=[0.5, 0.5], changes=changes)
    ours = claim(results, WITHOUT).ours
    assert ours.found.startswith("no growth at 1.0 of 1 later tasks")
    assert ours.verdict == verdict


def test_growth_against_gain_by_hand() -> None:
    growth = {2: 0.1, 3: 0.2, 4: 0.3, 5: 0.4, 6: 0.5}
    # equal order: 2 of the 120 orders are as extreme
    text, verdict = rank_correlation(growth, {task: 10 * value for task, value in growth.items()})
    assert text == "rank correlation +1.00, p = 0.017"
    assert verdict == "holds"
    text, verdict = rank_correlation(growth, {2: 5, 3: 1, 4: 4, 5: 2, 6: 3})
    assert text.startswith("rank correlation -0.30")  # 1 - 6 (16 + 1 + 1 + 4 + 4) / 120
    assert verdict == "cannot be decided"
    assert rank_correlation({2: 0.1, 3: 0.1, 4: 0.1}, {2: 1, 3: 2, 4: 3})[1] == "cannot be decided"


def test_rounding_errors_do_not_break_ties() -> None:
    growth = {2: 0.48 - 0.40, 3: 0.56 - 0.48, 4: 0.2, 5: 0.3}
    assert rank_correlation(growth, {2: 1, 3: 2, 4: 3, 5: 4}) == rank_correlation(
        {2: 0.08, 3: 0.08, 4: 0.2, 5: 0.3}, {2: 1, 3: 2, 4: 3, 5: 4}
    )


def timed(tmp_path: Path, seconds: Sequence[Sequence[float]]) -> Results:
    """CL-LSG and CPG on Superclass, with (ours, theirs) in seconds of every task, a pair a seed."""
    results = Results(tmp_path, SUPERCLASS)
    for seed, (ours, theirs) in enumerate(seconds, 1):
        for method, each in (("cl-lsg", ours), ("cpg", theirs)):
            results.add(method, [60] * 20, seed)
            place = results.root / "runs" / results.places[f"{method} seed{seed}"]
            made.write(place / "seconds.json", {str(task): each for task in range(1, 21)})
    return results


@pytest.mark.parametrize(
    ("seconds", "found", "speedup", "order"),
    [
        ([(1, 2.0), (1, 2.0)], "2.00x in seconds", "holds", "does not hold"),
        ([(1, 12.0), (1, 12.0)], "12.00x in seconds", "holds", "holds"),
        ([(1, 1.2), (1, 1.2)], "1.20x in seconds", "does not hold", "does not hold"),
        ([(1, 1.4), (1, 1.6)], "1.50x ± 1.27 in seconds", "cannot be decided", "does not hold"),
        ([(1, 2.0)], "2.00x in seconds", "cannot be decided", "cannot be decided"),
    ],
)
def test_training_time_against_the_printed_factor(
    tmp_path: Path, seconds: list[tuple[float, float]], found: str, speedup: str, order: str
) -> None:
    results = timed(tmp_path, seconds)
    faster = claim(results, FASTER, "cpg").ours
    assert faster.found.startswith(found)
    assert faster.found.endswith("1.00x in macs, 1.00x in steps")
    assert faster.verdict == speedup
    assert claim(results, ONE_ORDER, "cpg").ours.verdict == order
    assert claim(results, FASTER, "den").ours.found == "no run of den"


def test_without_times_the_multiply_accumulates_decide(tmp_path: Path) -> None:
    results = timed(tmp_path, [(1, 20.0), (1, 20.0)])
    for place in results.places.values():
        (results.root / "runs" / place / "seconds.json").unlink()
    found = claim(results, ONE_ORDER, "cpg").ours
    assert found.found == "1.00x in macs, 1.00x in steps"
    assert "ratio in macs" in found.test
    assert found.verdict == "does not hold"


def losses(tmp_path: Path, *seeds: tuple[Sequence[float | None], Sequence[float | None]]) -> Results:
    """Two rows of table 8 on digits, with masks and without, for each seed.

    Stage 2 of each task ended at this loss, None where nothing grew.
    """
    results = Results(tmp_path, "digits")
    for seed, rows in enumerate(seeds, 1):
        for method, values in zip(("grow+sel+lsg", "grow+sel"), rows, strict=True):
            stages = [[made.stage(1, 0.5)] if value is None else [{**made.stage(2, 0.5), "train_loss": value}]
                      for value in values]  # fmt: skip
            changes: dict[int, dict[str, Any]] = {task: {"stages": own} for task, own in enumerate(stages, 1)}
            results.add(method, [60] * len(values), seed, changes=changes)
    return results


def test_seconds_of_different_machines_decide_nothing(tmp_path: Path) -> None:
    known = replace(timed(tmp_path, [(1, 20.0), (1, 20.0)]).frames(), timed_alike=False)
    (found,) = (each.ours for each in findings(known) if ONE_ORDER in each.claim and "cpg" in each.claim)
    assert found.found == "1.00x in macs, 1.00x in steps"
    assert "ratio in macs, since seconds are unknown or of different machines" in found.test
    assert found.verdict == "does not hold"


def test_training_loss_with_and_without_attentive_masks(tmp_path: Path) -> None:
    lower = claim(losses(tmp_path / "1", ([0.1, None, 0.2], [0.3, 0.1, 0.2])), LOSS).ours
    assert (
        lower.found == "lower by 0.1000 on average; higher in 0 of 2 trainings"
    )  # (0.2 + 0) / 2, task 2 left out
    assert lower.verdict == "holds"
    higher = claim(losses(tmp_path / "2", ([0.1, 0.5], [0.3, 0.1])), LOSS).ours
    assert higher.found == "lower by -0.1000 on average; higher in 1 of 2 trainings"
    assert higher.verdict == "does not hold"
    assert claim(losses(tmp_path / "3", ([None], [0.1])), LOSS).ours.verdict == "not run"
    other_seed = losses(tmp_path / "4", ([0.1, 0.9], [0.3, 0.1]), ([0.1, None], [0.3, 0.1]))
    refuted = claim(other_seed, LOSS).ours
    assert refuted.found == "lower by -0.1333 on average; higher in 1 of 3 trainings"
    assert refuted.verdict == "does not hold", "a seed that did not grow takes no exception back"


def test_weights_in_use_with_and_without_attentive_masks(tmp_path: Path) -> None:
    results = Results(tmp_path, "digits")
    for method, used in (("grow+sel+lsg", 0.2), ("grow+sel", 0.3)):
        size = {"allocated": 0.4, "used": used, "stored": 0.4}
        results.add(method, [60], changes={1: {"size": size}})
    found = claim(results, SPARSITY).ours
    assert found.found == "used 0.20x against 0.30x; allocated 0.40x against 0.40x"
    assert found.verdict == "holds"


def test_forgetting_is_any_change_of_an_earlier_task(tmp_path: Path) -> None:
    results = Results(tmp_path, "digits")
    results.add("cl-lsg", [60, 70, 80])
    kept = claim(results, FORGETTING).ours
    assert (kept.found, kept.verdict) == ("largest change 0.0 points", "holds")
    results.forget("cl-lsg", [60, 65, 80])
    lost = claim(results, FORGETTING).ours
    assert (lost.found, lost.verdict) == ("largest change 5.0 points", "does not hold")


def test_who_forgets_is_compared_as_learned_and_what_is_left_stands_beside(tmp_path: Path) -> None:
    results = Results(tmp_path, SPLIT)
    results.add("den", [60, 70, 80])
    results.add("cl-lsg", [58, 68, 82])
    assert "as learned" not in claim(results, ALL_OF_DEN).ours.found
    results.forget("den", [50, 60, 80])
    on_tasks, average = claim(results, ALL_OF_DEN).ours, claim(results, "(DEN)").ours
    assert on_tasks.found == (
        "1 better, 0 level, 2 worse (tasks 1 to 3) as learned; 3 better, 0 level, 0 worse after the last task"
    )
    assert on_tasks.verdict == "does not hold"
    assert average.found.replace("\N{MINUS SIGN}", "-") == (
        "-0.67 (tasks 1 to 3) as learned; +6.00 after the last task"
    )


def test_a_benchmark_that_is_not_the_paper_s_has_no_printed_side(tmp_path: Path) -> None:
    found = findings(two(Results(tmp_path, "digits"), [[61, 62]], 60).frames())
    assert {each.paper.cells for each in found} == {NOTHING}
    assert not [each for each in found if "DEN on all" in each.claim]  # neither printed nor run
    assert [each.ours.verdict for each in found if "CPG on most" in each.claim] == ["holds"]


def test_the_written_audit(scratch_only: dict[str, Results], tmp_path: Path) -> None:
    frames = scratch_only[SUPERCLASS].frames()
    write_paper(frames, tmp_path / "report")
    text = (tmp_path / "report" / "claims.md").read_text()
    assert "speaks of other tasks like these, not of other seeds" in text
    assert "3 seeds cannot go below p = 0.25" in text
    assert "Protocol clean" in text
    table = claims_table(frames)
    for words in table.texts():
        assert all(words), words
        assert words[0] in text
    written = pd.read_csv(tmp_path / "report" / "paper" / "claims.csv")
    assert list(written.columns) == list(table.columns)
    assert len(written) == len(table.rows) == len(findings(frames))


def test_contradictions_are_those_of_the_benchmark(scratch_only: dict[str, Results]) -> None:
    places = {
        name: {texts[0] for texts in contradictions_table(results.frames()).texts()}
        for name, results in scratch_only.items()
    }
    assert "4, A.4, table 6" in places[MINI] - places[SPLIT]
    assert "tables 2, 8" in places[SUPERCLASS] - places[MINI]
    assert "A.2, equation 5" in places[SPLIT] & places[SUPERCLASS] & places[MINI]
    known = {"all", SPLIT, SUPERCLASS, MINI}
    table = contradictions()
    assert set(";".join(table["benchmarks"]).split(";")) == known
    assert not table.isna().any().any()
    assert not table.duplicated(["place", "problem"]).any()
