"""Tables as Markdown."""

from collections.abc import Iterable

from tabulate import tabulate

from pipeline.report.layout import Table


def markdown(title: str, tables: Iterable[Table]) -> str:
    """A document of one section a table; its columns are those of the page."""
    return "\n".join([f"# {title}", *map(_section, tables), ""])


def _section(table: Table) -> str:
    laid = tabulate(
        table.texts(), table.columns, tablefmt="github", colalign=table.aligned(), disable_numparse=True
    )
    return f"\n## {table.title}\n\n{table.caption}\n\n{laid}"
