"""The proof that nothing was forgotten: digests written once, chained, and checked against a rebuild.

When a task is learned, its record takes the digest of its file, of every tensor of its network and of the
network's answers to a fixed probe, and the digest of the record before it; the result takes that of the last
record. After each later task all earlier networks are computed again from the shared weights in memory; at
the end they are rebuilt from the files in a fresh process (`python -m lsg.certificate DIRECTORY`). A digest
that differs is an error that names the task, the layer and what moved.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lsg import digest, seeds
from lsg.bank import ForgettingError
from lsg.files import DamagedFileError
from lsg.methods import Method
from lsg.reading import PROBE, UnknownRunError, empty_method, read_job, restore_task
from lsg.records import RunDirectory

PROBE_IMAGES = 8
PROBE_TOLERANCE = 1e-4
"""Largest difference of probe logits between kinds of machines; on the same kind there is none."""
FORGOTTEN, DAMAGED = 3, 4
"""Exit statuses of `python -m lsg.certificate`; Python itself gives 1 and 2."""


@dataclass(frozen=True)
class Report:
    """What was verified: tasks with networks bit-equal to those learned, and how their probes compare."""

    tasks: tuple[int, ...]
    probes_bit_equal: bool


def state_of(network: nn.Module) -> dict[str, Tensor]:
    """All tensors that decide what a network computes, by name."""
    return {
        name: tensor
        for name, tensor in network.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }


@torch.no_grad()
def probe_logits(network: nn.Module, image_shape: tuple[int, int, int]) -> Tensor:
    """The network's logits `[8, classes]` for eight images of fixed noise."""
    images = torch.randn(PROBE_IMAGES, *image_shape, generator=seeds.generator("cpu", "probe"))
    logits: Tensor = network.cpu().eval()(images)
    return logits


def fingerprint(network: nn.Module, logits: Tensor) -> dict[str, Any]:
    """The digests that a record keeps of a network: `layers` by tensor, `network` over all, `probe`."""
    layers = digest.of_tensors(state_of(network))
    return {"layers": layers, "network": digest.of_json(layers), "probe": digest.of_tensor(logits)}


def check_network(task: int, network: nn.Module, record: Mapping[str, Any]) -> None:
    """Compare a network with the digests in its task's record. Raises ForgettingError."""
    layers, learned = digest.of_tensors(state_of(network)), record["layers"]
    moved = sorted(name for name in layers.keys() | learned.keys() if layers.get(name) != learned.get(name))
    if moved:
        raise ForgettingError(f"task {task} was changed after it was learned: {', '.join(moved)} moved")
    if digest.of_json(layers) != record["network"]:
        raise ForgettingError(f"task {task}: the record's digest of the network is not that of its layers")


def probes_bit_equal(task: int, method: Method, stored: Tensor, record: Mapping[str, Any]) -> bool:
    """Whether probe logits have the record's bits. Raises ForgettingError beyond the tolerance."""
    logits = probe_logits(method.network(task), method.architecture.image_shape)
    if digest.of_tensor(stored) != record["probe"]:
        raise ForgettingError(f"task {task}: the stored probe logits are not the record's")
    difference = float((logits - stored).abs().max())
    if not difference <= PROBE_TOLERANCE * max(1.0, float(stored.abs().max())):  # NaN is beyond it too
        raise ForgettingError(f"task {task}: probe logits differ by {difference:.2e}")
    return digest.of_tensor(logits) == str(record["probe"])


def verify(directory: Path) -> Report:
    """Rebuild every task's network from the files of a run directory and compare it with its record.

    Each network is compared when its file is taken up and, unless the method forgets, again after all
    later files.

    Raises:
        ForgettingError: naming the task, the tensors and what moved.
        DamagedFileError: for a file that cannot be read or does not have its record's digest.
        UnknownRunError: for a run of another version of the library.
        FileNotFoundError: where the directory is no run directory.
    """
    run = RunDirectory(directory)
    run.check_job()
    run.check_records()
    with _threads_of(run):
        return _compared(run)


@contextmanager
def _threads_of(run: RunDirectory) -> Iterator[None]:
    """Torch with the run's number of threads: with others, sums may differ in their last bits."""
    before = torch.get_num_threads()
    torch.set_num_threads(read_job(run)["threads"])
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _compared(run: RunDirectory) -> Report:
    tasks = run.learned()
    method, probes = empty_method(run), {}
    for task in tasks:
        probes[task] = restore_task(method, run, task)[PROBE]
        check_network(task, method.network(task), run.record(task))
    lasting = tasks[-1:] if method.forgets else tasks
    for task in lasting:
        check_network(task, method.network(task), run.record(task))
    equal = [probes_bit_equal(task, method, probes[task], run.record(task)) for task in lasting]
    return Report(tuple(lasting), all(equal))


def verify_in_fresh_process(directory: Path) -> None:
    """`verify` in a new Python process, which knows nothing but the files.

    Raises ForgettingError, DamagedFileError, and RuntimeError where the process could not do it.
    """
    command = [sys.executable, "-m", "lsg.certificate", str(directory)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode == FORGOTTEN:
        raise ForgettingError(done.stderr.strip())
    if done.returncode == DAMAGED:
        verify(directory)  # raises it here too, as what it is
    if done.returncode:
        raise RuntimeError(f"the proof of {directory} ended with status {done.returncode}: {done.stderr}")


def main() -> int:
    """`python -m lsg.certificate DIRECTORY`."""
    parser = argparse.ArgumentParser(
        description="Rebuild every task's network and compare it with its record."
    )
    parser.add_argument("directory", type=Path)
    directory = parser.parse_args().directory
    try:
        report = verify(directory)
    except ForgettingError as error:
        print(error, file=sys.stderr)
        return FORGOTTEN
    except (DamagedFileError, UnknownRunError, FileNotFoundError) as error:
        print(error, file=sys.stderr)
        return DAMAGED
    probes = "bit-equal" if report.probes_bit_equal else f"within {PROBE_TOLERANCE:g}"
    print(f"{len(report.tasks)} tasks verified: networks bit-equal to those learned, probe logits {probes}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
