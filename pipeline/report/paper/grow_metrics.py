"""Table 1: what makes each method grow, as the paper lists it and as our methods declare it themselves."""

from collections.abc import Mapping

from lsg.methods import METHODS
from pipeline.report.frames import Frames
from pipeline.report.layout import NOTHING, Cell, Row, Table, conditions, word
from pipeline.report.paper import measured
from pipeline.report.paper.lines import NO_RUN
from pipeline.report.paper.printed import NAMES, OURS

TARGET, DEFAULT = "target accuracy", "by default"
PRINTED: Mapping[str, str] = {
    "DEN": TARGET,
    "CPG": TARGET,
    "Lifelong tickets": TARGET,
    "PNN": DEFAULT,
    "DAN": DEFAULT,
    "APD": DEFAULT,
    "SpaceNet": DEFAULT,
    "DER": DEFAULT,
}
"""Table 1's works, in its order."""
_DECLARED = {"target": TARGET, "default": DEFAULT, None: "does not grow"}


def grow_metrics_table(frames: Frames) -> Table:
    """A row a work: the paper's first, then our further methods; and at how many tasks each one grew here."""
    printed = {NAMES.get(name, name): metric for name, metric in PRINTED.items()}
    printed |= {OURS: TARGET}  # section 2
    rows = [
        _row(frames, method, printed.get(method, NOTHING)) for method in dict.fromkeys([*printed, *METHODS])
    ]
    caption = (
        "When a method grows its network: as the paper's table 1 says, as our method declares with the "
        "settings of its run, and at how "
        "many of the tasks after the first its allocated weights rose, mean over seeds. Works of which there "
        f"is no method here, and methods without a run, say so. {conditions(frames)}"
    )
    columns = ("Method", "Paper", "Ours", "Grew at")
    return Table("table_1", "Table 1: grow metrics", caption, columns, tuple(rows))


def _row(frames: Frames, method: str, printed: str) -> Row:
    if method not in METHODS:
        return Row((word(method), word(printed), word("not among our methods"), word(NOTHING)), ())
    settings = [unit.definition.settings for unit in frames.units if unit.definition.method == method]
    declared = _DECLARED[METHODS[method].growing(settings[0] if settings else {})]
    cells = (word(method), word(printed), word(declared), _grew(frames, method))
    return Row(cells, measured.units(frames, method))


def _grew(frames: Frames, method: str) -> Cell:
    """At how many of the later tasks it grew. A network of its own for each task is not growth."""
    sizes = measured.size(frames, method)
    if sizes is None:
        return word(NO_RUN)
    if METHODS[method].grows is None:
        return word(NOTHING)
    tasks = float(measured.grown(sizes).gt(0).sum(axis=1).mean())
    return word(f"{tasks:.3g} of {len(frames.tasks) - 1}")
