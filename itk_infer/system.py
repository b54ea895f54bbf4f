"""What differs between operating systems: parents, signals, process ids, boot ids, file owners, freed memory."""

from __future__ import annotations

import contextlib
import os
import signal
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

# Ctrl-C, the end by another program, and the end of the terminal (which Windows does not have).
STOP_SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
PR_SET_PDEATHSIG = 1
PROC = Path("/proc")


def end_with_parent(parent: int) -> None:
    """Have the kernel kill this process when its parent ends (Linux).

    On all systems, workers also end when the pipe from their parent closes.

    Args:
        parent: Process id of the parent, as passed on by the parent.
    """
    if sys.platform != "linux":
        return
    with contextlib.suppress(OSError, AttributeError):
        import ctypes

        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # it ended before the call above
            os._exit(1)


@contextlib.contextmanager
def blocked_signals() -> Iterator[None]:
    """Block `STOP_SIGNALS` within the block, also in processes started there.

    Ctrl-C reaches all processes of a terminal: this keeps it from ending a new one before that can ignore it.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    former = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, former)


def leave_signals_to_parent() -> None:
    """Ignore `STOP_SIGNALS`, which reach the whole group, in a process started within `blocked_signals`."""
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    if hasattr(signal, "pthread_sigmask"):  # pending signals are ignored now
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)


def return_freed_memory() -> None:
    """Return memory that was freed, and that the C library keeps for later, to the system (Linux with glibc)."""
    if sys.platform != "linux":
        return
    with contextlib.suppress(OSError, AttributeError):  # another C library has no such function
        import ctypes

        ctypes.CDLL(None).malloc_trim(0)


def cause_of_death(exit_code: int | None) -> str:
    """How a worker process ended, as a part of a sentence.

    Args:
        exit_code: Negative for a signal; None: not known.
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


def boot_id() -> str | None:
    """An id that is unique to this machine since its last boot; None where it is not known."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            return (PROC / "sys/kernel/random/boot_id").read_text("ascii").strip() or None
    if sys.platform == "darwin":
        with contextlib.suppress(OSError, AttributeError):
            import ctypes

            text = ctypes.create_string_buffer(64)
            size = ctypes.c_size_t(len(text))
            if ctypes.CDLL(None).sysctlbyname(b"kern.bootsessionuuid", text, ctypes.byref(size), None, 0) == 0:
                return text.value.decode("ascii") or None
    return None


def process_namespace() -> str | None:
    """The namespace in which process ids and start times are comparable.

    None: the system has only one. Empty: not known.
    """
    if sys.platform != "linux":
        return None
    try:
        names = [str((PROC / "self/ns/pid").readlink())]
    except OSError:
        return ""
    with contextlib.suppress(OSError):  # kernels before 5.6 have no time namespaces
        names.append(str((PROC / "self/ns/time").readlink()))
    return " ".join(names)


def process_start(pid: int) -> int | None:
    """Start time of a process of this namespace, in clock ticks since boot; None where it is not known."""
    fields = _stat_fields(pid)
    return int(fields[19]) if fields else None


def is_running(pid: int, start: int | None) -> bool:
    """Whether a process of this namespace on this machine is running.

    Args:
        pid: Its id. POSIX only: on Windows, `os.kill` would end the process.
        start: Its `process_start`, which distinguishes it from a later process with the same id.
    """
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # it runs, for another user
    fields = _stat_fields(pid)
    if not fields:
        return True
    return fields[0] not in "ZX" and (start is None or start == int(fields[19]))


def _stat_fields(pid: int) -> list[str]:
    """Fields of ``/proc/<pid>/stat`` from the state on; empty where there is no /proc for this namespace."""
    try:
        if str((PROC / "self").readlink()) != str(os.getpid()):
            return []
        return (PROC / str(pid) / "stat").read_text("utf-8", "replace").rpartition(")")[2].split()
    except OSError:
        return []


def ownership(path: Path) -> str:
    """Owner, group and mode of a file or folder, as ``ls -l`` shows them; empty on Windows, or if missing."""
    if sys.platform == "win32" or not path.exists():
        return ""
    import grp

    status = path.stat()
    group = str(status.st_gid)
    with contextlib.suppress(KeyError):
        group = grp.getgrgid(status.st_gid).gr_name
    return f"{user_name(status.st_uid)}, group {group}, mode {stat.filemode(status.st_mode)}"


def user_name(number: int | None = None) -> str:
    """Name of a user, or the number if it has no name. `number` None: the user of this process."""
    if sys.platform == "win32":
        return "this user"
    import pwd

    number = os.geteuid() if number is None else number
    with contextlib.suppress(KeyError):
        return pwd.getpwuid(number).pw_name
    return str(number)
