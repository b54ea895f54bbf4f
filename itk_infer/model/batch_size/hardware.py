"""What the device is called, and the version of what runs a network there."""

from __future__ import annotations

import platform
import re
import sys
from functools import cache
from pathlib import Path

from itk_infer.model.runtimes.onnxruntime import RUNTIMES, version_of

CPUINFO, GPUS = Path("/proc/cpuinfo"), Path("/proc/driver/nvidia/gpus")


@cache
def device_name(device: str, threads: int) -> str:
    """A name under which times found on a device can be kept.

    Args:
        device: As `Backend.device`.
        threads: Threads of the network, on a CPU.
    """
    if device == "cpu":
        return f"{_processor()}, {threads} thread(s)"
    return _gpu(device)


@cache
def provider_name(provider: str) -> str:
    """A provider, as `Backend.provider`, with the version of its library."""
    libraries = (provider,) if provider in ("openvino", "torch") else RUNTIMES
    versions = (f"{name} {version}" for name in libraries if (version := version_of(name)))
    return f"{provider} ({', '.join(versions)})"


def _processor() -> str:
    try:
        found = re.search(r"^model name\s*:\s*(.+)$", CPUINFO.read_text(), re.MULTILINE)
    except OSError:  # not Linux
        found = None
    return found[1] if found else platform.processor() or platform.machine()


def _gpu(device: str) -> str:
    """From torch where it is loaded anyway, else from the driver, which tells on Linux."""
    if "torch" in sys.modules:
        import torch

        if torch.cuda.is_available():
            return torch.cuda.get_device_name(device)
    found = [
        line.partition(":")[2].strip()
        for file in sorted(GPUS.glob("*/information"))
        for line in file.read_text().splitlines()
        if line.startswith("Model:")
    ]
    return ", ".join(sorted(set(found))) or device
