"""What takes long to make and is only read, once for all processes of xdist."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """A folder that belongs to the session. The first process that asks for it fills it; others wait for that.

    Args:
        factory: Of the process.
        name: Name of the folder.
        make: Fills an empty folder; if it fails, so does this, and the next process tries for itself.
    """
    from filelock import FileLock  # a requirement of torch

    base = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent
    folder = base / name
    with FileLock(base / f"{name}.lock"):
        if not folder.exists():
            folder.with_suffix(".making").mkdir(exist_ok=True)
            make(folder.with_suffix(".making"))
            folder.with_suffix(".making").rename(folder)
    return folder
