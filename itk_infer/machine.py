"""Memory and cores that this process may use, within the limits of the machine, its container and its shell.

Linux reports all of them. On other systems only the machine's cores and, where it is known, its memory count.
Functions take the root of the file system as an argument, for tests.
"""

from __future__ import annotations

import math
import os
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from itk_infer.errors import InputError

MIB = 2**20
ROOT = Path("/")
# Files of control groups, versions 2 and 1: the limit, and what is in use.
LIMITS = ("memory.max", "memory.high", "memory.limit_in_bytes")
USAGES = ("memory.current", "memory.usage_in_bytes")
RECLAIMABLE = ("inactive_file", "total_inactive_file")  # of memory.stat: files that are only cached
_RAN_OUT = re.compile(r"cannot allocate memory(?! in static)|failed to map segment|bad[_ ]alloc", re.IGNORECASE)
_MEMBER = re.compile(r"^\d+:([^:]*):(.+)$", re.MULTILINE)
_MOUNT = re.compile(r"^(?:\S+ ){3}(\S+) (\S+) .* - (cgroup2?) \S+ (\S+)$", re.MULTILINE)
_ESCAPED = re.compile(r"\\([0-7]{3})")  # spaces, in the names of mount points


@dataclass(frozen=True, slots=True)
class MemoryBound:
    """The memory that this process may still allocate.

    Attributes:
        bytes: Number of bytes.
        source: What sets the bound, as the end of a sentence: "... more than the 12 MiB" and then this.
    """

    bytes: int
    source: str

    def __str__(self) -> str:
        return f"{self.bytes / MIB:,.0f} MiB {self.source}"

    def check(self, needed: int, purpose: str, remedy: str) -> None:
        """Raise an error for a need beyond the bound.

        Args:
            needed: Bytes needed.
            purpose: What for, as a part of the sentence: "would need about 12 MiB of memory" and then this.
            remedy: What the user can do.

        Raises:
            InputError: `needed` is larger than the bound; the message holds the numbers, the source and `remedy`.
        """
        if needed > self.bytes:
            raise InputError(
                f"would need about {needed / MIB:,.0f} MiB of memory {purpose}, more than the {self}: {remedy}"
            )


@dataclass(frozen=True, slots=True)
class HostMemory:
    """Memory of this process and of the system, in bytes.

    Attributes:
        resident: Resident memory of this process.
        peak: Its maximum so far.
        spare: Memory that this process can still allocate without swapping or exceeding a limit.
    """

    resident: int
    peak: int
    spare: int


def memory_bound(root: Path = ROOT, later: Mapping[str, int] | None = None) -> MemoryBound | None:
    """The tightest limit among the machine, this process's control groups and ``ulimit``, minus what it uses.

    Memory in use by other processes is not subtracted, because they may free it. None where no limit is known.

    Args:
        root: Root of the file system.
        later: Bytes that libraries will take once they are loaded, by key of ``/proc/self/status``.
    """
    own = _own_memory(root)
    own |= {key: own[key] + more for key, more in (later or {}).items() if key in own}
    held = own.get("RssAnon", own.get("VmRSS", 0))
    limits = [(limit, held, f"the limit of its container or job ({path})") for path, limit in _limits(root)]
    total = _machine_memory(root)
    if total is not None:
        limits.append((total, held, "this machine"))
    limits += [(limit, used, flag) for flag, limit, used in _ulimits(own)]
    bounds = [
        MemoryBound(max(0, limit - used), f"that {source} leaves of {limit / MIB:,.0f} MiB")
        for limit, used, source in limits
    ]
    return min(bounds, key=lambda bound: bound.bytes, default=None)


def host_memory(root: Path = ROOT) -> HostMemory | None:
    """The current memory of this process and of the system; None except on Linux."""
    own, machine = _own_memory(root), _sizes(root / "proc/meminfo")
    try:
        spare = [machine["MemAvailable"], *_spare(root), *(limit - used for _, limit, used in _ulimits(own))]
        return HostMemory(own["VmRSS"], own["VmHWM"], max(0, min(spare)))
    except KeyError:
        return None


def ran_out(error: BaseException) -> bool:
    """Whether an error means that this process could not allocate memory, also while a library is loaded."""
    return isinstance(error, MemoryError) or _RAN_OUT.search(f"{error}") is not None


def shortage(what: str) -> str:
    """The message for an error for which `ran_out` is true; `what` names what the memory was for."""
    bound = memory_bound()
    return f"not enough memory for {what}" + ("" if bound is None else f" within the {bound}")


