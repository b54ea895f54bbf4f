"""What is known of a machine and its environment, as plain values: nothing here looks at anything."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Cpu:
    """The processor.

    Attributes:
        name: Its model; empty: not known.
        cores: Cores that this process may use.
        instructions: Those of `INSTRUCTIONS` that it has; empty where that is not known.
        precisions: What OpenVINO computes fast on it; None: OpenVINO is not there.
    """

    name: str = ""
    cores: int = 1
    instructions: tuple[str, ...] = ()
    precisions: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Torch:
    """An installed torch.

    Attributes:
        cuda: CUDA version that it was built for; None: a CPU build.
        cudnn: cuDNN version as torch reports it, such as 91002 for 9.10.2; None: without.
        devices: Names of the GPUs that it can use, with their memory in bytes.
    """

    cuda: str | None = None
    cudnn: int | None = None
    devices: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder that the program uses.

    Attributes:
        path: The folder; None: there is none.
        free: Bytes free on its disk.
        used: Bytes of its files.
        writable: Whether files can be made there.
        purpose: What it is for.
    """

    purpose: str
    path: str | None
    free: int = 0
    used: int = 0
    writable: bool = True


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything together.

    Attributes:
        python: Version.
        system: Name and release of the operating system, and the architecture.
        packages: Versions of installed packages by their names.
        broken: Packages that are installed and cannot be imported, with the reason.
        cpu: The processor.
        torch: None: it is not installed.
        onnxruntime: Its providers; None: it cannot be imported.
        driver: Version of the NVIDIA driver; None: there is none.
        memory: Bytes that may still be allocated, and what limits them, in words.
        machine_memory: Bytes of memory that are free now; None: not known.
        folders: Disk and caches.
        environment: Variables of the environment that change what libraries do.
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
        """The version of a package as numbers; None: it is not installed."""
        text = self.packages.get(package)
        return None if text is None else numbers(text)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
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
