"""Names of the device and of the library that runs a network there, for the keys of the batch cache."""

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
    """The name of a device, as part of the cache key.

    Args:
        device: See `Backend.device`.
        threads: Threads of the network, on a CPU.
    """
    if device == "cpu":
        return f"{_processor()}, {threads} thread(s)"
    return _gpu(device)


@cache
def provider_name(provider: str) -> str:
    """The name of a provider, see `Backend.provider`, with the version of its library."""
    libraries = (provider,) if provider in ("openvino", "torch") else RUNTIMES
    versions = (f"{name} {version}" for name in libraries if (version := version_of(name)))
    return f"{provider} ({', '.join(versions)})"


def _processor() -> str:
    try:
        match = re.search(r"^model name\s*:\s*(.+)$", CPUINFO.read_text(), re.MULTILINE)
    except OSError:  # not Linux
        match = None
    return match[1] if match else platform.processor() or platform.machine()


def _gpu(device: str) -> str:
    """The GPU's name from torch if that is loaded already, else from the driver (Linux)."""
    if "torch" in sys.modules:
        import torch

        if torch.cuda.is_available():
            return torch.cuda.get_device_name(device)
    names = [
        line.partition(":")[2].strip()
        for file in sorted(GPUS.glob("*/information"))
        for line in file.read_text().splitlines()
        if line.startswith("Model:")
    ]
    return ", ".join(sorted(set(names))) or device
