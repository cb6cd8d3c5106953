"""An exported task's network against a dense network of the same width, and against the task's own module.

python -m benchmarks.exported runs/digits/cl-lsg/seed1-... --task 3
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import torch

from benchmarks.timing import interleaved, machine, ratios, spread
from lsg.export import Standalone, export, standalone
from lsg.reading import read_run
from lsg.records import RunDirectory


def dense_twin(directory: Path, task: int) -> Standalone:
    """A fresh dense network of the task's widths behind the same normalisation."""
    method, run = read_run(directory), RunDirectory(directory)
    record = run.record(task)
    sizes = run.tensors(task)["widths"].tolist()
    widths = dict(zip(method.architecture.streams, sizes, strict=True))
    network = method.architecture.make(widths, len(record["classes"]))
    return Standalone(network, **record["pixels"]).eval()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("directory", type=Path, help="a unit of a method over a bank, such as cl-lsg")
    parser.add_argument("--task", type=int, required=True)
    parser.add_argument("--rounds", type=int, default=60)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    learned, _ = standalone(arguments.directory, arguments.task)
    twin = dense_twin(arguments.directory, arguments.task)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "task.pt2"
        export(arguments.directory, arguments.task, path)
        exported = torch.export.load(path).module()
    shape = RunDirectory(arguments.directory).job()["image_shape"]
    print(machine())
    with torch.no_grad():
        probe = torch.randint(256, (1000, *shape), dtype=torch.uint8)
        answers, expected = exported(probe), learned(probe)
        same = float((answers.argmax(1) == expected.argmax(1)).double().mean())
        furthest = float((answers - expected).abs().max())
        print(f"argmax equal on {same:.1%} of 1,000 images, logits within {furthest:.1e}")
        for batch in (1, 32, 256):
            images = probe[:batch]
            actions = {"exported": lambda i=images: exported(i), "dense": lambda i=images: twin(i)}
            seconds = interleaved(actions, arguments.rounds)
            print(
                f"batch {batch:4}: exported {1000 * spread(seconds['exported']).median:.3f} ms, exported / "
                f"dense of its width {ratios(seconds, 'exported', 'dense')}"
            )


if __name__ == "__main__":
    main()
