"""What is timed beside another method is what a run learns: the same networks, the same cost."""

from pathlib import Path

import pytest

from benchmarks.bare import BareRun
from benchmarks.sequence import Cost, learned, total
from lsg.certificate import check_network
from lsg.records import RunDirectory
from lsg.sequence import learn_sequence
from pipeline.units.store import RunStore, job_of
from tests.pipeline.tiny_experiment import tiny_plan


@pytest.mark.parametrize("method", ["cl-lsg", "cpg"])
def test_a_bare_run_learns_what_a_run_with_records_learns(tmp_path: Path, method: str) -> None:
    (unit,) = tiny_plan(f"methods=[{method}]").units("learn", {1: {1: 1.0, 2: 0.5}})
    learn_sequence(job_of(unit, RunStore(tmp_path)), tmp_path / "run")
    bare = BareRun(unit, tmp_path / "bare")
    for number in unit.tasks:
        cost, record = learned(bare, number), RunDirectory(tmp_path / "run").record(number)
        check_network(number, bare.method.network(number), record)
        assert cost.accuracy == record["accuracy"]["validation"]
        assert (cost.steps, cost.macs) == (record["cost"]["steps"], record["cost"]["macs"])
        assert cost.seconds > 0
    assert not (tmp_path / "bare").exists()


def test_costs_add_up_and_accuracies_are_averaged() -> None:
    assert total([Cost(1.5, 2, 30, 0.5), Cost(2.5, 3, 40, 0.75)]) == Cost(4.0, 5, 70, 0.625)
