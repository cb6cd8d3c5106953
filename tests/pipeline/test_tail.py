"""Reading a log that grows, is cut back, and grows again."""

import json
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.units.tail import Tail


def line(number: int, note: str = "") -> str:
    return json.dumps({"epoch": number, "note": note}) + "\n"


def epochs(events: Iterable[dict[str, object]]) -> list[object]:
    return [event["epoch"] for event in events]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "events.jsonl"


def test_each_line_is_read_once_and_only_when_complete(log: Path) -> None:
    tail = Tail(log)
    assert tail.read() == []
    log.write_text(line(1) + line(2)[:5])
    assert epochs(tail.read()) == [1]
    log.write_text(line(1) + line(2) + line(3))
    assert epochs(tail.read()) == [2, 3]
    assert tail.read() == []


def test_a_log_that_was_cut_and_grew_past_the_old_end_is_read_again(log: Path) -> None:
    tail = Tail(log)
    log.write_text(line(1) + line(2))
    tail.read()
    log.write_text(line(1) + line(2, "after the cut") + line(3) + line(4))
    assert epochs(tail.read()) == [1, 2, 3, 4]


def test_a_log_that_was_cut_to_nothing_is_read_again(log: Path) -> None:
    tail = Tail(log)
    log.write_text(line(1) + line(2))
    tail.read()
    log.write_text("")
    assert tail.read() == []
    log.write_text(line(1))
    assert epochs(tail.read()) == [1]


def test_a_torn_line_is_passed_over(log: Path) -> None:
    log.write_text(line(1) + '{"epoch": \n[2]\n' + line(3))
    assert epochs(Tail(log).read()) == [1, 3]


@given(cuts=st.lists(st.integers(0, 200), min_size=1, max_size=6))
def test_however_a_log_grows_every_line_arrives_in_order(
    cuts: list[int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("log") / "events.jsonl"
    text = "".join(line(number) for number in range(6))
    tail, found = Tail(path), []
    for cut in [*sorted(cuts), len(text)]:
        path.write_text(text[:cut])
        found += epochs(tail.read())
    assert found == list(range(6))
