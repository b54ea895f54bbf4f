"""What the ledger records of a run: command, host, versions, device, model."""

from __future__ import annotations

import functools
import os
import platform
from collections.abc import Sequence
from importlib import metadata
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
    """Versions of this package, of Python and of those `PACKAGES` that are installed."""
    versions = {"itk_infer": __version__, "python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return versions
