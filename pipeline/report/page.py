"""One self-contained page: summary, figures, tables, and the units that every number leads back to."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from pipeline.records import UnitDirectory
from pipeline.report.figures import TITLES
from pipeline.report.frames import Frames
from pipeline.report.layout import Row, Table, conditions
from pipeline.report.style import INKS


@dataclass(frozen=True)
class _Unit:
    """A unit as the page lists it."""

    anchor: str
    place: str
    seed: int
    first: int
    tasks: str
    seconds: float
    seconds_text: str
    parameters: str


def page(frames: Frames, tables: Sequence[Table], figures: Mapping[str, str], files: Iterable[str]) -> str:
    """The page's HTML. `figures`: SVG texts by name; `files`: what lies beside the page."""
    environment = Environment(
        loader=PackageLoader("pipeline.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html").render(
        frames=frames,
        tables=tables,
        conditions=conditions(frames),
        figures=[(name, TITLES[name], _inline(name, svg)) for name, svg in figures.items()],
        groups=_groups(frames),
        files=list(files),
        inks=INKS,
        anchor=_anchor,
        css=_source(environment, "page.css"),
        js=_source(environment, "page.js"),
    )


def _source(environment: Environment, name: str) -> Markup:
    """A file of this package as it is."""
    assert environment.loader is not None
    return Markup(environment.loader.get_source(environment, name)[0])


def _anchor(row: Row) -> str:
    """Where a row leads: to its unit, or to its method's units."""
    if len(row.units) == 1:
        return _unit_anchor(row.units[0])
    return f"units-{row.cells[0].text}"


def _unit_anchor(place: str) -> str:
    return f"unit-{place.rpartition('-')[2]}"


def _groups(frames: Frames) -> dict[str, list[_Unit]]:
    groups: dict[str, list[_Unit]] = {method: [] for method in frames.methods}
    for unit in frames.units:
        groups[unit.definition.method].append(_listed(unit))
    return groups


def _listed(unit: UnitDirectory) -> _Unit:
    tasks, seconds = unit.definition.tasks, sum(unit.seconds().values())
    place = f"{unit.definition.benchmark}/{unit.name}"
    return _Unit(
        anchor=_unit_anchor(place),
        place=place,
        seed=unit.definition.seed,
        first=tasks[0],
        tasks=str(tasks[0]) if len(tasks) == 1 else f"{tasks[0]} to {tasks[-1]}",
        seconds=seconds,
        seconds_text=f"{seconds:,.1f}",
        parameters=json.dumps(unit.content, indent=2, sort_keys=True),
    )


def _inline(name: str, svg: str) -> Markup:
    """A figure as part of the page: in the page's colours, with ids of its own, as wide as its place."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    svg = re.sub(r'(url\(#|href="#)', rf"\g<1>{name}-", svg)
    svg = re.sub(r' (width|height)="[\d.]+pt"', "", svg, count=2)
    for ink in INKS:
        svg = svg.replace(ink.light, f"var(--{ink.name})")
    return Markup(svg.replace("<svg", f'<svg role="img" aria-labelledby="figure-{name}"', 1))
