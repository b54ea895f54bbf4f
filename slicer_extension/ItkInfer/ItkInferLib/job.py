"""A program that runs beside Slicer: started, read from, and stopped with all its children. Needs no Qt."""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import subprocess
import threading
import time
from typing import IO, Any, Dict, List, Optional, Sequence, Tuple

WINDOWS = os.name == "nt"
# Longer lines are returned in pieces, so that output without line breaks does not fill the memory.
LONGEST_LINE = 1 << 20
# Lines that are kept for `poll`; a program that prints more waits.
WAITING_LINES = 4096
# Seconds after the end of a program, and after its last line, that a child may keep its output open.
LINGER_S = 1.0

Line = Tuple[str, str]


class StartError(OSError):
    """The program could not be started; the message is one sentence for the user."""


class Job:
    """One run of a program, in a process group of its own.

    Two threads read its output. The owner calls `poll` regularly, which returns the lines and completes a
    cancellation. No method waits for the program.

    Args:
        argv: The command.
        environment: Its whole environment.
        folder: Its working folder.
        patience_s: Seconds between the request to end and the kill of all processes.

    Raises:
        StartError: there is no such program, or it cannot be run.
    """

    def __init__(
        self,
        argv: Sequence[str],
        environment: Optional[Dict[str, str]] = None,
        folder: Optional[str] = None,
        patience_s: float = 2.0,
    ) -> None:
        self.argv = list(argv)
        self.cancelled = False
        self.killed = False
        self._patience_s = patience_s
        self._kill_at = 0.0
        self._ended_at: Optional[float] = None
        self._heard_at = 0.0
        self._lines: "queue.Queue[Line]" = queue.Queue(WAITING_LINES)
        try:
            self._process = subprocess.Popen(
                self.argv,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=environment,
                cwd=folder,
                **_own_group(),
            )
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise StartError("%s cannot be started: %s." % (self.argv[0], reason)) from None
        self._readers = [
            threading.Thread(target=self._read, args=(name, stream), name="read " + name, daemon=True)
            for name, stream in (("stdout", self._process.stdout), ("stderr", self._process.stderr))
        ]
        for reader in self._readers:
            reader.start()

    @property
    def pid(self) -> int:
        """Id of the process, which is also the id of its group."""
        return self._process.pid

    @property
    def exit_code(self) -> Optional[int]:
        """None until the program has ended and `poll` has returned all its output; negative: ended by a signal."""
        # In this order: a reader that has ended adds no more lines.
        if self._ended_at is None or self._reading() or not self._lines.empty():
            return None
        return self._process.returncode

    def poll(self, max_lines: int = 500) -> List[Line]:
        """Lines printed since the last call.

        Args:
            max_lines: Maximum number of lines, so that much output does not block the owner.

        Returns:
            Pairs of ``stdout`` or ``stderr`` and a line without its end.
        """
        now = time.monotonic()
        if self._process.poll() is not None and self._ended_at is None:
            self._ended_at = now
            if self.cancelled:
                _signal_tree(self._process, forcibly=True)
        lines: List[Line] = []
        while len(lines) < max_lines:
            try:
                lines.append(self._lines.get_nowait())
            except queue.Empty:
                break
        if lines:
            self._heard_at = now
        if self._ended_at is None:
            if self.cancelled and not self.killed and now >= self._kill_at:
                self.killed = True
                _signal_tree(self._process, forcibly=True)
        elif self._reading() and now - max(self._ended_at, self._heard_at) > LINGER_S:
            # A child outlived the program and holds its pipes.
            _signal_tree(self._process, forcibly=True)
            self._readers = []
        return lines

    def cancel(self) -> None:
        """Ask the program and its children to end; `poll` kills those that do not end in time."""
        if self.cancelled or self._ended_at is not None:
            return
        self.cancelled = True
        self.killed = WINDOWS
        self._kill_at = time.monotonic() + self._patience_s
        _signal_tree(self._process, forcibly=False)

    def kill(self) -> None:
        """Kill the program and its children at once; used when Slicer closes."""
        if self._ended_at is None:
            self.cancelled = self.killed = True
            _signal_tree(self._process, forcibly=True)

    def _reading(self) -> bool:
        return any(reader.is_alive() for reader in self._readers)

    def _read(self, name: str, stream: IO[bytes]) -> None:
        rest = b""
        with stream:
            while True:
                piece = os.read(stream.fileno(), 1 << 16)
                if not piece:
                    break
                # Progress bars end their lines with a carriage return.
                *whole, rest = (rest + piece).replace(b"\r", b"\n").split(b"\n")
                for line in whole:
                    self._queue_line(name, line)
                if len(rest) >= LONGEST_LINE:
                    self._queue_line(name, rest[:LONGEST_LINE])
                    rest = rest[LONGEST_LINE:]
            self._queue_line(name, rest)

    def _queue_line(self, name: str, line: bytes) -> None:
        for start in range(0, len(line), LONGEST_LINE):
            text = line[start : start + LONGEST_LINE].decode("utf-8", errors="replace")
            if text.strip():
                self._lines.put((name, text))


def _own_group() -> Dict[str, Any]:
    if WINDOWS:
        # CREATE_NEW_PROCESS_GROUP and CREATE_NO_WINDOW, which Python defines on Windows only.
        return {"creationflags": 0x00000200 | 0x08000000}
    return {"start_new_session": True}


def _signal_tree(process: "subprocess.Popen[bytes]", forcibly: bool) -> None:
    """Ask a program and all its children to end, or kill them."""
    if WINDOWS:
        # A program without a console receives no Ctrl-Break, so it can only be killed.
        command = ["taskkill", "/PID", str(process.pid), "/T", "/F"]
        subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **_own_group())
        return
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL if forcibly else signal.SIGTERM)
