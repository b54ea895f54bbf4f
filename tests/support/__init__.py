"""What tests of several rooms share; importable in the processes that they start, too."""

from __future__ import annotations

import os
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]


def child_environment(**variables: str) -> dict[str, str]:
    """The environment of a program that a test starts and that imports this package.

    Workers need none: they get the search path of their parent.
    """
    path = os.pathsep.join(filter(None, [str(TESTS), os.environ.get("PYTHONPATH", "")]))
    return {**os.environ, "PYTHONPATH": path, **variables}
