"""What processes of `itk_infer.executors.child` are made to do."""

from __future__ import annotations

import os
import sys
from multiprocessing.connection import Connection


def answer(link: Connection, *words: object) -> None:
    """Send what a process knows: its id, its search path, its arguments, and whether it tracks resources."""
    link.send((os.getpid(), sys.path, words, "multiprocessing.resource_tracker" in sys.modules))


def wait_for_ever(link: Connection) -> None:
    """Wait for the parent, which sends nothing."""
    link.recv()


def fail(link: Connection) -> None:
    """End with an exit code."""
    raise SystemExit(7)
