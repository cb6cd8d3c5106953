"""Two or more ways of doing the same, timed in turn within one run, so that a busy machine slows all alike.

A figure is a median of per-round ratios with the interval that covers the true median in 95 % of cases
(order statistics of the rounds; no assumption on how times scatter).
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import torch
from scipy.stats import binom

Action = Callable[[], object]


@dataclass(frozen=True)
class Spread:
    """A median and the 95 % interval of it."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.median:.3f} [{self.low:.3f}, {self.high:.3f}]"


def spread(values: list[float]) -> Spread:
    """The median with its interval; of few values the interval is their range."""
    ordered, count = sorted(values), len(values)
    below = int(binom.ppf(0.025, count, 0.5))
    return Spread(median(ordered), ordered[max(0, below - 1)], ordered[min(count - 1, count - below)])


def interleaved(actions: Mapping[str, Action], rounds: int) -> dict[str, list[float]]:
    """Seconds of each action in each round; the order turns."""
    for action in actions.values():
        action()
    seconds: dict[str, list[float]] = {name: [] for name in actions}
    names = list(actions)
    for place in range(rounds):
        turn = place % len(names)
        for name in names[turn:] + names[:turn]:
            begun = time.perf_counter()
            actions[name]()
            seconds[name].append(time.perf_counter() - begun)
    return seconds


def ratios(seconds: Mapping[str, list[float]], of: str, to: str) -> Spread:
    """How many times as long `of` takes as `to`, round by round."""
    return spread([one / other for one, other in zip(seconds[of], seconds[to], strict=True)])


def machine() -> str:
    """One line that every report begins with: what this was measured on."""
    names = [line.split(":")[1].strip() for line in _cpuinfo() if line.startswith("model name")]
    processor = names[0] if names else platform.processor() or platform.machine()
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    return (
        f"{processor}, {os.cpu_count()} cores, load {load}; torch {torch.__version__}, "
        f"{torch.get_num_threads()} thread{'s' if torch.get_num_threads() > 1 else ''}"
    )


def _cpuinfo() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text().splitlines() if path.exists() else []
