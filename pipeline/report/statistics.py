"""Means over seeds with their intervals, and what each method came to."""

from collections.abc import Iterable
from dataclasses import dataclass
from math import isnan, nan
from statistics import fmean

import pandas as pd
from scipy.stats import sem
from scipy.stats import t as student

from lsg.evaluation import forward_transfer
from pipeline.report.frames import Frames
from pipeline.units.histories import measures

CONFIDENCE = 0.95
TIE = 1e-9
"""Numbers so near are equal but for rounding."""
SUBJECT, REFERENCE = "cl-lsg", "scratch"
"""The method that this project is about, and the one, in every experiment, that it is held against."""


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds; `half` is half the width of its interval, None where one seed tells nothing."""

    mean: float
    half: float | None = None


def estimate(values: Iterable[float], confidence: float = CONFIDENCE) -> Estimate:
    """Mean and half its confidence interval (Student's t, n - 1 degrees of freedom); NaN where a value is."""
    values = list(values)
    mean = fmean(values)
    if len(values) < 2 or isnan(mean):
        return Estimate(mean)
    quantile = float(student.ppf((1 + confidence) / 2, len(values) - 1))
    return Estimate(mean, quantile * float(sem(values)))


def totals(frames: Frames) -> pd.DataFrame:
    """One row a (method, seed): average, forgetting, both transfers, sizes, steps, macs, seconds.

    `seconds` is NaN where some task's time is not known, or not all are of one machine. Forward transfer
    compares with Scratch, which every experiment has, under the same seed.
    """
    rows = []
    alone = {
        seed: {step.record.task: step.row[step.record.task] for step in learned}
        for (method, seed), learned in frames.runs.items()
        if method == REFERENCE
    }
    for (method, seed), learned in frames.runs.items():
        spent = frames.cost[(frames.cost["method"] == method) & (frames.cost["seed"] == seed)]
        work = {name: spent[name].sum(skipna=False) for name in ("steps", "macs", "seconds")}
        work["seconds"] = work["seconds"] if frames.timed_alike else nan
        matrix = {step.record.task: step.row for step in learned}
        transfer = {"forward_transfer": forward_transfer(matrix, alone[seed])}
        rows.append({"method": method, "seed": seed} | measures(learned) | transfer | work)
    return pd.DataFrame(rows)


def means(frames: Frames) -> pd.DataFrame:
    """Means over seeds of every total, a row a method."""
    table = totals(frames).drop(columns="seed").groupby("method", sort=False).mean()
    return table.loc[frames.methods]


def metrics(frames: Frames) -> dict[str, float]:
    """The few numbers that two experiments are compared by, as `<method>.<measure>`; means over seeds.

    Those of CL-LSG and Scratch, or of every method where CL-LSG was not run; all are in the tables.
    """
    table = totals(frames)
    shown = (REFERENCE, SUBJECT) if SUBJECT in frames.methods else tuple(frames.methods)
    return {
        f"{method}.{name}": estimate(table[table["method"] == method][name]).mean
        for method in shown
        for name in ("average", "size")
    }
