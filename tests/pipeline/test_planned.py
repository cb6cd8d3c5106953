"""What a run is going to learn is written before it learns, so that a cut run can say what it lacks."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline import learn as learn_stage
from pipeline import targets as targets_stage
from pipeline.execution.board import UnitsFailed
from pipeline.planned import Planned, planned_file, read_planned, standing
from pipeline.stage import Bench
from pipeline.targets import targets
from tests.pipeline.tiny_experiment import BENCHMARK, tiny_bench, tiny_params

METHODS = "methods=[scratch,fine-tune,cl-lsg,grow-matched]"


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setenv("CL_LSG_TRACKING", "off")
    return tiny_bench(tmp_path)


def plan_of(bench: Bench) -> Planned:
    return read_planned(planned_file(bench.data, BENCHMARK), BENCHMARK)


def cut(*_arguments: object) -> None:
    raise UnitsFailed("as by a kill, before anything was learned")


def test_targets_that_are_cut_at_once_leave_their_plan(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(targets_stage, "work", cut)
    with pytest.raises(UnitsFailed):
        targets(tiny_params(METHODS, "seeds=[1,2]"), BENCHMARK, bench, 2)
    plan = plan_of(bench)
    for seed in (1, 2):
        names = {f"scratch seed{seed}-task01", f"scratch seed{seed}-task02", f"fine-tune seed{seed}-task02"}
        assert {name for name, unit in plan.units.items() if unit.seed == seed} == names
    assert plan.waiting == ("cl-lsg seed1", "cl-lsg seed2", "grow-matched seed1", "grow-matched seed2")
    assert plan.machine["device"] == "cpu"
    assert standing(plan, bench.store.root).finished == []


def test_the_plan_grows_with_what_becomes_known(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    params = tiny_params(METHODS)
    targets(params, BENCHMARK, bench, 2)
    with monkeypatch.context() as patched:
        patched.setattr(learn_stage, "work", cut)
        with pytest.raises(UnitsFailed):
            learn_stage.learn(params, BENCHMARK, bench, 2)
    state = standing(plan_of(bench), bench.store.root)
    assert sorted(state.complete) == [("fine-tune", 1), ("scratch", 1)]
    assert state.missing == ["cl-lsg seed1 (not begun)", "grow-matched seed1 (waits for goals or sizes)"]
    learn_stage.learn(params, BENCHMARK, bench, 2)
    whole = standing(plan_of(bench), bench.store.root)
    assert (len(whole.finished), whole.missing) == (5, [])
    assert ("grow-matched", 1) in whole.complete
    targets(params, BENCHMARK, bench, 2)
    assert standing(plan_of(bench), bench.store.root) == whole, "nothing is forgotten"
