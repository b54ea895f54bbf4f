"""A program that begins in a process which Python has prepared."""

from __future__ import annotations

import sys


def prepared(first: str, *words: object) -> list[str]:
    """A command line that runs some Python first, and becomes the program then.

    `preexec_fn` of `subprocess` would fork the tests' own process, with all the threads that other tests have left
    in it.

    Args:
        first: Python that may use `os`, such as ``os.close(1)``.
        words: The program: a module of Python, and its arguments.
    """
    code = f"import os, sys\n{first}\nos.execv(sys.executable, [sys.executable, '-m', *sys.argv[1:]])"
    return [sys.executable, "-c", code, *map(str, words)]
