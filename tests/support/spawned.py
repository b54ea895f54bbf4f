"""Functions of test files in processes of their own, which know test files by their paths only."""

from __future__ import annotations

import runpy


def call(path: str, name: str, *arguments: object) -> None:
    """Call a function of a test file; the target of a spawned process."""
    runpy.run_path(path)[name](*arguments)
