"""A recorded experiment holds the tables as they were and leads from each number to its unit's parameters."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from pipeline.errors import UserError
from pipeline.recorded import COPIED, record
from tests.pipeline.made_units import BENCHMARK
from tests.pipeline.test_tables import Bench


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    made = Bench(tmp_path)
    made.seed(1)
    return made


def test_tables_are_copied_and_every_row_leads_to_a_described_unit(bench: Bench, tmp_path: Path) -> None:
    tables = bench.tables()
    folder = record(BENCHMARK, "first", bench.data, bench.runs, bench.reports, tmp_path / "results")
    assert folder == tmp_path / "results" / BENCHMARK / "first"
    for name in COPIED:
        assert (folder / name).read_bytes() == (tables / name).read_bytes()
    content = json.loads((folder / "units.json").read_text())
    assert content["machine"]["cores"] >= 1
    rows = pd.read_csv(folder / "accuracy.csv")
    assert len(rows) > 0
    for unit, task in zip(rows["unit"], rows["task"], strict=True):
        described = content["units"][unit.removeprefix(f"{BENCHMARK}/")]
        assert described["key"].startswith(unit.rpartition("-")[2])
        assert described["covers"]["seed"] == 1
        if str(task) in described["tasks"]:
            assert described["tasks"][str(task)]["network"] == "1" * 64
            assert described["seconds"][str(task)] == 1.5


def test_without_tables_nothing_is_recorded(bench: Bench, tmp_path: Path) -> None:
    bench.write()
    with pytest.raises(UserError, match=f"cl-lsg tables {BENCHMARK}"):
        record(BENCHMARK, "first", bench.data, bench.runs, bench.reports, tmp_path / "results")
    assert not (tmp_path / "results").exists()
