"""A real experiment that takes seconds: two tasks of digits, one epoch; and a watcher that keeps notes."""

import atexit
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from pipeline.execution.machine import Machine
from pipeline.params import load_params, resolve
from pipeline.params.experiment import Params
from pipeline.prepare import prepare
from pipeline.stage import Bench
from pipeline.units.plan import Plan, read_manifest
from pipeline.units.store import RunStore
from pipeline.units.unit import Numerics, Unit

ROOT = Path(__file__).parents[2]
BENCHMARK = "digits"
CPU = Numerics("any", 1, "cpu")


METHODS = "methods=[scratch,fine-tune,cl-lsg]"


def tiny_params(*overrides: str) -> Params:
    return load_params(ROOT / "params.yaml", [METHODS, "train.epochs=1", *overrides])


@cache
def prepared_digits() -> Path:
    """The folder that holds the prepared tasks of digits, made once."""
    data = Path(mkdtemp(prefix="digits-"))
    atexit.register(shutil.rmtree, data)
    prepare(BENCHMARK, resolve(tiny_params(), BENCHMARK).data, data / "tasks" / BENCHMARK)
    return data


def tiny_plan(*overrides: str, tasks: int = 2) -> Plan:
    prepared = prepared_digits() / "tasks" / BENCHMARK
    experiment = resolve(tiny_params(*overrides), BENCHMARK)
    return Plan(experiment, read_manifest(prepared), prepared, CPU, first=tasks)


def tiny_bench(tmp_path: Path) -> Bench:
    """Stages that write below `tmp_path`, one unit after the other, untracked."""
    data = tmp_path / "data"
    data.mkdir()
    (data / "tasks").symlink_to(prepared_digits() / "tasks")
    return Bench(Machine(executor="local", gpu_share=0), RunStore(tmp_path / "runs"), data)


def with_train(unit: Unit, **changes: Any) -> Unit:
    return replace(unit, train=replace(unit.train, **changes))


def contents(directory: Path) -> dict[str, bytes]:
    """The bytes of a unit's files that have to be equal wherever it was learned."""
    skipped = ("seconds.json", ".lock", "error.txt")
    return {path.name: path.read_bytes() for path in directory.iterdir() if path.name not in skipped}


@dataclass
class Notes:
    """A watcher that remembers all it hears."""

    began: list[str] = field(default_factory=list)
    before: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    events: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    faults: dict[str, str | None] = field(default_factory=dict)
    said: list[str] = field(default_factory=list)

    def started(self, unit: Unit, directory: Path) -> None:
        self.began.append(unit.name)

    def resumed(self, unit: Unit, events: Sequence[dict[str, Any]]) -> None:
        self.before += [(unit.name, event) for event in events]

    def event(self, unit: Unit, event: dict[str, Any]) -> None:
        self.events.append((unit.name, event))

    def ended(self, unit: Unit, fault: str | None) -> None:
        self.faults[unit.name] = fault

    def note(self, text: str) -> None:
        self.said.append(text)

    def tick(self) -> None:
        pass

    def tasks(self) -> Iterable[tuple[str, int]]:
        return [(name, event["task"]) for name, event in self.events if event["event"] == "task"]
