"""Claims on model size: the smallest network, tasks without growth, and growth against accuracy."""

from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd
from scipy.stats import permutation_test, rankdata

from pipeline.report.layout import NOTHING, words
from pipeline.report.paired import LEVEL, Score, Verdict, score
from pipeline.report.paper import measured
from pipeline.report.paper.finding import Evidence, Finding, OurSide, PaperSide, on_all
from pipeline.report.paper.printed import OURS, has_ablation
from pipeline.report.statistics import TIE

SMALLEST = '"guarantee the smallest model size for each task during training"'
SAME_OR_LESS = '"with the same or even less model size" than the other methods'
NAMED = (7, 10, 14, 16, 19)
NAMED_TASKS = f'"does not need to grow the model on" tasks {", ".join(map(str, NAMED))}'
WITHOUT = '"achieve good accuracy without growing in certain tasks"'
RELATION = '"characterize the relationship between growth ratio and accuracy for each task"'
_ALONE = OurSide("no run of a method to compare with", "not run", NOTHING)
_RESAMPLES = 9_999

Sizes = Mapping[str, Mapping[int, float]]
"""Sizes by method and task."""


def smallest(known: Evidence) -> Iterator[Finding]:
    """The smallest at every task; and no larger than any other at the end."""
    printed: Sizes = {method: row.values() for method, row in known.size.items()}
    runs = _runs(known)
    yield Finding(
        SMALLEST,
        "4.1",
        _smallest_printed(known, printed),
        known.unrun(OURS) or _smallest(known, runs),
    )
    finals = {name: row.final.value for name, row in known.accuracy.items() if row.final}
    ended = {name: values[max(values)] for name, values in runs.items()}
    yield Finding(
        SAME_OR_LESS,
        "1, 4.1",
        _no_larger_printed(known, finals),
        known.unrun(OURS) or _no_larger(known, ended),
    )


def without_growth(known: Evidence) -> Iterator[Finding]:
    """Tasks at which the network does not grow: those that the text names, and any that reach their goal."""
    if has_ablation(known.frames):
        yield Finding(NAMED_TASKS, "4.1", _named_printed(known), known.unrun(OURS) or _named(known))
    yield Finding(WITHOUT, "4.1", _without_printed(known), known.unrun(OURS) or _without(known))


def relation(known: Evidence) -> Iterator[Finding]:
    """Whether tasks at which the network grows more gain more over Scratch. The paper names no sign."""
    yield Finding(RELATION, "5", _relation_printed(known), known.unrun(OURS, "scratch") or _relation(known))


def _runs(known: Evidence) -> Sizes:
    """Means over seeds of what was run, of CL-LSG and the methods that the paper compares it with."""
    found = {method: measured.size(known.frames, method) for method in (OURS, *known.rivals)}
    return {method: _means(table) for method, table in found.items() if table is not None}


def _means(table: pd.DataFrame) -> dict[int, float]:
    return {int(str(task)): float(value) for task, value in table.mean(axis=0).items()}


def _margins(known: Evidence, sizes: Sizes) -> Score:
    """At how many tasks CL-LSG is below, level with or above the smallest of the others."""
    own = sizes[OURS]
    others = [sizes[method] for method in known.rivals if method in sizes]
    least = {task: min((other[task] for other in others if task in other), default=np.inf) for task in own}
    return score(least[task] - own[task] for task in own)


def _sized(found: Score) -> str:
    return f"smallest at {found.wins} tasks, level with another at {found.ties}, larger at {found.losses}"


def _smallest_printed(known: Evidence, sizes: Sizes) -> PaperSide:
    if not sizes:
        return PaperSide()
    found = _margins(known, sizes)
    return PaperSide(cells=_sized(found), verdict=on_all(found, found.tasks))


def _smallest(known: Evidence, sizes: Sizes) -> OurSide:
    if not _rivals_run(known):
        return _ALONE
    found = _margins(known, sizes)
    verdict = _if_complete(known, on_all(found, known.tasks))
    return OurSide(_sized(found) + known.span, verdict, _against(known, "count of tasks by means over seeds"))


def _no_larger_printed(known: Evidence, finals: Mapping[str, float]) -> PaperSide:
    if not finals:
        return PaperSide()
    most = min(finals[method] for method in known.rivals)
    verdict = "holds" if finals[OURS] <= most + TIE else "does not hold"
    return PaperSide(cells=_finals(known, finals), verdict=verdict)


def _no_larger(known: Evidence, finals: Mapping[str, float]) -> OurSide:
    if not _rivals_run(known):
        return _ALONE
    others = [finals[method] for method in known.rivals if method in finals]
    verdict: Verdict = "does not hold" if finals[OURS] > min(others, default=np.inf) + TIE else "holds"
    if known.partial:
        verdict = "cannot be decided"  # the sentence is about the last of all tasks
    test = _against(known, "comparison of the last sizes by means over seeds")
    return OurSide(_finals(known, finals) + known.span, _if_complete(known, verdict), test)


def _finals(known: Evidence, finals: Mapping[str, float]) -> str:
    others = ", ".join(f"{method} {finals[method]:.2f}x" for method in known.rivals if method in finals)
    return f"{finals[OURS]:.2f}x" + (f" against {others}" if others else "")


