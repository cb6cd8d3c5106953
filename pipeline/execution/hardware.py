"""What numbers are computed on, as JSON values for a record."""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path
from typing import Any

import torch

from pipeline.units.unit import Numerics


def describe(numerics: Numerics) -> dict[str, Any]:
    """Processor, cores, GPU, system and Python, and a unit's numerics: torch, threads, kind of device.

    `instructions` are the processor's vector instructions that torch uses: others round differently.
    """
    on_gpu = numerics.device == "cuda" and torch.cuda.is_available()
    return {
        "processor": processor(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "cores": os.cpu_count(),
        "gpu": torch.cuda.get_device_name() if on_gpu else None,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "torch": numerics.torch,
        "threads": numerics.threads,
        "device": numerics.device,
    }


def processor() -> str:
    """The processor's name, as far as the system tells it."""
    information = Path("/proc/cpuinfo")
    text = information.read_text() if information.exists() else ""
    found = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return found.group(1) if found else platform.processor() or "unknown"
