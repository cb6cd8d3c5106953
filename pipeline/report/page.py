"""One self-contained page: tables with their figures, and the units that every number leads back to."""

import re
from collections.abc import Iterable, Sequence

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from pipeline.report.figures import Drawn
from pipeline.report.frames import Frames
from pipeline.report.layout import Cell, Row, Table, conditions
from pipeline.report.lead import lead
from pipeline.report.origins import TASK_COLUMNS, method_anchor, origins, task_anchor, unit_anchor
from pipeline.report.style import INKS


def page(frames: Frames, tables: Sequence[Table], figures: Sequence[Drawn], files: Iterable[str]) -> str:
    """The page's HTML. `files`: what lies beside the page."""
    environment = Environment(
        loader=PackageLoader("pipeline.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    named = {table.name for table in tables}
    return environment.get_template("page.html").render(
        frames=frames,
        tables=tables,
        conditions=conditions(frames),
        lead=lead(frames),
        figures={name: [figure for figure in figures if figure.beside == name] for name in named},
        homeless=[figure for figure in figures if figure.beside not in named],
        origins=origins(frames),
        task_columns=TASK_COLUMNS,
        files=list(files),
        inks=INKS,
        anchor=_anchor,
        cell_anchor=_cell_anchor,
        inline=_inline,
        css=_source(environment, "page.css"),
        js=_source(environment, "page.js"),
    )


def _source(environment: Environment, name: str) -> Markup:
    """A file of this package as it is."""
    assert environment.loader is not None
    return Markup(environment.loader.get_source(environment, name)[0])


def _anchor(row: Row) -> str | None:
    """Where a row leads: to its unit, or to its method's units; None for a row that comes from none."""
    if not row.units:
        return None
    return unit_anchor(row.units[0]) if len(row.units) == 1 else method_anchor(_method(row))


def _cell_anchor(row: Row, cell: Cell) -> str | None:
    """Where a cell leads: a number of one task to what its method decided there, others as their row."""
    return task_anchor(_method(row), cell.task) if cell.task and row.units else _anchor(row)


def _method(row: Row) -> str:
    """The method of a row's units; the first may be the unit of another one that they start from."""
    return row.units[-1].split("/")[1]


def _inline(figure: Drawn) -> Markup:
    """A figure as part of the page: in the page's colours, with ids of its own, as wide as its place."""
    name, svg = figure.name, figure.svg[figure.svg.index("<svg") :]
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    svg = re.sub(r'(url\(#|href="#)', rf"\g<1>{name}-", svg)
    svg = re.sub(r' (width|height)="[\d.]+pt"', "", svg, count=2)
    for ink in INKS:
        svg = svg.replace(ink.light, f"var(--{ink.name})")
    told = f'role="img" aria-labelledby="figure-{name}" aria-describedby="figure-{name}-note"'
    return Markup(svg.replace("<svg", f"<svg {told}", 1))
