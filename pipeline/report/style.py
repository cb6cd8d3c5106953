"""Colours, dashes and markers of figures and page.

Each colour has a form for light and for dark ground. A method's marker, filled or hollow, is its alone, and
its dash is not that of its neighbours, so that methods are told apart in grey print and by the colour-blind.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import cycle
from typing import Any


@dataclass(frozen=True)
class Ink:
    """A role's colour on light and on dark ground; `name` is its variable on the page."""

    name: str
    light: str
    dark: str


@dataclass(frozen=True)
class Line:
    """How one method is drawn."""

    ink: Ink
    dash: str
    marker: str
    hollow: bool = False

    @property
    def face(self) -> str:
        """What the marker is filled with."""
        return GROUND.light if self.hollow else self.ink.light

    def options(self) -> dict[str, Any]:
        """Matplotlib's arguments of a line with markers."""
        return {
            "color": self.ink.light,
            "linestyle": self.dash,
            "linewidth": 1.5,
            "marker": self.marker,
            "markersize": 5.5,
            "markerfacecolor": self.face,
            "markeredgecolor": self.ink.light,
            "markeredgewidth": 1.1,
        }


GROUND = Ink("ground", "#fdfdfe", "#15181d")
STRIPE = Ink("stripe", "#f1f3f7", "#1e232a")
TEXT = Ink("text", "#1c2127", "#e6e9ee")
MUTED = Ink("muted", "#59626e", "#a3acb8")
RULE = Ink("rule", "#d5dae1", "#343b45")
LINK = Ink("link", "#0b57b0", "#8cbcff")

KNOWN_LINES = {
    "scratch": Line(Ink("line-scratch", "#7a828d", "#79828f"), "--", "s"),
    "fine-tune": Line(Ink("line-fine-tune", "#a9510a", "#ee9f4c"), ":", "^"),
    "sequential": Line(Ink("line-sequential", "#b4461e", "#ff9d7a"), "--", "^", hollow=True),
    "pnn": Line(Ink("line-pnn", "#8a2f77", "#d884c4"), "-.", "v"),
    "grow": Line(Ink("line-grow", "#217a56", "#62c397"), "--", "D"),
    "grow-matched": Line(Ink("line-grow-matched", "#2e8077", "#5fd0c4"), ":", "d", hollow=True),
    "den": Line(Ink("line-den", "#7d6a00", "#d6c04a"), ":", "P"),
    "cpg": Line(Ink("line-cpg", "#a3313b", "#f0949a"), "-.", "X"),
    "apd": Line(Ink("line-apd", "#0f7f92", "#4fc4d6"), "--", "*"),
    "packnet": Line(Ink("line-packnet", "#6b4630", "#cfa488"), ":", "p"),
    "piggyback": Line(Ink("line-piggyback", "#3f5a12", "#a9c76b"), "-.", "<"),
    "grow-target": Line(Ink("line-grow-target", "#1f8a3b", "#7fe08f"), "--", "D", hollow=True),
    "grow+sel": Line(Ink("line-grow-sel", "#4c4aa8", "#a9a7f2"), ":", "s", hollow=True),
    "grow+sel+lsg": Line(Ink("line-grow-sel-lsg", "#2c74c9", "#76aef0"), "-.", "o", hollow=True),
    "cl-lsg": Line(Ink("line-cl-lsg", "#173f7a", "#b3d2ff"), "-", "o"),
}
OTHER_LINES = (
    Line(Ink("line-a", "#a23a6a", "#f09abf"), "--", ">"),
    Line(Ink("line-b", "#4a6572", "#9fb8c4"), ":", "v", hollow=True),
    Line(Ink("line-c", "#75572a", "#d9b98a"), "-.", "X", hollow=True),
    Line(Ink("line-d", "#5d3a8e", "#c3a5ee"), "--", "P", hollow=True),
)
LINES = (*KNOWN_LINES.values(), *OTHER_LINES)
INKS = (GROUND, STRIPE, TEXT, MUTED, RULE, LINK, *(line.ink for line in LINES))

SCALE = "cividis"
"""The scale of colours for numbers and for tasks: even in grey, and the same to the colour-blind."""


def lines(methods: Iterable[str]) -> dict[str, Line]:
    """How each method is drawn: the known ones always alike, others in turn."""
    others = cycle(OTHER_LINES)
    return {method: KNOWN_LINES.get(method) or next(others) for method in methods}


SHEET: dict[Any, Any] = {
    "axes.edgecolor": MUTED.light,
    "axes.facecolor": GROUND.light,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.labelcolor": TEXT.light,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.axisbelow": True,
    "axes.titlesize": 9.5,
    "figure.facecolor": GROUND.light,
    "font.family": "DejaVu Sans",
    "font.size": 9.5,
    "grid.color": RULE.light,
    "legend.frameon": False,
    "legend.handlelength": 2.6,
    "savefig.dpi": 160,
    "svg.fonttype": "none",
    "text.color": TEXT.light,
    "xtick.color": MUTED.light,
    "ytick.color": MUTED.light,
}
"""Matplotlib's settings of every figure."""
