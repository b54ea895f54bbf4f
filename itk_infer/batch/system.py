"""What only one operating system has, and what each calls differently."""

from __future__ import annotations

import contextlib
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def end_with_parent(parent: int) -> None:
    """Have this process killed when its parent dies, where the kernel can do that (Linux).

    Elsewhere, and besides, workers notice the end of the pipe from their parent.

    Args:
        parent: Process id of the parent as it knew it.
    """
    if sys.platform != "linux":
        return
    with contextlib.suppress(OSError, AttributeError):
        import ctypes

        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # it died before we asked
            os._exit(1)


def cause_of_death(exit_code: int | None) -> str:
    """The end of a process in words.

    Args:
        exit_code: As `multiprocessing.Process.exitcode` has it: negative for a signal.
    """
    if exit_code is None:
        return "its worker process closed its connection"
    if exit_code >= 0:
        return f"its worker process ended with exit code {exit_code}"
    try:
        name = signal.Signals(-exit_code).name
    except ValueError:
        name = f"signal {-exit_code}"
    if name == "SIGKILL":
        return "its worker process was killed (SIGKILL), perhaps because memory ran out"
    if name in ("SIGSEGV", "SIGABRT", "SIGBUS", "SIGFPE", "SIGILL"):
        return f"its worker process crashed in native code ({name})"
    return f"its worker process was ended by {name}"
