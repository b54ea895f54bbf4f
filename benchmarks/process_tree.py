"""A command run to its end, with the memory of all its processes watched (Linux).

Memory is the sum of the proportional set sizes (PSS) of the command and of everything it started: a page
that several processes share counts once. Counting it walks page tables and costs the processes time, so
ten times a second private memory is looked up, which is cheap, and PSS is counted when that has grown or
processes have come or gone, and else as often as takes a hundredth of the time.
"""

from __future__ import annotations

import os
import resource
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

INTERVAL = 0.1  # seconds
GROWN = 1.01  # private memory, since the last count
REST = 100  # times as long as a count takes, until the next at the latest


@dataclass(frozen=True, slots=True)
class Ended:
    """A command that has ended.

    Attributes:
        code: Its exit code.
        seconds: From its start to its end.
        peak_mib: Largest memory of the process tree.
        lines: What it wrote to stdout and stderr: seconds since the start, and the line.
        cpu_seconds: Of it and of all processes that it started and waited for.
    """

    code: int
    seconds: float
    peak_mib: float
    lines: tuple[tuple[float, str], ...]
    cpu_seconds: float = 0.0

    @property
    def text(self) -> str:
        return "\n".join(line for _, line in self.lines)

    def first(self, wanted: Callable[[str], bool]) -> float | None:
        """Seconds until the first line that is wanted."""
        return next((seconds for seconds, line in self.lines if wanted(line)), None)


def family(root: int) -> list[int]:
    """`root`, its living descendants, and orphans of its session."""
    parents: dict[int, tuple[int, int]] = {}
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            try:
                stat = Path(entry.path, "stat").read_text()
            except OSError:
                continue  # it has ended
            fields = stat[stat.rindex(")") + 2 :].split()
            if fields[0] != "Z":
                parents[int(entry.name)] = (int(fields[1]), int(fields[3]))
    found = {root}
    while True:
        more = {p for p, (parent, session) in parents.items() if parent in found or session == root} - found
        if not more:
            return sorted(found)
        found |= more


def private_bytes(processes: Sequence[int]) -> int:
    """Resident memory that is neither file nor shared memory; cheap."""
    total, page = 0, os.sysconf("SC_PAGE_SIZE")
    for process in processes:
        try:
            fields = Path(f"/proc/{process}/statm").read_text().split()
        except OSError:
            continue
        total += (int(fields[1]) - int(fields[2])) * page
    return total


def proportional_bytes(processes: Sequence[int]) -> int:
    """Sum of PSS."""
    total = 0
    for process in processes:
        try:
            lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        total += next((int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:")), 0)
    return total


def run_watched(command: Sequence[object], *, env: dict[str, str] | None = None, cwd: Path | None = None) -> Ended:
    """Run a command in a session of its own; wait for its end."""
    start, used = time.perf_counter(), _children()
    process = subprocess.Popen(
        [str(word) for word in command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=env,
        cwd=cwd,
        start_new_session=True,
    )
    lines: list[tuple[float, str]] = []
    reader = threading.Thread(target=_read, args=(process, start, lines), daemon=True)
    reader.start()
    end: list[float] = []
    over = threading.Event()

    def wait() -> None:
        process.wait()  # without a timeout: one would look only every 50 ms
        end.append(time.perf_counter())
        over.set()

    threading.Thread(target=wait, daemon=True).start()
    peak, height, due, before = 0, 0, 0.0, []
    while True:
        members = family(process.pid)
        private = private_bytes(members)
        now = time.perf_counter()
        # A process that has just been forked seems to hold its parent's memory; once it is gone, start anew.
        if members != before or private > height * GROWN or now > due:
            height = private
            peak = max(peak, proportional_bytes(members))
            due = now + REST * (time.perf_counter() - now)
        before = members
        if over.wait(INTERVAL):
            break
    reader.join(5)  # something left behind may hold its end of the pipe
    return Ended(process.returncode, end[0] - start, peak / 2**20, tuple(lines), _children() - used)


def _children() -> float:
    """CPU seconds of all children so far that were waited for, and of theirs."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _read(process: subprocess.Popen[bytes], start: float, lines: list[tuple[float, str]]) -> None:
    """Lines with their times; a progress bar's updates, which end in a carriage return, are lines, too."""
    rest = b""
    with process.stdout as stream:
        while piece := os.read(stream.fileno(), 65536):
            now = time.perf_counter() - start
            *whole, rest = (rest + piece).replace(b"\r", b"\n").split(b"\n")
            lines.extend((now, line.decode(errors="replace")) for line in whole if line)
    if rest:
        lines.append((time.perf_counter() - start, rest.decode(errors="replace")))