def _if_complete(known: Evidence, verdict: Verdict) -> Verdict:
    """What holds against some of the rivals need not hold against those that were not run."""
    return "cannot be decided" if verdict == "holds" and _missing(known) else verdict


def _rivals_run(known: Evidence) -> bool:
    return any(method in known.frames.methods for method in known.rivals)


def _missing(known: Evidence) -> list[str]:
    return [method for method in known.others if method not in known.frames.methods]


def _against(known: Evidence, test: str) -> str:
    missing = _missing(known)
    return test + (f"; no run of {', '.join(missing)}" if missing else "")


def _level(sizes: Mapping[int, float]) -> list[int]:
    """Tasks after the first at which the size did not rise."""
    return [task for task in sizes if task - 1 in sizes and sizes[task] <= sizes[task - 1] + TIE]


def _listed(tasks: list[int]) -> str:
    return ", ".join(map(str, tasks)) or "none"


def _named_printed(known: Evidence) -> PaperSide:
    if not known.size:
        return PaperSide()
    level = _level(known.size[OURS].values())
    return PaperSide(
        printed=_listed(list(NAMED)),
        cells=f"no growth at tasks {_listed(level)}",
        verdict="holds" if set(NAMED) <= set(level) else "does not hold",
    )


def _named(known: Evidence) -> OurSide:
    table = measured.size(known.frames, OURS)
    assert table is not None
    named = [task for task in NAMED if task in known.frames.tasks]
    if not named:
        return OurSide("none of these tasks was run", "not run", NOTHING)
    grew = [task for task in named if (measured.grown(table)[task] > 0).any()]
    verdict: Verdict = (
        "does not hold" if grew else "holds" if len(named) == len(NAMED) else "cannot be decided"
    )
    found = f"grew at tasks {_listed(grew)} of {_listed(named)}"
    return OurSide(found, verdict, "comparison of sizes; one seed in which a task grows refutes it")


def _without_printed(known: Evidence) -> PaperSide:
    gain = known.printed(OURS, "scratch")
    if gain is None:
        return PaperSide()
    level = _level(known.size[OURS].values())
    good = [task for task in level if gain.by_task[task] >= -TIE]
    text = f"no growth at tasks {_listed(level)}; of these at or above Scratch: {_listed(good)}"
    return PaperSide(cells=text, verdict="holds" if good else "does not hold")


def _without(known: Evidence) -> OurSide:
    table = known.frames.growth
    later = table[(table["method"] == OURS) & (table["task"] > 1)]
    sizes = measured.size(known.frames, OURS)
    assert sizes is not None
    if later.empty:
        return OurSide("one task was run", "not run", NOTHING)
    level = float((measured.grown(sizes) <= 0).sum(axis=1).mean())
    met = later["reason"].eq("target_met").groupby(later["seed"]).sum()
    reasons = later["reason"].value_counts()
    why = ", ".join(f"{words(reason)} {count}" for reason, count in reasons.items())
    found = (
        f"no growth at {level:.1f} of {sizes.shape[1] - 1} later tasks a seed (all seeds: {why}){known.span}"
    )
    test = f"some later task meets its goal on the {known.frames.decision_split} split without growth"
    if (met > 0).all():
        return OurSide(found, "holds", f"{test}: in every seed")
    open_question = (met > 0).any() or known.partial
    return OurSide(
        found, "cannot be decided" if open_question else "does not hold", f"{test}: not in every seed"
    )


def _relation_printed(known: Evidence) -> PaperSide:
    gain = known.printed(OURS, "scratch")
    if gain is None:
        return PaperSide()
    text, verdict = rank_correlation(_means(measured.grown(known.size[OURS].values())), gain.by_task)
    return PaperSide(cells=text, verdict=verdict)


def _relation(known: Evidence) -> OurSide:
    sizes, gain = measured.size(known.frames, OURS), known.compared(OURS, "scratch")
    assert sizes is not None
    assert gain is not None
    text, verdict = rank_correlation(_means(measured.grown(sizes)), gain.by_task)
    test = (
        "permutations of tasks 2 on, growth against gain over Scratch, means over seeds; no sign is claimed"
    )
    return OurSide(text + known.span, verdict, test)


def rank_correlation(growth: Mapping[int, float], gain: Mapping[int, float]) -> tuple[str, Verdict]:
    """Spearman's correlation over the tasks of `growth`, and whether there is one by a permutation test."""
    first, second = (rankdata(np.round([values[task] for task in growth], 9)) for values in (growth, gain))
    if len(first) < 3 or np.ptp(first) == 0 or np.ptp(second) == 0:
        return f"no rank correlation of {len(first)} tasks", "cannot be decided"
    first, second = first - first.mean(), second - second.mean()
    found = permutation_test(
        (first,),
        lambda ranks, axis: np.sum(ranks * second, axis=axis),
        permutation_type="pairings",
        vectorized=True,
        n_resamples=_RESAMPLES,
        rng=np.random.default_rng(0),
    )
    rho = np.sum(first * second) / np.sqrt(np.sum(first**2) * np.sum(second**2))
    text = f"rank correlation {rho:+.2f}, p = {found.pvalue:.2g}"
    return text, "holds" if found.pvalue < LEVEL else "cannot be decided"
