"""Facts about a machine and its environment, as plain values without own access to either."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Cpu:
    """The CPU.

    Attributes:
        name: Name of the model; empty if unknown.
        cores: Number of cores that this process may use.
        instructions: Its instruction sets among `INSTRUCTIONS`; empty if unknown.
        precisions: Precisions that OpenVINO runs fast on it; None if OpenVINO is not installed.
    """

    name: str = ""
    cores: int = 1
    instructions: tuple[str, ...] = ()
    precisions: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Torch:
    """An installed PyTorch.

    Attributes:
        cuda: CUDA version that it was built for; None for a CPU build.
        cudnn: cuDNN version as torch reports it, such as 91002 for 9.10.2; None if there is none.
        devices: Names of usable GPUs, with their memory in bytes.
    """

    cuda: str | None = None
    cudnn: int | None = None
    devices: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder that the program uses.

    Attributes:
        path: The folder; None if it does not exist.
        free: Free bytes on its disk.
        used: Total bytes of its files.
        writable: Whether files can be created in it.
        purpose: Its purpose.
    """

    purpose: str
    path: str | None
    free: int = 0
    used: int = 0
    writable: bool = True


@dataclass(frozen=True, slots=True)
class Facts:
    """All facts.

    Attributes:
        python: Version of Python.
        system: Name and release of the operating system, and the architecture.
        packages: Versions of installed packages by their names.
        broken: Packages that are installed and cannot be imported, with reasons.
        cpu: The processor.
        torch: PyTorch; None if it is not installed.
        onnxruntime: Its providers; None if it cannot be imported.
        driver: Version of the NVIDIA driver; None if there is none.
        memory: Bytes that may still be allocated, and the name of the limit.
        machine_memory: Free memory of the machine, in bytes; None if unknown.
        folders: Folders of data and caches.
        environment: Environment variables that affect libraries.
    """

    python: str
    system: str
    packages: Mapping[str, str] = field(default_factory=dict)
    broken: Mapping[str, str] = field(default_factory=dict)
    cpu: Cpu = Cpu()
    torch: Torch | None = None
    onnxruntime: tuple[str, ...] | None = None
    driver: str | None = None
    memory: tuple[int, str] | None = None
    machine_memory: int | None = None
    folders: tuple[Folder, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)

    def version(self, package: str) -> tuple[int, ...] | None:
        """Version of a package as numbers; None if it is not installed."""
        text = self.packages.get(package)
        return None if text is None else numbers(text)

    def to_dict(self) -> dict[str, Any]:
        """The facts, JSON-ready."""
        return dataclasses.asdict(self)


def numbers(version: str) -> tuple[int, ...]:
    """The leading numbers of a version: ``2.13.0+cpu`` is (2, 13, 0)."""
    parts = []
    for part in version.split("+")[0].split("."):
        digits = ""
        for character in part:
            if not character.isdecimal():
                break
            digits += character
        if not digits:
            break
        parts.append(int(digits))
        if digits != part:  # such as 0rc1
            break
    return tuple(parts)
