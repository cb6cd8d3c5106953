"""Which units make one tracked run: those of one method and seed, be it one unit or one unit a task.

Units of one task each know nothing of the others. They belong together when their keys cover the same but
for the task and its images, and they were learned from the same prepared benchmark. A unit that was learned
before a change of other tasks' images is still valid, so it fills a gap in a later run.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import UserError
from pipeline.records import DEFINITION, UnitDirectory, open_unit, read_json

_JOB = "job.json"


@dataclass(frozen=True)
class Member:
    """A unit; `family`: what it shares with the other tasks' units; `version`: of the prepared benchmark."""

    unit: UnitDirectory
    family: str
    version: str
    born: int

    @property
    def run(self) -> str:
        """Digest that the units of one run share."""
        shared = f"{self.family}\n{self.version}" if self.unit.alone else self.unit.key
        return hashlib.sha256(shared.encode()).hexdigest()


class Members:
    """The units of a store, read once each."""

    def __init__(self) -> None:
        self._known: dict[Path, Member] = {}

    def find(self, directory: Path) -> Member | None:
        """The unit in `directory`; None while it does not exist. Raises UserError when it is damaged."""
        if directory not in self._known and (directory / _JOB).is_file():
            self._known[directory] = _member(directory)
        return self._known.get(directory)

    def of_run(self, member: Member) -> list[UnitDirectory]:
        """All units of the member's run that exist, in order of their tasks."""
        if not member.unit.alone:
            return [member.unit]
        found = [self._sibling(path) for path in sorted(member.unit.path.parent.iterdir())]
        family = [other for other in found if other and other.family == member.family]
        own = [other for other in family if other.version == member.version]
        first = min(other.born for other in own)
        older = [other for other in family if other.born < first]
        chosen = {other.unit.definition.tasks: other.unit for other in (*sorted(older, key=_born), *own)}
        return [chosen[tasks] for tasks in sorted(chosen)]

    def _sibling(self, directory: Path) -> Member | None:
        """As `find`, but a damaged unit that may be of another experiment is passed over."""
        try:
            return self.find(directory)
        except UserError:
            return None


def _member(directory: Path) -> Member:
    unit = open_unit(directory)
    left_out = ("tasks", "data") if unit.alone else ()
    family = {name: value for name, value in unit.content.items() if name not in left_out}
    version = str(read_json(directory / _JOB).get("data", ""))
    born = (directory / DEFINITION).stat().st_mtime_ns
    return Member(unit, json.dumps(family, sort_keys=True), version, born)


def _born(member: Member) -> int:
    return member.born
