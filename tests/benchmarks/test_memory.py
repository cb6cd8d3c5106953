"""Memory is that of the network, not of the number of tasks."""

import subprocess
import sys


def test_no_task_leaves_a_network_in_memory() -> None:
    """A fresh process, whose peak nothing else has raised. Allocators keep a copy or so more or less."""
    command = [sys.executable, "-m", "benchmarks.memory", "--network", "lenet", "--tasks", "12"]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    copies = [float(line.split()[-2]) for line in lines if line.startswith("after task")]
    assert len(copies) == 12
    assert copies[-1] - copies[3] < 4, "eight tasks more, each half a network or more"
