"""Which values a sweep has drawn, in order: what gives its trials numbers that outlast a kill."""

from __future__ import annotations

from pathlib import Path

from lsg.files import write_json
from pipeline.sweep.space import Values
from pipeline.units.records import read_json


class Ledger:
    """The list in the file at `path`; one process at a time writes it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def drawn(self) -> list[Values]:
        """Every set of values so far, each once. Raises UserError when the file is damaged."""
        return list(read_json(self.path)["drawn"]) if self.path.exists() else []

    def number(self, values: Values) -> int:
        """The place of the values, from 1 on; new ones are added."""
        drawn = self.drawn()
        if values not in drawn:
            drawn.append(values)
            write_json(self.path, {"format": 1, "drawn": drawn})
        return drawn.index(values) + 1
