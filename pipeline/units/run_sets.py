"""Which units make one tracked run: those of one method and seed, be it one unit or one unit a task.

Units of one task each know nothing of the others. They belong together when their keys cover the same but
for the task. The keys cover the images of the whole prepared benchmark, so a unit that was learned before
some task's images changed belongs to another run.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from lsg.records import JOB
from pipeline.errors import UserError
from pipeline.units.records import UnitDirectory, open_unit, read_json


@dataclass(frozen=True)
class Member:
    """A unit; `family`: what it shares with the other tasks' units; `version`: of the prepared benchmark."""

    unit: UnitDirectory
    family: str
    version: str

    @property
    def run(self) -> str:
        """Digest that the units of one run share."""
        shared = self.family if self.unit.alone else self.unit.key
        return hashlib.sha256(shared.encode()).hexdigest()


class Members:
    """The units of a store, read once each."""

    def __init__(self) -> None:
        self._known: dict[Path, Member] = {}

    def find(self, directory: Path) -> Member | None:
        """The unit in `directory`; None while it does not exist. Raises UserError when it is damaged."""
        if directory not in self._known and (directory / JOB).is_file():
            self._known[directory] = _member(directory)
        return self._known.get(directory)

    def of_run(self, member: Member) -> list[UnitDirectory]:
        """All units of the member's run that exist, in order of their tasks."""
        if not member.unit.alone:
            return [member.unit]
        found = [self._sibling(path) for path in sorted(member.unit.path.parent.iterdir())]
        family = [other.unit for other in found if other and other.family == member.family]
        return sorted(family, key=lambda unit: unit.definition.tasks)

    def _sibling(self, directory: Path) -> Member | None:
        """As `find`, but a damaged unit, which may be of tasks that nobody asks for now, is passed over."""
        try:
            return self.find(directory)
        except UserError:
            return None


def _member(directory: Path) -> Member:
    unit = open_unit(directory)
    if unit.finished:
        unit.check_records()
    family = {name: value for name, value in unit.content.items() if name != "tasks" or not unit.alone}
    version = str(read_json(directory / JOB).get("data", ""))
    return Member(unit, json.dumps(family, sort_keys=True), version)
