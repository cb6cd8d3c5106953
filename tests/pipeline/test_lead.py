"""The sentences that the page begins with."""

import pandas as pd
import pytest

from pipeline.report.lead import beside_reference


@pytest.mark.parametrize(
    ("gains", "words"),
    [
        ([0.014], "1.4 points above scratch"),
        ([-0.01, -0.01], "1.0 points below scratch"),
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
