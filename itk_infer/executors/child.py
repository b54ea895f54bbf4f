"""A Python process that calls a function of this program, with a connection to it.

`multiprocessing` would start another process beside it, which counts what processes share, and would run the
script that called this program once more in each. Of it, only the connection is used.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable
from multiprocessing import connection
from typing import Any

from itk_infer.errors import ModelError
from itk_infer.system import blocked_signals

CODE = "import sys; sys.path[:] = {path}; from itk_infer.executors.child import called; called({handle})"


class Child:
    """A process that calls a function, and ends when that returns.

    `STOP_SIGNALS` are blocked in it until it ignores them.

    Args:
        function: Called with a connection to this process and the arguments; as these, it can be pickled.
        arguments: The other arguments.

    Attributes:
        link: The connection.

    Raises:
        ModelError: this user may not execute Python.
    """

    def __init__(self, function: Callable[..., None], *arguments: Any) -> None:
        self.link, theirs = connection.Pipe()
        try:
            self._process = _started(theirs.fileno())
        except PermissionError as error:
            self.link.close()
            raise ModelError(
                "the model cannot be loaded: its worker process could not be started, since "
                f"{sys.executable} cannot be executed by this user"
            ) from error
        finally:
            theirs.close()  # otherwise the end of the process would not be noticed
        with contextlib.suppress(OSError):  # it has ended already, and its exit code says why
            self.link.send((function, arguments))

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    @property
    def exit_code(self) -> int | None:
        """None while it runs; negative: the signal that ended it."""
        return self._process.poll()

    def wait(self, seconds: float) -> None:
        """Wait for its end, but not longer than that."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(seconds)

    def end(self) -> None:
        """Kill it, unless it has ended."""
        self._process.kill()
        self._process.wait()


def _started(handle: int) -> subprocess.Popen[bytes]:
    # The search path is the same, before anything of this program is imported.
    path = ascii([entry for entry in sys.path if isinstance(entry, str)])
    flags = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]
    words = [sys.executable, *flags, "-c", CODE.format(path=path, handle=handle)]
    with blocked_signals():
        if sys.platform == "win32":
            os.set_handle_inheritable(handle, True)
            startup = subprocess.STARTUPINFO(lpAttributeList={"handle_list": [handle]})
            return subprocess.Popen(words, stdin=subprocess.DEVNULL, startupinfo=startup)
        return subprocess.Popen(words, stdin=subprocess.DEVNULL, pass_fds=(handle,))


def called(handle: int) -> None:
    """Call the function that the parent sends; what a `Child` does."""
    link = getattr(connection, "PipeConnection", connection.Connection)(handle)  # the former on Windows
    try:
        function, arguments = link.recv()
    except (EOFError, OSError):
        return  # the parent has ended
    function(link, *arguments)
