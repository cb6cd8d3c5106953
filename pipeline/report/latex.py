"""Tables as LaTeX, for a document that loads `booktabs`."""

from tabulate import LATEX_ESCAPE_RULES, tabulate

from pipeline.report.layout import Table

_COMMANDS = {ord(sign): escaped for sign, escaped in LATEX_ESCAPE_RULES.items()}
_SIGNS = str.maketrans(
    {
        "\N{PLUS-MINUS SIGN}": r"$\pm$",
        "\N{MINUS SIGN}": "$-$",
        "\N{EN DASH}": "--",
    }
)
"""Signs outside ASCII that the tables use and that not every LaTeX knows."""


def latex(table: Table) -> str:
    """A `table` environment with caption and label; words stand left, numbers right."""
    tabular = tabulate(
        table.texts(),
        table.columns,
        tablefmt="latex_booktabs",
        colalign=table.aligned(),
        disable_numparse=True,
    )
    caption = f"{table.title}. {table.caption}".translate(_COMMANDS)
    label = f"tab:{table.name.replace('_', '-')}"
    head = f"\\begin{{table}}\n\\centering\n\\caption{{{caption}}}\n\\label{{{label}}}\n"
    return f"{head}{tabular}\n\\end{{table}}\n".translate(_SIGNS)
