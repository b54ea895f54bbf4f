"""What the ledger records of a run: command, host, versions, device, model."""

from __future__ import annotations

import contextlib
import functools
import os
import platform
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from itk_infer._version import __version__
from itk_infer.executors.loader import ModelInfo

PACKAGES = ("numpy", "SimpleITK", "onnxruntime", "onnxruntime-gpu", "torch", "mmengine", "mmsegmentation", "zarr")


def about_run(facts: ModelInfo, command: Sequence[str]) -> dict[str, Any]:
    """Return the ledger's ``about`` of a run, JSON-ready."""
    return {
        "command": list(command),
        "host": platform.node(),
        "pid": os.getpid(),
        "versions": dict(_versions()),
        "device": facts.device,
        "provider": facts.about["provider"],
        "precision": facts.about["precision"],
        "model": {"name": facts.about["spec"]["name"], "version": facts.about["spec"]["version"]},
        "notes": list(facts.notes),
        "identity": facts.identity,
        "labels": facts.about["labels"],
    }


@functools.cache  # a run of a few small scans takes no longer than this
def _versions() -> dict[str, str]:
    """Versions of this package, of Python and of those `PACKAGES` that are installed.

    By the names of the folders ``<package>-<version>.dist-info``: the import of `importlib.metadata` alone takes
    ten times as long.
    """
    found: dict[str, str] = {}
    for place in sys.path:
        with contextlib.suppress(OSError):
            for path in Path(place).iterdir():
                if path.suffix in (".dist-info", ".egg-info"):
                    package, _, version = path.stem.partition("-")
                    found.setdefault(_plain(package), version.partition("-")[0])
    wanted = {package: found.get(_plain(package), "") for package in PACKAGES}
    installed = {package: version for package, version in wanted.items() if version}
    return {"itk_infer": __version__, "python": platform.python_version(), **installed}


def _plain(package: str) -> str:
    return package.lower().replace("-", "_").replace(".", "_")
