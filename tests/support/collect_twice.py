"""Whether two processes collect the same tests: what xdist needs, and what a failure can be called by.

The second begins more than a second after the first, and hashes otherwise, so that a clock in a test's id, an
address, or the order of a set shows. Ends with 1, and the tests that only one of them has, where they differ.
"""

from __future__ import annotations

import difflib
import os
import subprocess
import sys
import time
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
WORDS = ("-m", "pytest", "--collect-only", "--quiet", "--numprocesses", "0", "-p", "no:cacheprovider")
MOST_SHOWN = 20


def collect(seed: int, paths: list[str]) -> subprocess.Popen[str]:
    """Begin to collect, with a seed of hashes."""
    return subprocess.Popen(
        [sys.executable, *WORDS, *paths],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONHASHSEED": str(seed)},
        stdout=subprocess.PIPE,
        text=True,
    )


def main(paths: list[str]) -> str:
    """Collect twice.

    Returns:
        What is wrong; empty if nothing is.
    """
    first = collect(1, paths)
    time.sleep(1.5)  # side by side, a clock apart
    second = collect(2, paths)
    lists = []
    for process in (first, second):
        lines = process.communicate()[0].splitlines()
        if process.returncode:
            return "\n".join([*lines[-MOST_SHOWN:], "the tests cannot be collected"])
        lists.append([line for line in lines if "::" in line])
    differing = [line for line in difflib.unified_diff(*lists, n=0, lineterm="") if "::" in line]
    if differing:
        return "\n".join([*differing[:MOST_SHOWN], "two processes collect different tests; see CONTRIBUTING.md"])
    return ""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]) or 0)
