"""Files cut short or with one bit flipped: found by their digests and named, never trained on."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from lsg import certificate
from pipeline.cli import main
from pipeline.errors import UserError
from pipeline.execution.board import UnitsFailed
from pipeline.execution.executors import run
from pipeline.execution.machine import Machine
from pipeline.units.store import RunStore
from pipeline.units.unit import Unit
from tests.faults.child import DiskFull, learn_in_child
from tests.pipeline.tiny_experiment import Notes, contents

LOCAL = Machine(executor="local", gpu_share=0, checkpoint_seconds=0)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def flip_a_bit(path: Path, place: int = -9) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


def flip_the_first_bit(path: Path) -> None:
    flip_a_bit(path, 0)


def flip_a_bit_of_the_position(path: Path) -> None:
    flip_a_bit(path, path.read_bytes().index(b'epochs\\": ') + 10)


DAMAGES = [cut, flip_a_bit]


@pytest.fixture(scope="session")
def stopped(unit: Unit, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store whose unit stopped before the second task's file, with a checkpoint of each of its stages."""
    store = RunStore(tmp_path_factory.mktemp("stopped"))
    learn_in_child(unit, store, DiskFull("task_02.safetensors"))
    return store.root


@pytest.fixture
def store(stopped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunStore:
    """A copy of it, to be learned on in this process."""
    monkeypatch.setattr(certificate, "verify_in_fresh_process", lambda directory: None)
    return RunStore(Path(shutil.copytree(stopped, tmp_path / "runs")))


@pytest.mark.parametrize("damage", [*DAMAGES, flip_a_bit_of_the_position])
@pytest.mark.parametrize("stage", [1, 2])
def test_a_damaged_checkpoint_is_named_and_its_stage_starts_again(
    unit: Unit, undisturbed: dict[str, bytes], store: RunStore, damage: Callable[[Path], None], stage: int
) -> None:
    path = store.directory(unit) / f"checkpoint_02_{stage}.safetensors"
    damage(path)
    notes = Notes()
    run([unit], store, LOCAL, notes)
    assert notes.said == [f"cl-lsg seed1: {path} is damaged; stage {stage} of task 2 starts again"]
    assert contents(store.directory(unit)) == undisturbed


@pytest.mark.parametrize(
    ("name", "damage", "reason"),
    [
        ("task_01.safetensors", cut, "its digest is not the record's"),
        ("task_01.safetensors", flip_a_bit, "its digest is not the record's"),
        ("task_01.json", cut, ""),
        ("events.jsonl", flip_the_first_bit, ""),
    ],
)
def test_a_damaged_file_of_a_learned_task_stops_the_unit_and_is_named(
    unit: Unit,
    undisturbed: dict[str, bytes],
    store: RunStore,
    name: str,
    damage: Callable[[Path], None],
    reason: str,
) -> None:
    directory = store.directory(unit)
    damage(directory / name)
    with pytest.raises(UnitsFailed) as raised:
        run([unit], store, LOCAL, Notes())
    assert f"{directory / name} is damaged ({reason}" in str(raised.value)
    assert "delete its directory to compute it again" in str(raised.value)
    shutil.rmtree(directory)
    run([unit], store, LOCAL, Notes())
    assert contents(directory) == undisturbed


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_data_stop_a_unit_and_are_named(
    unit: Unit,
    undisturbed: dict[str, bytes],
    tmp_path: Path,
    store: RunStore,
    damage: Callable[[Path], None],
) -> None:
    data = Path(shutil.copytree(unit.prepared, tmp_path / "tasks"))
    damage(data / "task_02.safetensors")
    with pytest.raises(UnitsFailed, match=r"tasks/task_02\.safetensors is damaged"):
        run([replace(unit, prepared=data)], store, LOCAL, Notes())
    run([unit], store, LOCAL, Notes())
    assert contents(store.directory(unit)) == undisturbed


def flip_a_digit(path: Path) -> None:
    """The first one of the accuracy on test images: 0.9 becomes 1.9, and 1.0 0.0."""
    text = path.read_text()
    place = text.index('"test": ') + len('"test": ')
    path.write_text(f"{text[:place]}{1 - int(text[place])}{text[place + 1 :]}")


@pytest.mark.parametrize("task", [1, 2])
def test_a_flipped_digit_in_a_record_of_a_finished_unit_is_named(
    unit: Unit, store: RunStore, capsys: pytest.CaptureFixture[str], task: int
) -> None:
    run([unit], store, LOCAL, Notes())
    path = store.directory(unit) / f"task_{task:02d}.json"
    flip_a_digit(path)
    said = f"{path} is damaged (it was changed after it was written); delete its directory"
    with pytest.raises(UserError) as raised:
        run([unit], store, LOCAL, Notes())
    assert said in str(raised.value)
    assert main(["verify", str(store.root)]) == 1
    assert said in capsys.readouterr().err


def test_a_lost_record_of_a_finished_unit_is_named(unit: Unit, store: RunStore) -> None:
    run([unit], store, LOCAL, Notes())
    path = store.directory(unit) / "task_02.json"
    path.unlink()
    with pytest.raises(UserError, match=rf"{path} is damaged \(it is missing\); delete its directory"):
        run([unit], store, LOCAL, Notes())


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_mask_of_a_finished_unit_is_found_by_verify(
    unit: Unit, store: RunStore, capsys: pytest.CaptureFixture[str], damage: Callable[[Path], None]
) -> None:
    run([unit], store, LOCAL, Notes())
    path = store.directory(unit) / "task_01.safetensors"
    assert main(["verify", str(store.root)]) == 0
    damage(path)
    assert main(["verify", str(store.root)]) == 1
    assert f"{path} is damaged" in capsys.readouterr().err
