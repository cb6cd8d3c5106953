"""The sentences that the page begins with."""

import numpy as np
import pandas as pd
import pytest

from pipeline.report.lead import beside_reference, level_with


@pytest.mark.parametrize(
    ("gains", "words"),
    [
        ([0.014], "1.4 points above scratch"),
        ([-0.01, -0.01], "1.0 points below scratch, so not told apart"),
        ([0.01, 0.03], "2.0 ± 12.7 points above scratch, so not told apart"),
        ([-0.02, -0.02, -0.023], "2.1 ± 0.4 points below scratch"),
    ],
)
def test_a_gain_is_taken_seed_by_seed_and_told_apart_only_beyond_its_interval(
    gains: list[float], words: str
) -> None:
    """However far the seeds lie from each other: half the interval is Student's t times the gains' error."""
    scratch = [0.5 + 0.1 * seed for seed in range(len(gains))]
    rows = [("scratch", seed, average) for seed, average in enumerate(scratch)]
    rows += [("cl-lsg", seed, scratch[seed] + gain) for seed, gain in enumerate(gains)]
    assert beside_reference(pd.DataFrame(rows, columns=["method", "seed", "average"])) == words


def averages(**by_method: list[float]) -> pd.DataFrame:
    rows = [(name, seed, value) for name, values in by_method.items() for seed, value in enumerate(values)]
    return pd.DataFrame(rows, columns=["method", "seed", "average"])


def test_the_best_is_named_with_the_methods_that_seeds_do_not_tell_from_it() -> None:
    """The gains are 0.01, 0.00 and 0.03, which is 0.013 +- 0.038, and 0.10, 0.10 and 0.11, 0.103 +- 0.014."""
    table = averages(best=[0.30, 0.31, 0.32], level=[0.29, 0.31, 0.29], worse=[0.20, 0.21, 0.21])
    assert level_with(table, "best") == ", not told apart from level"
    assert level_with(table, "worse") == ""


def test_a_further_method_makes_it_harder_to_tell_one_from_the_best() -> None:
    """Gains of 0.03, 0.04 and 0.05 are 0.04 +- 0.025 at 95 %, and +- 0.044 where there are three pairs."""
    two = {"best": [0.30, 0.31, 0.32], "near": [0.27, 0.27, 0.27]}
    assert level_with(averages(**two), "best") == ""
    assert level_with(averages(**two, far=[0.1, 0.11, 0.12]), "best") == ", not told apart from near"


def test_alike_methods_are_told_apart_in_no_more_than_5_percent_of_the_experiments() -> None:
    draws = np.random.default_rng(0)
    trials, wrong = 300, 0
    for _ in range(trials):
        table = averages(**{f"m{number}": list(draws.normal(0.7, 0.01, 3)) for number in range(8)})
        best = str(table.groupby("method")["average"].mean().idxmax())
        wrong += level_with(table, best).count(",") < 7
    assert wrong / trials <= 0.05


def test_alike_methods_are_seldom_told_apart_where_accuracies_are_counts_of_few_images() -> None:
    """Two seeds then often differ by the same number, which is no interval of width 0."""
    draws = np.random.default_rng(0)
    trials, wrong = 300, 0
    for _ in range(trials):
        table = averages(**{f"m{number}": list(draws.binomial(450, 0.98, 2) / 450) for number in range(8)})
        best = str(table.groupby("method")["average"].mean().idxmax())
        wrong += level_with(table, best).count(",") < 7
    assert wrong / trials <= 0.05


def test_one_seed_decides_nothing_and_says_so_nowhere() -> None:
    assert level_with(averages(best=[0.3], other=[0.2999]), "best") == ""
    assert level_with(averages(best=[0.3], other=[0.3]), "best") == ", not told apart from other"
