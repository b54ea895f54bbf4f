"""Safe standard streams: closed ones are opened to the null device, and errors of writing do not stop the run."""

from __future__ import annotations

import errno
import io
import os
import select
import sys
from typing import Any, TextIO


def open_missing_streams() -> None:
    """Open the null device as every standard stream that is closed.

    Otherwise the next file opened, such as the ledger, would get the number of the stream, and what a library
    prints would be written into it.
    """
    for number, mode in enumerate((os.O_RDONLY, os.O_WRONLY, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(
                os.open(os.devnull, mode), True
            )  # `os.open` takes the lowest free number, which is this one


def forgive_streams() -> None:
    """Make writing to `sys.stdout` and `sys.stderr` never raise, for programs whose results are files.

    Call `open_missing_streams` first. `lost_output` returns the error that occurred, if any.
    """
    sys.stdin = sys.stdin or os.fdopen(0, closefd=False)
    sys.stdout, sys.stderr = _forgiving(sys.stdout, 1), _forgiving(sys.stderr, 2)


def lost_output() -> str:
    """Why standard output is incomplete; empty if all was written, or if its reader closed the pipe."""
    raw = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    error = raw.error if isinstance(raw, _Forgiving) else None
    return "" if error is None or error.errno == errno.EPIPE else error.strerror or str(error)


class _Forgiving(io.RawIOBase):
    """A raw file that keeps the first error of writing and discards everything after it.

    Args:
        stream: The stream whose file is written; kept here, because it closes its file when it is deleted.

    Attributes:
        name: Name of the file.
        error: The first error of writing; None if there was none.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._raw: Any = getattr(stream.buffer, "raw", stream.buffer)
        self.name = self._raw.name
        self.error: OSError | None = None

    def writable(self) -> bool:
        """Always."""
        return True

    def fileno(self) -> int:
        """Descriptor of the file."""
        return int(self._raw.fileno())

    def isatty(self) -> bool:
        """Whether the file is a terminal."""
        return bool(self._raw.isatty())

    def write(self, data: Any) -> int:
        """Write the data; discard it once an error has occurred."""
        if self.error is None:
            try:
                written = self._raw.write(data)
                while written is None:  # the pipe is full, and another program has made it non-blocking
                    select.select((), (self.fileno(),), ())
                    written = self._raw.write(data)
                return int(written)
            except OSError as error:
                self.error = error
        return memoryview(data).nbytes


def _forgiving(stream: TextIO | None, number: int) -> TextIO:
    if stream is None:  # it was closed when Python started
        stream = os.fdopen(number, "w", encoding="utf-8", errors="backslashreplace", closefd=False)
    if not isinstance(stream, io.TextIOWrapper):
        return stream
    return io.TextIOWrapper(
        io.BufferedWriter(_Forgiving(stream)),
        encoding=stream.encoding,
        errors=stream.errors,
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )
