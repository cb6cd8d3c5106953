"""The simulated cluster against cases worked out by hand."""

import random
from pathlib import Path

import pytest

from benchmarks.simulate_cluster import Cluster, Work, measured, simulate, table

UNITS = [Work("a", 30, 10), Work("b", 20, 10), Work("c", 50, 10)]


def test_one_worker_takes_the_sum() -> None:
    done = simulate([UNITS], Cluster(1))
    assert (done.seconds, done.worked, done.lost, done.failures) == (100, 100, 0, 0)
    assert simulate([UNITS], Cluster(1, restart=2)).seconds == 106


def test_many_workers_take_the_longest_unit_of_each_stage() -> None:
    assert simulate([UNITS], Cluster(100)).seconds == 50
    assert simulate([UNITS, [Work("d", 7, 1)]], Cluster(100)).seconds == 57


def test_two_workers_take_the_longest_first() -> None:
    assert simulate([UNITS], Cluster(2)).seconds == 50
    assert (
        simulate([[Work(str(i), seconds, 1) for i, seconds in enumerate([2, 2, 3])]], Cluster(2)).seconds == 4
    )


def test_a_slow_worker_holds_the_end_up() -> None:
    done = simulate([UNITS], Cluster(3, slow_share=1 / 3, slow_factor=2))
    assert (done.seconds, done.worked) == (100, 150)


def test_a_failure_costs_what_came_after_the_last_checkpoint_and_a_restart() -> None:
    rate = 3600 / 100
    first, second = (random.Random(1).expovariate(1 / 100), 0.0)
    draw = random.Random(1)
    first, second = draw.expovariate(1 / 100), draw.expovariate(1 / 100)
    assert first < 50 < second
    kept = first // 4 * 4
    done = simulate([[Work("a", 50, 10)]], Cluster(1, failures=rate, checkpoint=4, restart=3))
    assert done.failures == 1
    assert done.lost == pytest.approx(first - kept)
    assert done.seconds == pytest.approx(3 + first + 3 + 50 - kept)


def test_the_driver_launches_one_after_the_other_and_writes_for_each_unit_with_news() -> None:
    done = simulate([[Work("a", 10, 100)] * 4], Cluster(4, launch=1))
    assert (done.seconds, done.driver) == (14, 4)
    done = simulate([[Work("a", 10, 5)]], Cluster(1, write=0.25, poll=1))
    assert done.driver == 0.5
    assert done.seconds == 10.25


def test_recorded_units_are_read_once_and_go_to_their_stage(tmp_path: Path) -> None:
    (tmp_path / "cost.csv").write_text(
        "method,task,seconds,unit\n"
        "scratch,1,40,digits/scratch/seed1-task01-a\n"
        "fine-tune,1,40,digits/scratch/seed1-task01-a\n"
        "fine-tune,2,20,digits/fine-tune/seed1-task02-b\n"
        "cl-lsg,1,60,digits/cl-lsg/seed1-c\n"
        "cl-lsg,2,100,digits/cl-lsg/seed1-c\n"
    )
    targets, learn = measured(tmp_path, seeds=2, speedup=2)
    assert [unit.seconds for unit in targets] == [20, 20, 10, 10]
    assert [(unit.seconds, unit.epoch) for unit in learn] == [(80, 2), (80, 2)]
    assert "6 units, 0.1 hours of work" in table([targets, learn], [Cluster(2)])


def test_the_recorded_experiment_is_there() -> None:
    targets, learn = measured()
    assert targets
    assert learn
