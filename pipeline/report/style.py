"""Colours, dashes and markers of figures and page.

Each colour has a form for light and for dark ground. Methods differ in lightness, dash and marker too, so
that they are told apart in grey print and by the colour-blind.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import cycle


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


GROUND = Ink("ground", "#fdfdfe", "#15181d")
STRIPE = Ink("stripe", "#f1f3f7", "#1e232a")
TEXT = Ink("text", "#1c2127", "#e6e9ee")
MUTED = Ink("muted", "#59626e", "#a3acb8")
RULE = Ink("rule", "#d5dae1", "#343b45")
LINK = Ink("link", "#0b57b0", "#8cbcff")

KNOWN_LINES = {
    "scratch": Line(Ink("line-scratch", "#7a828d", "#79828f"), "--", "s"),
    "fine-tune": Line(Ink("line-fine-tune", "#a9510a", "#ee9f4c"), ":", "^"),
    "cl-lsg": Line(Ink("line-cl-lsg", "#173f7a", "#b3d2ff"), "-", "o"),
}
OTHER_LINES = (
    Line(Ink("line-a", "#217a56", "#62c397"), "-.", "D"),
    Line(Ink("line-b", "#8a2f77", "#d884c4"), "--", "v"),
    Line(Ink("line-c", "#0f7f92", "#4fc4d6"), ":", "P"),
    Line(Ink("line-d", "#7d6a00", "#d6c04a"), "-.", "X"),
    Line(Ink("line-e", "#a3313b", "#f0949a"), "--", "<"),
    Line(Ink("line-f", "#4c4aa8", "#a9a7f2"), ":", "*"),
    Line(Ink("line-g", "#3f5a12", "#a9c76b"), "-.", "h"),
    Line(Ink("line-h", "#6b4630", "#cfa488"), "--", "p"),
)
LINES = (*KNOWN_LINES.values(), *OTHER_LINES)
INKS = (GROUND, STRIPE, TEXT, MUTED, RULE, LINK, *(line.ink for line in LINES))


def lines(methods: Iterable[str]) -> dict[str, Line]:
    """How each method is drawn: the known ones always alike, others in turn."""
    others = cycle(OTHER_LINES)
    return {method: KNOWN_LINES.get(method) or next(others) for method in methods}
