"""Memory is that of the network, not of the number of tasks."""

import subprocess
import sys


def test_peak_memory_does_not_grow_with_the_tasks() -> None:
    """A fresh process, whose peak nothing else has raised; its first tasks settle the allocator."""
    command = [sys.executable, "-m", "benchmarks.memory", "--network", "lenet", "--tasks", "12"]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    copies = [float(line.split()[-2]) for line in lines if line.startswith("after task")]
    assert len(copies) == 12
    assert copies[-1] < 1.1 * copies[3]
