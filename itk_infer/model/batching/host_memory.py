"""What this process holds of the machine's memory, and what is left of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

STATUS, MEMINFO = Path("/proc/self/status"), Path("/proc/meminfo")
CGROUP = Path("/sys/fs/cgroup")


@dataclass(frozen=True, slots=True)
class HostMemory:
    """Bytes.

    Attributes:
        resident: What this process has in memory.
        peak: The most it ever had.
        spare: What it could still take without swapping, or leaving its container.
    """

    resident: int
    peak: int
    spare: int


def host_memory() -> HostMemory | None:
    """As of now; None where the system does not tell (only Linux does)."""
    try:
        own, machine = _sizes(STATUS), _sizes(MEMINFO)
        return HostMemory(own["VmRSS"], own["VmHWM"], int(min(machine["MemAvailable"], _quota())))
    except (OSError, KeyError, ValueError):
        return None


def _sizes(path: Path) -> dict[str, int]:
    lines = (line.split() for line in path.read_text().splitlines())
    return {words[0].rstrip(":"): 1024 * int(words[1]) for words in lines if words[-1:] == ["kB"]}


def _quota() -> float:
    """What the container may still take; infinity without a limit."""
    try:
        limit = (CGROUP / "memory.max").read_text().strip()
        return float("inf") if limit == "max" else int(limit) - int((CGROUP / "memory.current").read_text())
    except (OSError, ValueError):
        return float("inf")
