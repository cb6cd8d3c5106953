"""SIGKILL at each change of a unit's files, in the middle of a write too: the next run ends with the bytes of
an undisturbed one."""

from itertools import count
from pathlib import Path

import pytest

from pipeline.units.store import RunStore
from pipeline.units.unit import Unit
from tests.faults.child import KillAtWrite, learn_in_child
from tests.pipeline.tiny_experiment import contents


@pytest.mark.slow
def test_killed_at_each_write_a_unit_ends_with_the_same_bytes(
    unit: Unit, undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    torn = set()
    for number in count():
        store = RunStore(tmp_path / str(number))
        if learn_in_child(unit, store, KillAtWrite(number)) == "finished":
            break
        torn |= {path.name.split(".")[1] for path in store.directory(unit).glob(".*.part")}
        assert learn_in_child(unit, store) == "finished"
        assert contents(store.directory(unit)) == undisturbed, f"killed before write {number}"
    assert number > 40
    assert torn >= {"checkpoint_01_2", "checkpoint_02_1", "checkpoint_02_2", "task_01", "task_02", "result"}
