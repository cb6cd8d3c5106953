"""Claims on accuracy: gains over other methods, on average and by task, gains by part, and no forgetting."""

from collections.abc import Callable, Iterator
from dataclasses import replace

from pipeline.report.layout import NOTHING
from pipeline.report.paired import Paired, Score, Verdict, direction
from pipeline.report.paper import measured
from pipeline.report.paper.finding import Evidence, Finding, OurSide, PaperSide, as_paired, on_all, on_most
from pipeline.report.paper.increments import STEPS, Step, increment, printed_rows
from pipeline.report.paper.lines import points
from pipeline.report.paper.printed import OURS
from pipeline.report.statistics import Estimate

Rule = Callable[[Score, int], Verdict]

AVERAGE_GAINS = {
    "pnn": '"compared with Grow Only methods" (PNN) "significantly improve the accuracy"',
    "grow": '"compared with Grow Only methods" (Grow) "significantly improve the accuracy"',
    "den": '"clear accuracy gain against SOTA results" (DEN)',
    "cpg": '"Compared with CPG ... 0.71%, 1.0% and 1.2% accuracy improvement"',
    "apd": '"clear accuracy gain against SOTA results" (APD)',
}
SAME_SIZE = '"achieves better accuracy with the same model size" as growth alone'
ON_TASKS: tuple[tuple[str, str, Rule], ...] = (
    ("den", '"better results than DEN on all tasks"', on_all),
    ("cpg", '"better results than ... CPG on most of tasks"', on_most),
    ("pnn", '"compared with ... PNN ... improve the accuracy for each task"', on_all),
    ("grow", '"compared with ... Grow ... improve the accuracy for each task"', on_all),
)
PARTS = {
    "+Sel-mask": '"selective-masking method largely improves the accuracy"',
    "+LSG": '"LSG method can not only improve the accuracy ..."',
    "+Re-train": '"re-train ... could further improve 0.7% accuracy on average"',
}
MATCHED = "grow-matched"
EACH_TASK = '"selective-masking method ... improves the accuracy for each task"'
NO_FORGETTING = '"[memorize old tasks] without affecting their accuracy"'


def average_gains(known: Evidence) -> Iterator[Finding]:
    """The average gain over each rival."""
    for rival in known.rivals:
        ours, theirs = known.accuracy.get(OURS), known.accuracy.get(rival)
        printed = NOTHING
        if ours and theirs and ours.average and theirs.average:
            printed = points(Estimate(ours.average.value - theirs.average.value), 2).text
        paper = _printed_mean(known, known.printed(OURS, rival), printed)
        run = _mean(known, known.compared(OURS, rival, measured.learned), OURS, rival)
        yield Finding(AVERAGE_GAINS[rival], "4.1", paper, _and_kept(known, rival, run, _mean_text))


def gain_at_same_size(known: Evidence) -> Iterator[Finding]:
    """The gain over Grow within CL-LSG's sizes. Tables 3 and 7 print one row of sizes for both."""
    sizes = known.size
    same = bool(sizes) and sizes[OURS].values() == sizes["grow"].values()
    paper = _printed_mean(known, known.printed(OURS, "grow") if same else None, NOTHING)
    run = _mean(known, known.compared(OURS, MATCHED), OURS, MATCHED)
    yield Finding(SAME_SIZE, "3.1", paper, replace(run, found=run.found + _share_of_size(known)))


def _share_of_size(known: Evidence) -> str:
    """How near Grow comes to the sizes that are its limits: candidates count there, and some are dropped."""
    ours, theirs = (measured.size(known.frames, method) for method in (OURS, MATCHED))
    if ours is None or theirs is None:
        return ""
    shares = theirs.mean() / ours.mean()
    return f"; Grow has {shares.min():.2f} to {shares.max():.2f} of its size"


def gains_on_tasks(known: Evidence) -> Iterator[Finding]:
    """Better on all, or on most, tasks."""
    for rival, claim, rule in ON_TASKS:
        if rival in known.rivals:
            paper = _printed_count(known.printed(OURS, rival), rule)
            both = known.compared(OURS, rival, measured.learned)
            run = _count(known, both, rule, known.tasks, OURS, rival)
            yield Finding(claim, "4.1", paper, _and_kept(known, rival, run, lambda found: str(found.score)))