def usable_cores(root: Path = ROOT) -> int:
    """Cores this process may use, by its affinity and its container's quota (libraries count the machine's)."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([cores, *(math.ceil(quota) for quota in _quotas(root))]))


def _machine_memory(root: Path) -> int | None:
    sizes = _sizes(root / "proc/meminfo")
    if "MemTotal" in sizes:
        return sizes["MemTotal"]
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None


def _own_memory(root: Path) -> dict[str, int]:
    return _sizes(root / "proc/self/status")


def _sizes(path: Path) -> dict[str, int]:
    lines = (line.split() for line in _text(path).splitlines())
    return {
        words[0].rstrip(":"): 1024 * int(words[1])
        for words in lines
        if words[-1:] == ["kB"] and words[1].isdecimal()
    }


def _ulimits(own: dict[str, int]) -> list[tuple[str, int, int]]:
    """Flag of ``ulimit``, bytes allowed, and bytes used; only those that are set."""
    if sys.platform != "linux":  # others do not enforce them
        return []
    import resource

    kinds = (("ulimit -v", resource.RLIMIT_AS, "VmSize"), ("ulimit -d", resource.RLIMIT_DATA, "VmData"))
    limits = ((flag, resource.getrlimit(kind)[0], own.get(key, 0)) for flag, kind, key in kinds)
    return [(flag, limit, used) for flag, limit, used in limits if limit != resource.RLIM_INFINITY]


# --- control groups: https://docs.kernel.org/admin-guide/cgroup-v2.html and .../cgroup-v1/memory.html -----------


def _limits(root: Path) -> Iterator[tuple[Path, int]]:
    """Every control group's memory limit for this process, and the file that holds it."""
    for folder in _groups(root, "memory"):
        for name in LIMITS:
            limit = _number(folder / name)
            if limit is not None:
                yield _seen(folder / name, root), limit
    for folder in _groups(
        root, "memory"
    ):  # version 1 also reports limits of parent groups that cannot be seen from inside
        limit = _statistics(folder).get("hierarchical_memory_limit")
        if limit is not None:
            yield _seen(folder / "memory.stat", root), limit


def _spare(root: Path) -> Iterator[int]:
    """Bytes that each limited control group has left."""
    for folder in _groups(root, "memory"):
        limits = [limit for name in LIMITS if (limit := _number(folder / name)) is not None]
        used = next((usage for name in USAGES if (usage := _number(folder / name)) is not None), None)
        if limits and used is not None:
            statistics = _statistics(folder)
            cached = next((statistics[key] for key in reversed(RECLAIMABLE) if key in statistics), 0)
            yield min(limits) - max(0, used - cached)


def _quotas(root: Path) -> Iterator[float]:
    """CPU quota of each control group, in cores."""
    for folder in _groups(root, "cpu"):
        words = _text(folder / "cpu.max").split()  # quota and period in microseconds
        if not words:
            words = [_text(folder / f"cpu.cfs_{name}_us").strip() for name in ("quota", "period")]
        if len(words) == 2 and all(word.isdecimal() for word in words) and int(words[1]):  # else "max", or -1
            yield int(words[0]) / int(words[1])


def _groups(root: Path, controller: str) -> Iterator[Path]:
    """Folders of the control groups of this process: its own, then the parents that can be seen."""
    paths: dict[str, str] = {}
    for names, path in _MEMBER.findall(_text(root / "proc/self/cgroup")):
        paths.update(dict.fromkeys(names.split(","), path))  # version 2 has no names
    for *words, kind, options in _MOUNT.findall(_text(root / "proc/self/mountinfo")):
        if kind == "cgroup" and controller not in options.split(","):
            continue
        top, point = (_ESCAPED.sub(lambda code: chr(int(code[1], 8)), word) for word in words)
        own = paths.get(controller if kind == "cgroup" else "")
        mounted = root / point.lstrip("/")
        yield from _upwards(mounted, "." if own is None else _below(own, top))


def _below(own: str, top: str) -> str:
    """A group's path relative to the mounted one; ``.`` where the group lies outside of the mounted tree."""
    path = os.path.relpath(own, top)
    return "." if path.startswith("..") or own.startswith("/..") or top.startswith("/..") else path


def _upwards(mounted: Path, path: str) -> Iterator[Path]:
    folder = mounted / path
    while True:
        yield folder
        if folder == mounted:
            return
        folder = folder.parent


def _statistics(folder: Path) -> dict[str, int]:
    lines = (line.split() for line in _text(folder / "memory.stat").splitlines())
    return {words[0]: int(words[1]) for words in lines if len(words) == 2 and words[1].isdecimal()}


def _number(path: Path) -> int | None:
    text = _text(path).strip()
    return int(text) if text.isdecimal() else None  # "max" is no limit


def _text(path: Path) -> str:
    """The content of a file; empty where it cannot be read."""
    try:
        return path.read_text("utf-8", "replace")
    except OSError:
        return ""


def _seen(path: Path, root: Path) -> Path:
    return ROOT / path.relative_to(root)
