"""Recorded experiments: results/<benchmark>/<name>/, small enough to be committed.

The tables' CSV and Markdown files as the stage wrote them, and `units.json`: for each unit what its key
covers, the digests of its tasks' files and networks, seconds, and the machine that this was recorded on.
"""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path
from typing import Any

from lsg.files import write_bytes, write_json
from pipeline.errors import UserError
from pipeline.records import UnitDirectory, open_unit, read_json
from pipeline.report import REPORTS, SUMMARY

RESULTS = Path("results")
COPIED = (
    "accuracy.csv",
    "size.csv",
    "cost.csv",
    "decisions.csv",
    "growth.csv",
    "summary.json",
    "tables.md",
    "claims.md",
)
DIGESTS = ("digest", "network", "probe", "previous")


def record(
    benchmark: str, name: str, data: Path, runs: Path, reports: Path = REPORTS, results: Path = RESULTS
) -> Path:
    """Copy a benchmark's tables and describe its units in `results/<benchmark>/<name>/`; returns the folder.

    Raises UserError when the tables are missing or a unit that they list is damaged.
    """
    tables = reports / benchmark
    if not (tables / SUMMARY).is_file():
        raise UserError(f"{tables} holds no tables; run `cl-lsg tables {benchmark}` first")
    folder = results / benchmark / name
    units = {unit.name: described(unit) for unit in listed(benchmark, data, runs)}
    for file in COPIED:
        write_bytes(folder / file, (tables / file).read_bytes())
    write_json(folder / "units.json", {"format": 1, "machine": machine(), "units": units})
    return folder


def listed(benchmark: str, data: Path, runs: Path) -> list[UnitDirectory]:
    """The units that the stages targets and learn listed."""
    listings = [read_json(data / stage / f"{benchmark}.json") for stage in ("targets", "learned")]
    return [open_unit(runs / place) for listing in listings for place in listing["units"].values()]


def described(unit: UnitDirectory) -> dict[str, Any]:
    """A unit's parameters, digests and seconds, as JSON values."""
    raw = {task: read_json(unit.file(task, "json")) for task in unit.learned()}
    return {
        "key": unit.key,
        "covers": unit.content,
        "tasks": {str(task): {name: record[name] for name in DIGESTS} for task, record in raw.items()},
        "seconds": {str(task): seconds for task, seconds in unit.seconds().items()},
    }


def machine() -> dict[str, Any]:
    """What the numbers were computed on: processor, cores, system, Python."""
    return {
        "processor": processor(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    }


def processor() -> str:
    """The processor's name, as far as the system tells it."""
    information = Path("/proc/cpuinfo")
    text = information.read_text() if information.exists() else ""
    found = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return found.group(1) if found else platform.processor() or "unknown"
