"""A full disk while a unit or a table is written: one error that names the file, nothing lost."""

import errno
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from lsg.files import write_bytes
from pipeline.cli import main
from pipeline.units.store import RunStore
from pipeline.units.unit import Unit
from tests.faults.child import DiskFull, FileLimit, learn_in_child
from tests.pipeline.test_tables import Bench
from tests.pipeline.tiny_experiment import ROOT, contents

FULL = "No space left on device"


@pytest.mark.parametrize(
    "name",
    [
        "job.json",
        "checkpoint_01_2.safetensors",
        "checkpoint_02_1.safetensors",
        "task_02.safetensors",
        "task_02.json",
        "result.json",
    ],
)
def test_no_space_for_a_file_is_named_and_costs_nothing(
    unit: Unit, undisturbed: dict[str, bytes], store: RunStore, name: str
) -> None:
    directory = store.directory(unit)
    said = learn_in_child(unit, store, DiskFull(name))
    assert said == f"OSError: [Errno 28] {FULL}: '{directory / name}'"
    assert not list(directory.glob("*.part"))
    assert said in (directory / "error.txt").read_text()
    assert learn_in_child(unit, store) == "finished"
    assert contents(directory) == undisturbed


def test_a_read_only_disk_names_the_file_and_not_its_forerunner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such a disk refuses even to remove what is not there."""

    def refuse(path: Path, *_arguments: object, **_options: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system", str(path))

    monkeypatch.setattr(Path, "open", refuse)
    monkeypatch.setattr(Path, "unlink", refuse)
    with pytest.raises(OSError, match="Read-only") as raised:
        write_bytes(tmp_path / "task.pt2", b"content")
    assert raised.value.filename == str(tmp_path / "task.pt2")


class Disk:
    """A small disk: a mounted tmpfs, or where nothing may be mounted a limit on the size of files."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.bytes = folder, 0
        self.mounted = self._mount("-t", "tmpfs", "-o", "size=4k", "none")

    def grow_to(self, size: int) -> None:
        self.bytes = size
        if self.mounted:
            assert self._mount("-o", f"remount,size={size}")

    def fault(self) -> FileLimit | None:
        return None if self.mounted else FileLimit(self.bytes)

    def _mount(self, *options: str) -> bool:
        command = ["mount", *options, str(self.folder)]
        return subprocess.run(command, check=False, capture_output=True).returncode == 0

    def close(self) -> None:
        if self.mounted:
            subprocess.run(["umount", str(self.folder)], check=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    (tmp_path / "small").mkdir()
    small = Disk(tmp_path / "small")
    yield small
    small.close()


def test_on_a_disk_that_grows_bit_by_bit_a_unit_goes_on_where_it_stopped(
    unit: Unit, undisturbed: dict[str, bytes], disk: Disk
) -> None:
    store, said = RunStore(disk.folder / "runs"), []
    for size in (4096, *(2**power for power in range(14, 27))):
        disk.grow_to(size)
        said.append(learn_in_child(unit, store, disk.fault()))
        if said[-1] == "finished":
            break
    assert len(said) >= 4
    assert all(text.startswith(("OSError: [Errno", "UserError: ")) for text in said[:-1]), said
    assert said[-1] == "finished"
    assert contents(store.directory(unit)) == undisturbed


@pytest.mark.parametrize("name", ["accuracy.csv", "figures/size.png"])
def test_no_space_for_a_table_leaves_the_old_one_and_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / "params.yaml", tmp_path)
    bench = Bench(tmp_path)
    bench.seed(1)
    report = bench.tables()
    before = (report / name).read_bytes()
    bench.seed(2, shift=-0.05)
    bench.write()
    path = report / name
    path.with_name(f".{path.name}.{os.getpid()}.part").symlink_to("/dev/full")
    assert main(["tables", "digits"]) == 2
    said = capsys.readouterr().err
    assert f"{name}: {FULL}; mend that, and give the command again" in said
    assert (report / name).read_bytes() == before
    assert main(["tables", "digits"]) == 0
    again = files(report)
    assert again[name] != before
    shutil.rmtree(report)
    assert main(["tables", "digits"]) == 0
    assert files(report) == again


def files(folder: Path) -> dict[str, bytes]:
    """The bytes of all files in and below a folder."""
    found = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}
