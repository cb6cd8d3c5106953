"""Masks against values worked out by hand, and their probabilities."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lsg.masks import GateSchedule, gate_slope, kernel_bits, sample_gates, sample_kernels

DOUBLE = torch.float64


def sigma(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def test_without_noise_the_bit_is_the_threshold_and_the_slope_that_of_a_sigmoid() -> None:
    logits = torch.tensor([0.004, 0.005, 0.006, 0.01], dtype=DOUBLE)
    sample = sample_kernels(logits, None, "none")
    assert sample.bits.tolist() == [0, 0, 1, 1] == kernel_bits(logits).tolist()
    by_hand = [12 * sigma(12 * (m - 0.005)) * sigma(-12 * (m - 0.005)) for m in logits.tolist()]
    assert sample.slope.tolist() == pytest.approx(by_hand, rel=1e-12)


def test_logit_noise_shifts_x_before_the_temperature() -> None:
    uniform = 0.25
    sample = sample_kernels(
        torch.tensor([0.006], dtype=DOUBLE), torch.tensor([uniform], dtype=DOUBLE), "logit"
    )
    z = (1200 * 0.001 + math.log(uniform / (1 - uniform))) / 100
    assert sample.bits.item() == float(z > 0) == 1.0
    assert sample.slope.item() == pytest.approx(12 * sigma(z) * sigma(-z))


def test_eq5_is_the_papers_equation_as_printed() -> None:
    m, uniform = 0.007, 0.9
    sample = sample_kernels(torch.tensor([m], dtype=DOUBLE), torch.tensor([uniform], dtype=DOUBLE), "eq5")
    x, gumbel_difference = 1200 * (m - 0.005), math.log(uniform / (1 - uniform))
    p0 = math.exp((math.log(sigma(x)) + gumbel_difference) / 100)
    soft = p0 / (p0 + math.exp(0.0))
    assert sample.bits.item() == float(soft > 0.5)
    assert sample.slope.item() == pytest.approx(12 * soft * (1 - soft) * sigma(-x))


@pytest.mark.parametrize(
    ("noise", "m", "expected"),
    [("logit", 0.01, 0.9975), ("logit", 0.005, 0.5), ("eq5", 0.01, 0.4994), ("eq5", 0.005, 1 / 3)],
)
def test_keep_probabilities(noise: str, m: float, expected: float) -> None:
    count = 200_000
    uniform = torch.rand(count, generator=torch.Generator().manual_seed(1), dtype=DOUBLE)
    kept = sample_kernels(torch.full((count,), m, dtype=DOUBLE), uniform, noise).bits.mean().item()  # type: ignore[arg-type]
    assert kept == pytest.approx(expected, abs=4 * math.sqrt(0.25 / count))


@given(st.floats(-0.05, 0.05), st.floats(0, 1, exclude_max=True), st.sampled_from(["logit", "eq5", "none"]))
def test_slopes_are_finite_and_never_negative(m: float, uniform: float, noise: str) -> None:
    sample = sample_kernels(torch.tensor([m]), torch.tensor([uniform]), noise)  # type: ignore[arg-type]
    assert math.isfinite(sample.slope.item())
    assert sample.slope.item() >= 0
    assert sample.bits.item() in (0.0, 1.0)


def test_slope_is_not_zero_where_p_times_one_minus_p_is() -> None:
    steep = gate_slope(torch.tensor([0.5]), torch.tensor([100.0]))
    assert steep.item() > 0
    probability = torch.sigmoid(torch.tensor([50.0]))
    assert (probability * (1 - probability)).item() == 0


def test_gates_follow_their_probability_and_sharpen_with_the_epochs_they_were_on() -> None:
    schedule = GateSchedule(scale=100, final_beta=20, epochs=5)
    sharpness = schedule.sharpness(torch.tensor([0.0, 2.0, 4.0, 9.0]))
    assert sharpness.tolist() == pytest.approx([100, 100 * math.sqrt(20), 2000, 2000])
    logits = torch.full((4,), 0.001)
    uniform = torch.tensor([sigma(0.1) - 1e-3, sigma(0.1 * math.sqrt(20)) + 1e-3, 0.88, 0.89])
    assert sample_gates(logits, uniform, sharpness).tolist() == [1, 0, 1, 0]
