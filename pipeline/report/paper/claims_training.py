"""Claims on training: faster than CPG and DEN, and a lower training loss with attentive masks."""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from lsg.methods.cl_lsg import GROW
from pipeline.report.layout import NOTHING
from pipeline.report.paired import Verdict, paired
from pipeline.report.paper import measured
from pipeline.report.paper.finding import Evidence, Finding, OurSide, PaperSide
from pipeline.report.paper.lines import times
from pipeline.report.paper.printed import OURS, has_ablation
from pipeline.report.statistics import Estimate, estimate

SPEEDUPS = {"cpg": 1.4, "den": 3.5}
"""Section 4.1, of Superclass: the whole training time of a rival over CL-LSG's."""
FASTER = '"Compared to the CPG and DEN ... 1.4x and 3.5x speedup"'
ONE_ORDER = '"DEN and CPG which require one order more training time"'
LOWER_LOSS = '"LSG method can always achieve lower loss values" (proposition A.1), read as training loss'
SMALLER = '"LSG ... also reduce the model size by involving kernel-wise sparsity"'
WITH, WITHOUT = "grow+sel+lsg", "grow+sel"


def speed(known: Evidence) -> Iterator[Finding]:
    """Training time: the printed speed-ups, and one order of magnitude."""
    for rival, factor in SPEEDUPS.items():
        if rival not in known.rivals:
            continue
        printed = has_ablation(known.frames)
        if printed:
            paper = PaperSide(f"{factor}x (figure 4)", "the figure's data are not given")
            yield Finding(f"{FASTER}: {rival}", "4.1", paper, _speedup(known, rival, factor))
        order = PaperSide("10x", f"{factor}x (figure 4)", "does not hold") if printed else PaperSide("10x")
        yield Finding(f"{ONE_ORDER}: {rival}", "4.1", order, _speedup(known, rival, 10))


def attentive_masks(known: Evidence) -> Iterator[Finding]:
    """Learnable sparse growth against growth: training loss and size."""
    paper = PaperSide(verdict="true of minima over nested sets, by definition; says nothing of training")
    unrun = known.unrun(WITH, WITHOUT)
    yield Finding(LOWER_LOSS, "A.1", paper, unrun or _lower_loss(known))
    yield Finding(SMALLER, "A.8", PaperSide(), unrun or _smaller(known))


def _speedup(known: Evidence, rival: str, factor: float) -> OurSide:
    if unrun := known.unrun(OURS, rival):
        return unrun
    ratios = {name: _ratio(known, rival, name) for name in ("seconds", "macs", "steps")}
    timed = known.frames.timed_alike and not pd.isna(ratios["seconds"].mean)
    if not timed:
        del ratios["seconds"]
    decisive = next(iter(ratios))
    texts = [f"{times(ratio).text} in {name}" for name, ratio in ratios.items()]
    verdict = "cannot be decided" if known.partial else _at_least(ratios[decisive], factor)
    why = "as the machine was used" if timed else "since seconds are unknown or of different machines"
    rule = f"interval over seeds of the ratio in {decisive}, {why}, against {factor:g}x"
    if len(known.frames.seeds) == 1:
        rule = "1 seed, hence no interval"
    found = f"{', '.join(texts)}{known.span}"
    return OurSide(found, verdict, rule)


def _ratio(known: Evidence, rival: str, measure: str) -> Estimate:
    theirs = measured.totals_of(known.frames, rival, measure)
    ours = measured.totals_of(known.frames, OURS, measure)
    assert theirs is not None
    assert ours is not None
    return estimate(theirs / ours)


def _at_least(ratio: Estimate, factor: float) -> Verdict:
    if ratio.half is None:
        return "cannot be decided"
    if ratio.mean - ratio.half >= factor:
        return "holds"
    return "does not hold" if ratio.mean + ratio.half < factor else "cannot be decided"


def _lower_loss(known: Evidence) -> OurSide:
    differences = paired(_losses(known, WITHOUT), _losses(known, WITH)).differences.to_numpy()
    both = differences[~np.isnan(differences)]
    if not both.size:
        return OurSide("no task at which both grew", "not run", NOTHING)
    higher = int((both < 0).sum())
    found = f"lower by {both.mean():.4f} on average; higher in {higher} of {both.size} trainings{known.span}"
    test = "last epoch of stage 2, every seed and task at which both grew; one higher loss refutes always"
    return OurSide(found, _always(higher, known.partial), test)


def _always(exceptions: int, partial: bool) -> Verdict:
    if exceptions:
        return "does not hold"
    return "cannot be decided" if partial else "holds"


def _losses(known: Evidence, method: str) -> pd.DataFrame:
    """Training loss of the stage that grew, a row a seed and a column a task; NaN where none did."""
    rows = {
        seed: {
            step.record.task: next(
                (stage.train_loss for stage in step.record.stages if stage.stage == GROW), None
            )
            for step in learned
        }
        for (name, seed), learned in known.frames.runs.items()
        if name == method
    }
    return pd.DataFrame.from_dict(rows, orient="index").sort_index().astype(float)


def _smaller(known: Evidence) -> OurSide:
    used, allocated = (
        [_end(known, method, kind) for method in (WITH, WITHOUT)] for kind in ("used", "allocated")
    )
    found = f"used {_against(used)}; allocated {_against(allocated)}{known.span}"
    fewer = used[0] < used[1]
    verdict: Verdict = "holds" if fewer.all() else "cannot be decided" if fewer.any() else "does not hold"
    if known.partial:
        verdict = "cannot be decided"
    return OurSide(found, verdict, "weights that some task uses, after the last task in every seed")


def _end(known: Evidence, method: str, kind: str) -> pd.Series:
    """A method's size after the last task, by seed."""
    table = measured.size(known.frames, method, kind)
    assert table is not None
    return table.iloc[:, -1]


def _against(ends: list[pd.Series]) -> str:
    first, second = (times(estimate(end)).text for end in ends)
    return f"{first} against {second}"
