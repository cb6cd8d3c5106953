"""Reads unit directories: what a unit covers, and the records of its tasks.

Nothing here writes. Every fault of a file is a `UserError` that names the file.
"""

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from lsg.files import DamagedFileError
from lsg.records import RESULT, SECONDS, RunDirectory
from pipeline.errors import AGAIN, UserError
from pipeline.units.unit import short

DEFINITION = "unit.json"
_SECONDS = TypeAdapter(dict[int, float])
_T = TypeVar("_T")


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Definition(_Frozen):
    """unit.json: what the key of a unit covers."""

    benchmark: str
    method: str
    protocol: str
    seed: int
    tasks: tuple[int, ...]
    train: dict[str, Any]
    network: dict[str, Any]
    settings: dict[str, Any]
    data: str
    code: str
    start: str | None = None


class Decision(_Frozen):
    """One question a method asked itself while learning a task, and what it answered on which split."""

    question: str
    answer: bool | int | float | str
    value: float | None = None
    goal: float | None = None
    split: str
    reason: str


class Stage(_Frozen):
    """One pass of training within a task; accuracies are fractions by split."""

    stage: int
    epochs: int
    steps: int
    train_loss: float
    train_accuracy: float
    accuracy: dict[str, float | None]
    gates_opened: int = 0
    gates_closed: int = 0
    macs: int


class Growth(_Frozen):
    """Channels of each stream after a task; share of the allocated weights that no task owns."""

    channels_after: dict[str, int] = {}
    released_share: float | None = None


class Size(_Frozen):
    """Weights over those of the dense 1x network: whole channels, kernels in use, bytes stored."""

    allocated: float
    used: float
    stored: float

    def plus(self, other: "Size") -> "Size":
        return Size(
            allocated=self.allocated + other.allocated,
            used=self.used + other.used,
            stored=self.stored + other.stored,
        )


class Cost(_Frozen):
    """Shared weights allocated so far; bytes stored, multiply-accumulates and steps of this task."""

    parameters: int
    stored_bytes: int
    macs: int
    steps: int


class Record(_Frozen):
    """task_NN.json: what one task's learning came to. `row`: task -> test accuracy after this task."""

    format: Literal[1]
    task: int
    name: str
    protocol: str
    method: str
    seed: int
    accuracy: dict[str, float | None]
    row: dict[int, float]
    goal: float | None = None
    decisions: tuple[Decision, ...] = ()
    reason: str
    stages: tuple[Stage, ...] = ()
    growth: Growth = Growth()
    size: Size
    cost: Cost


@dataclass(frozen=True)
class UnitDirectory:
    """A unit on disk. Its tasks may still be in work: `learned` tells which are done."""

    path: Path
    definition: Definition

    @property
    def key(self) -> str:
        """The unit's key: the digest of unit.json as it was written."""
        return hashlib.sha256((self.path / DEFINITION).read_bytes()).hexdigest()

    @property
    def name(self) -> str:
        """The directory within its benchmark's folder: scratch/seed1-task03-0123456789ab."""
        return f"{self.path.parent.name}/{self.path.name}"

    @property
    def place(self) -> str:
        """The directory within the store: digits/scratch/seed1-task03-0123456789ab."""
        return f"{self.definition.benchmark}/{self.name}"

    @property
    def alone(self) -> bool:
        """Whether the unit holds one task, as those of methods do whose tasks are independent networks."""
        return len(self.definition.tasks) == 1

    @property
    def finished(self) -> bool:
        return (self.path / RESULT).is_file()

    @property
    def content(self) -> dict[str, Any]:
        """All of unit.json, as it was written."""
        return dict(_read_object(self.path / DEFINITION))

    def file(self, task: int, suffix: str) -> Path:
        return self.path / f"task_{task:02d}.{suffix}"

    def learned(self) -> list[int]:
        """The tasks whose record is written, in order."""
        return [task for task in self.definition.tasks if self.file(task, "json").is_file()]

    def check_records(self) -> None:
        """Raise UserError, naming it, for a record that is not the one that was written."""
        with damage_named():
            RunDirectory(self.path).check_records()

    def tensors(self, task: int) -> Path:
        """The file of a task's tensors. Raises UserError where it is not the one of its record."""
        with damage_named():
            RunDirectory(self.path).check_tensors(task)
        return self.file(task, "safetensors")

    def record(self, task: int) -> Record:
        return _parse(self.file(task, "json"), Record.model_validate)

    def seconds(self) -> dict[int, float]:
        """Seconds of work a task; empty where nothing was timed."""
        path = self.path / SECONDS
        return _parse(path, _SECONDS.validate_python) if path.is_file() else {}


def open_unit(path: Path) -> UnitDirectory:
    """Reads unit.json of the unit directory `path`; raises UserError when it is missing or damaged."""
    return UnitDirectory(path, _parse(path / DEFINITION, Definition.model_validate))


@contextmanager
def damage_named() -> Iterator[None]:
    """Turns the library's errors on a unit's damaged or missing files into a UserError."""
    try:
        yield
    except DamagedFileError as error:
        raise UserError(str(error)) from error
    except FileNotFoundError as error:
        raise UserError(str(DamagedFileError(Path(error.filename or str(error)), "it is missing"))) from error


def start_of(unit: UnitDirectory) -> UnitDirectory | None:
    """The unit whose network `unit` starts from, found by its key in the same benchmark's folder."""
    start = unit.definition.start
    if start is None:
        return None
    found = sorted(unit.path.parent.parent.glob(f"*/*-{short(start)}"))
    if len(found) != 1:
        raise UserError(
            f"{unit.path} starts from unit {short(start)}, of which {len(found)} directories exist beside "
            f"it; {AGAIN}"
        )
    return open_unit(found[0])


def read_json(path: Path) -> Any:
    """The content of a JSON file; raises UserError, naming the file, when it is missing or damaged."""
    try:
        return json.loads(path.read_bytes())
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}); {AGAIN}") from error
    except ValueError as error:
        raise UserError(f"{path} is damaged: {error}; move it away and {AGAIN}") from error


def _read_object(path: Path) -> dict[str, Any]:
    content = read_json(path)
    if not isinstance(content, dict):
        raise UserError(f"{path} is damaged: not a JSON object; move it away and {AGAIN}")
    return content


def _parse(path: Path, validate: Callable[[Any], _T]) -> _T:
    try:
        return validate(_read_object(path))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise UserError(
            f"{path} is damaged: {where}: {first['msg']}; move its directory away and {AGAIN}"
        ) from error
