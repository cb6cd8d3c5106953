"""One undisturbed run, with which every disturbed one is compared."""

from pathlib import Path

import pytest

from pipeline.units.store import RunStore
from pipeline.units.unit import Unit
from tests.faults.child import learn_in_child
from tests.pipeline.tiny_experiment import contents, tiny_plan


@pytest.fixture(scope="session")
def unit() -> Unit:
    """CL-LSG on two tasks of digits: the second in two stages, two epochs in each stage."""
    return tiny_plan("train.epochs=2").units("learn", {1: {1: 1.0, 2: 1.0}})[0]


@pytest.fixture(scope="session")
def undisturbed(unit: Unit, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The bytes of the unit's files after a run without faults."""
    store = RunStore(tmp_path_factory.mktemp("undisturbed"))
    assert learn_in_child(unit, store) == "finished"
    return contents(store.directory(unit))


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    return RunStore(tmp_path / "runs")
