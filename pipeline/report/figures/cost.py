"""Training cost of all tasks against average accuracy: the paper's figure 4, in seconds and in operations."""

from matplotlib.figure import Figure

from pipeline.report.figures.plot import WIDTH, Plot, accuracy_axis, legend
from pipeline.report.figures.points import MACS, device, halves, log_axis, scatter, timed, untimed
from pipeline.report.layout import conditions
from pipeline.report.material import Material


def cost(material: Material) -> Plot | None:
    """Average accuracy against seconds, and against multiply-accumulates."""
    frames = material.frames
    table = timed(frames)
    if table.empty:
        return None
    figure = Figure(figsize=(WIDTH, 3.9), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    table = table.assign(macs=table["macs"] / 1e9)
    errors = halves(frames)
    for axes, column, label in (
        (left, "seconds", f"{device(frames)} of training, all tasks"),
        (right, "macs", f"{MACS}, all tasks"),
    ):
        scatter(axes, table, column, "average", errors)
        axes.set_xscale("log")
        log_axis(axes.xaxis)
        axes.set_xlabel(label)
    accuracy_axis(left, "average test accuracy")
    legend(figure, table.index)
    note = (
        "As the paper's figure 4; upper left is better. Seconds hold for the machine and the load they were "
        f"taken on, operations anywhere. {untimed(frames, table)}{conditions(frames)}"
    )
    return Plot("What training took, and the average accuracy it gave, by method", note, figure)
