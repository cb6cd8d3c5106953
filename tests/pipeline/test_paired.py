"""Differences of two methods and their exact tests, against values worked out by hand and against scipy."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import permutation_test

from pipeline.report.paired import (
    MOST_EXACT,
    Paired,
    Score,
    SignFlip,
    direction,
    paired,
    score,
    sign_flip,
    smallest_p,
)
from pipeline.report.statistics import Estimate


@pytest.mark.parametrize(
    ("differences", "p"),
    [
        ([1, 2, 3], 2 / 8),  # only +++ and --- reach 6
        ([1, -2, 3], 6 / 8),  # sums 6 4 2 0 0 -2 -4 -6: all but the zeros reach 2
        ([-1, -2, -3], 2 / 8),
        ([1, 1], 2 / 4),
        ([1, -1], 1),
        ([0, 0, 0], 1),
        ([0.1, 0.2, 0.3], 2 / 8),  # 0.1 + 0.2 + 0.3 depends on the order in which it is added
        ([5], 1),
    ],
)
def test_the_sign_flip_test_by_hand(differences: list[float], p: float) -> None:
    assert sign_flip(differences) == pytest.approx(p)


@given(st.lists(st.integers(-9, 9), min_size=2, max_size=7))
def test_it_agrees_with_scipy(differences: list[int]) -> None:
    values = np.array(differences, dtype=float)
    found = permutation_test((values,), np.sum, permutation_type="samples", n_resamples=np.inf)
    assert sign_flip(differences) == pytest.approx(min(found.pvalue, 1.0))


def test_beyond_the_exact_it_is_sampled_and_repeatable() -> None:
    alike = [(-1.0) ** place for place in range(MOST_EXACT + 2)]
    assert sign_flip(alike) > 0.9
    above = [1.0] * (MOST_EXACT + 1)
    assert sign_flip(above) == sign_flip(above) < 1e-3


def test_the_smallest_p_of_few_seeds() -> None:
    assert [smallest_p(count) for count in (1, 2, 3, 6)] == [1, 0.5, 0.25, 0.03125]


def table(rows: list[list[float]]) -> pd.DataFrame:
    """Seeds 1, 2, ... over tasks 1, 2, ..."""
    return pd.DataFrame(rows, range(1, len(rows) + 1), range(1, len(rows[0]) + 1))


def test_means_over_seeds_and_over_tasks_by_hand() -> None:
    found = paired(table([[70, 60], [72, 66], [74, 60]]), table([[69, 61], [70, 63], [70, 60]]))
    assert found.differences.to_numpy().tolist() == [[1, -1], [2, 3], [4, 0]]
    assert found.by_task == {1: pytest.approx(7 / 3), 2: pytest.approx(2 / 3)}
    assert found.mean.mean == pytest.approx((0 + 2.5 + 2) / 3)
    deviation = np.std([0, 2.5, 2], ddof=1)
    assert found.mean.half == pytest.approx(4.302653 * deviation / 3**0.5, rel=1e-6)
    assert found.score == Score(2, 0, 0)


def test_methods_of_different_seeds_are_not_compared() -> None:
    with pytest.raises(ValueError, match="different seeds or tasks"):
        paired(table([[1, 2]]), table([[1, 2], [3, 4]]))


def test_too_few_seeds_say_so_and_enough_tasks_are_tested() -> None:
    over_seeds, over_tasks = Paired(table([[1] * 6] * 3)).tests()
    assert over_seeds == SignFlip("seed", 3, None)
    assert str(over_seeds) == "3 seeds cannot go below p = 0.25"
    assert over_tasks == SignFlip("task", 6, 2 / 64)
    assert str(over_tasks) == "over 6 tasks p = 0.031"
    assert str(SignFlip("seed", 1, None)) == "1 seed cannot go below p = 1"


def test_a_score_counts_rounding_errors_as_level() -> None:
    found = score([0.3 - 0.1 - 0.2, 1.0, 2.0, -1.0])
    assert found == Score(2, 1, 1)
    assert str(found) == "2 better, 1 level, 1 worse"
    assert found.p == 1  # 2 of 3, two-sided
    assert score([1.0] * 6).p == pytest.approx(2 / 64)
    assert score([0.0]).p == 1


@pytest.mark.parametrize(
    ("mean", "half", "ps", "verdict"),
    [
        (1.0, None, [0.01, None], "holds"),
        (-1.0, None, [0.01, None], "does not hold"),
        (1.0, None, [0.01, 0.2], "cannot be decided"),
        (1.0, None, [0.01, 0.02], "holds"),
        (1.0, None, [None, None], "cannot be decided"),
        (1.0, None, [0.05], "cannot be decided"),
        (1.0, 0.9, [0.01], "holds"),
        (-1.0, 0.9, [0.01], "does not hold"),
        (1.0, 1.0, [0.01], "cannot be decided"),
        (-1.0, 1.1, [0.01], "cannot be decided"),
    ],
)
def test_every_possible_test_and_the_interval_must_agree(
    mean: float, half: float | None, ps: list[float | None], verdict: str
) -> None:
    assert direction(Estimate(mean, half), [SignFlip("task", 9, p) for p in ps]) == verdict
