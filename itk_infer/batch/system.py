"""What only one operating system has, and what each calls differently."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Iterator

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


@contextlib.contextmanager
def blocked_signals() -> Iterator[None]:
    """Have SIGINT and SIGTERM wait, and processes that are started inside be born with them waiting.

    So a Ctrl-C, which reaches all processes of a terminal, does not end a new one before it can ignore it.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    from multiprocessing.resource_tracker import ensure_running

    ensure_running()  # starting it, which the first process does otherwise, lets the signals through again
    former = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, former)


def leave_signals_to_parent() -> None:
    """Ignore SIGINT and SIGTERM, which reach the whole group, in a process born in `blocked_signals`."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    if hasattr(signal, "pthread_sigmask"):  # what has waited is dropped now
        signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGINT, signal.SIGTERM))


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
