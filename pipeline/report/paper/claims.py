"""The audit: each sentence of the paper that can be checked here, beside its own cells and our runs."""

from collections.abc import Callable, Iterator

from pipeline.report.frames import Frames
from pipeline.report.layout import Row, Table, conditions, word
from pipeline.report.paper.claims_accuracy import (
    average_gains,
    forgetting,
    gain_at_same_size,
    gains_on_tasks,
    parts,
)
from pipeline.report.paper.claims_size import relation, smallest, without_growth
from pipeline.report.paper.claims_training import attentive_masks, speed
from pipeline.report.paper.finding import Evidence, Finding, evidence

CLAIMS: tuple[Callable[[Evidence], Iterator[Finding]], ...] = (
    average_gains,
    gain_at_same_size,
    gains_on_tasks,
    smallest,
    without_growth,
    relation,
    speed,
    parts,
    attentive_masks,
    forgetting,
)
READING = (
    "Printed: the paper's words, or its printed averages. From its cells: recomputed from its tables, with "
    "the verdict that these alone allow. A gain holds, or does not, where every sign-flip test that the "
    "numbers allow is below p = 0.05 (two-sided) and, of several seeds, the 95 % interval of the mean lies "
    "clear of 0. Over tasks, the test is of the tasks' means over seeds: it "
    "speaks of other tasks like these, not of other seeds, and takes tasks for independent though they share "
    "a network. Over seeds it speaks of other seeds on these tasks: 3 seeds cannot go below p = 0.25, 6 are "
    "the fewest that can decide. Counts of tasks and comparisons of sizes are of the means over seeds as "
    "they stand. Cannot be decided: too few seeds or tasks, counts and final sizes of a part of the tasks, "
    "or a rival without a run. The paper reports one run and no spread."
)


def findings(frames: Frames) -> list[Finding]:
    """Every claim that can be checked on this benchmark, with a run or without."""
    known = evidence(frames)
    return [finding for claims in CLAIMS for finding in claims(known)]


def claims_table(frames: Frames) -> Table:
    """A row a claim."""
    rows = [Row(tuple(map(word, _texts(finding))), ()) for finding in findings(frames)]
    columns = ("Claim", "Where", "Printed", "From its cells", "By its cells", "Ours", "Verdict", "Test")
    caption = f"{READING} {conditions(frames)}"
    return Table("claims", "Claims of the paper", caption, columns, tuple(rows))


def _texts(finding: Finding) -> tuple[str, ...]:
    paper, ours = finding.paper, finding.ours
    return (
        finding.claim,
        finding.where,
        *(paper.printed, paper.cells, paper.verdict),
        *(ours.found, ours.verdict, ours.test),
    )