def _and_kept(known: Evidence, rival: str, run: OurSide, shown: Callable[[Paired], str]) -> OurSide:
    """What is left of it after the last task, where the rival has forgotten.

    The verdict is on tasks as they were learned: slides of CPG's authors show DEN, once it has forgotten, at
    a third of what this paper prints for it, so these cells can only be accuracies right after learning.
    """
    after = known.compared(OURS, rival)
    if after is None or not measured.forgets(known.frames, rival):
        return run
    return replace(run, found=f"{run.found} as learned; {shown(after)} after the last task")


def parts(known: Evidence) -> Iterator[Finding]:
    """What each part adds (table 8): on average, and by selective masks at each task."""
    rows = printed_rows(known.frames)
    for step in STEPS:
        if step.over is None:
            continue
        found, row = increment(known.frames, step), rows.get(step.name)
        cells = as_paired(row.values()) if row else None
        printed = f"+{row.average.text}" if row and row.average else NOTHING
        paper, where = _printed_mean(known, cells, printed), "A.8, table 8"
        yield Finding(PARTS[step.name], where, paper, _mean(known, found, *_methods(step)))
        if step.name == "+Sel-mask":
            yield _on_each_task(known, found, cells, step)


def _on_each_task(known: Evidence, found: Paired | None, cells: Paired | None, step: Step) -> Finding:
    """Selective masks at each later task: the first has nothing to select, and no gain by construction."""
    paper = _printed_count(cells.later if cells else None, on_all)
    run = _count(known, found.later if found else None, on_all, known.tasks - 1, *_methods(step))
    return Finding(f"{EACH_TASK}, from task 2 on", "A.8, table 8", paper, run)


def forgetting(known: Evidence) -> Iterator[Finding]:
    """No earlier task's accuracy moves."""
    yield Finding(NO_FORGETTING, "1", PaperSide(), known.unrun(OURS) or _forgetting(known))


def _forgetting(known: Evidence) -> OurSide:
    table = known.frames.accuracy
    if len(known.frames.tasks) < 2:
        return OurSide("one task was run", "not run", NOTHING)
    by_task = table[table["method"] == OURS].groupby(["seed", "task"])["accuracy"]
    worst = 100 * float((by_task.max() - by_task.min()).max())
    test = "every task's accuracy after every later one; certificates compare the networks bit by bit"
    found = f"largest change {worst:.1f} points{known.span}"
    return OurSide(found, "holds" if worst == 0 else "does not hold", test)


def _printed_mean(known: Evidence, cells: Paired | None, printed: str) -> PaperSide:
    """A claim that a mean difference is above zero, by the paper's cells: of one seed, so by tasks."""
    if cells is None:
        return PaperSide()
    text = points(cells.mean, 2).text
    if known.partial:
        same = Paired(cells.differences[list(known.frames.tasks)])
        text = f"{text}; {points(same.mean, 2).text}{known.span}"
    _, over_tasks = cells.tests()
    return PaperSide(printed, text, f"{direction(cells.mean, [over_tasks])}: {over_tasks}")


def _mean(known: Evidence, found: Paired | None, *methods: str) -> OurSide:
    """The same by our runs."""
    if found is None:
        return _unrun(known, *methods)
    tests = found.tests()
    named = "exact sign-flip: " + "; ".join(map(str, tests))
    verdict = direction(found.mean, tests)
    if known.partial and tests[1].p is None:
        verdict = "cannot be decided"  # so few tasks say nothing of the others
    return OurSide(_mean_text(found) + known.span, verdict, named)


def _mean_text(found: Paired) -> str:
    return points(found.mean, 2).text


def _printed_count(cells: Paired | None, rule: Rule) -> PaperSide:
    """A claim on how many tasks have a difference above zero."""
    if cells is None:
        return PaperSide()
    score = cells.score
    below = [str(task) for task, value in cells.by_task.items() if value < 0]
    named = f" (task {', '.join(below)})" if 0 < len(below) <= 4 else ""
    return PaperSide(cells=f"{score}{named}", verdict=rule(score, score.tasks))


def _count(known: Evidence, found: Paired | None, rule: Rule, tasks: int, *methods: str) -> OurSide:
    if found is None:
        return _unrun(known, *methods)
    score = found.score
    test = f"count of tasks by their means over seeds; sign test over tasks p = {score.p:.2g}"
    return OurSide(f"{score}{known.span}", rule(score, tasks), test)


def _unrun(known: Evidence, *methods: str) -> OurSide:
    side = known.unrun(*methods)
    assert side is not None
    return side


def _methods(step: Step) -> tuple[str, ...]:
    return tuple(name for name in (step.method, step.over) if name)
