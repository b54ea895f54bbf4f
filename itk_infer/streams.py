"""The standard streams, made safe: a closed one leads nowhere, and one that cannot be written stops no work."""

from __future__ import annotations

import errno
import io
import os
import select
import sys
from typing import Any, TextIO


def open_missing_streams() -> None:
    """Open the null device as every standard stream that is closed.

    Otherwise the next file, such as the ledger, would get its number, and receive what a library prints.
    """
    for number, mode in enumerate((os.O_RDONLY, os.O_WRONLY, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, mode), True)  # gets the lowest free number, which is this one


def forgive_streams() -> None:
    """Have writing to `sys.stdout` and `sys.stderr` never raise, for programs of which they are not the work.

    Call `open_missing_streams` first. What was lost, `lost_output` tells.
    """
    sys.stdin = sys.stdin or os.fdopen(0, closefd=False)
    sys.stdout, sys.stderr = _forgiving(sys.stdout, 1), _forgiving(sys.stderr, 2)


def lost_output() -> str:
    """Why standard output could not be written to its end; empty if it was, or its reader wanted no more."""
    raw = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    error = raw.error if isinstance(raw, _Forgiving) else None
    return "" if error is None or error.errno == errno.EPIPE else error.strerror or str(error)


class _Forgiving(io.RawIOBase):
    """The raw file of a stream, whose first error of writing ends it and is kept.

    Args:
        stream: The stream; kept, because it closes its file with its own end.

    Attributes:
        name: Of the file.
        error: What went wrong; None so far.
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
        """Of the file."""
        return int(self._raw.fileno())

    def isatty(self) -> bool:
        """Whether the file is a terminal."""
        return bool(self._raw.isatty())

    def write(self, data: Any) -> int:
        """Write, or forget."""
        if self.error is None:
            try:
                written = self._raw.write(data)
                while written is None:  # another program made the pipe non-blocking, and it is full
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
