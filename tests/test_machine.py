"""Memory and cores within the limits of containers, jobs and shells: made-up trees of files, and real limits."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from itk_infer.errors import InputError
from itk_infer.machine import (
    MIB,
    HostMemory,
    MemoryBound,
    host_memory,
    memory_bound,
    ran_out,
    usable_cores,
)

linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has control groups and enforces ulimit -v")
GIB = 2**30
NEVER = str(2**63 - 4096)  # how version 1 says that there is no limit

V2 = "30 23 0:26 {top} {point} ro,nosuid shared:4 - cgroup2 cgroup rw,nsdelegate\n"
V1 = "33 32 0:30 {top} {point} ro,nosuid - cgroup cgroup rw,{names}\n"


class Machine:
    """A root folder: 8 GiB, of which 6 are available; this process has 1 GiB, of which 256 MiB are its own."""

    def __init__(self, root: Path):
        self.root = root
        self.write("proc/meminfo", f"MemTotal: {8 * 2**20} kB\nMemAvailable: {6 * 2**20} kB\nHugePages_Total: 0\n")
        self.write(
            "proc/self/status",
            "Name:\tx\nVmPeak:\t 9 kB\nVmSize:\t 4194304 kB\nVmHWM:\t 2097152 kB\nVmRSS:\t 1048576 kB\n"
            "RssAnon:\t 262144 kB\nVmData:\t 524288 kB\nThreads:\t1\n",
        )

    def write(self, path: str, text: object) -> None:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{text}\n")

    def group(self, cgroup: str, mountinfo: str, **files: object) -> Machine:
        """Membership, mounts, and files, of which each name has __ for a slash and _dot_ for a dot."""
        self.write("proc/self/cgroup", cgroup)
        self.write("proc/self/mountinfo", "22 1 8:1 / / rw - ext4 /dev/sda1 rw\n" + mountinfo)
        for name, text in files.items():
            self.write(name, text)
        return self

    @property
    def limit(self) -> tuple[str, int] | None:
        """The limit that counts, in MiB, and the file that sets it."""
        found = re.search(r"\((.+)\) leaves of ([\d,]+) MiB", memory_bound(self.root).source)
        return None if found is None else (found[1], int(found[2].replace(",", "")))


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path)


def test_without_limits_the_machine_counts(machine):
    assert memory_bound(machine.root) == MemoryBound(8 * GIB - 256 * MIB, "that this machine leaves of 8,192 MiB")
    assert host_memory(machine.root) == HostMemory(GIB, 2 * GIB, 6 * GIB)


def test_what_libraries_will_take_is_not_left(machine):
    bound = memory_bound(machine.root, {"RssAnon": 32 * MIB, "VmSize": 280 * MIB, "Unknown": GIB})
    assert bound == MemoryBound(8 * GIB - 288 * MIB, "that this machine leaves of 8,192 MiB")


def test_where_the_system_tells_nothing_there_is_no_bound(tmp_path, monkeypatch):
    monkeypatch.delattr(os, "sysconf", raising=False)
    assert memory_bound(tmp_path) is None
    assert host_memory(tmp_path) is None
    assert usable_cores(tmp_path) >= 1


# For each: /proc/self/cgroup, mounts, files that hold a number of MiB or words, and the file that counts.
TREES = {
    "a container with its own namespace": (
        "0::/",
        V2.format(top="/", point="/sys/fs/cgroup"),
        {"sys/fs/cgroup/memory.max": 512},
        ("/sys/fs/cgroup/memory.max", 512),
    ),
    "no limit at all": (
        "0::/a",
        V2.format(top="/", point="/sys/fs/cgroup"),
        {"sys/fs/cgroup/a/memory.max": "max", "sys/fs/cgroup/a/memory.high": "max"},
        None,
    ),
    "a job of SLURM: its step has no limit, the job has": (
        "0::/system.slice/slurmstepd.scope/job_7/step_0/user/task_0",
        V2.format(top="/", point="/sys/fs/cgroup"),
        {
            "sys/fs/cgroup/system.slice/slurmstepd.scope/job_7/memory.max": 700,
            "sys/fs/cgroup/system.slice/slurmstepd.scope/job_7/step_0/memory.max": "max",
            "sys/fs/cgroup/system.slice/slurmstepd.scope/job_7/step_0/user/task_0/memory.max": "max",
            "sys/fs/cgroup/system.slice/memory.max": 900,
        },
        ("/sys/fs/cgroup/system.slice/slurmstepd.scope/job_7/memory.max", 700),
    ),
    "memory.high throttles before memory.max": (
        "0::/a",
        V2.format(top="/", point="/sys/fs/cgroup"),
        {"sys/fs/cgroup/a/memory.max": 512, "sys/fs/cgroup/a/memory.high": 300},
        ("/sys/fs/cgroup/a/memory.high", 300),
    ),
    "mounted elsewhere, with a space": (
        "0::/a",
        V2.format(top="/", point=r"/run/my\040groups"),
        {"run/my groups/a/memory.max": 512},
        ("/run/my groups/a/memory.max", 512),
    ),
    "only a part of the tree is mounted": (
        "0::/kubepods/pod1/c1",
        V2.format(top="/kubepods/pod1", point="/sys/fs/cgroup"),
        {"sys/fs/cgroup/c1/memory.max": 512, "sys/fs/cgroup/memory.max": 400},
        ("/sys/fs/cgroup/memory.max", 400),
    ),
    "the process was moved out of its namespace": (
        "0::/../elsewhere",
        V2.format(top="/", point="/sys/fs/cgroup"),
        {"sys/fs/cgroup/memory.max": 512},
        ("/sys/fs/cgroup/memory.max", 512),
    ),
    "the mount lies above the namespace": (
        "0::/",
        V2.format(top="/../..", point="/sys/fs/cgroup"),
        {"sys/fs/cgroup/memory.max": 512},
        ("/sys/fs/cgroup/memory.max", 512),
    ),
    "version 1, as Docker had it": (
        "11:cpu,cpuacct:/docker/abc\n9:memory:/docker/abc\n1:name=systemd:/docker/abc",
        V1.format(top="/docker/abc", point="/sys/fs/cgroup/memory", names="memory")
        + V1.format(top="/docker/abc", point="/sys/fs/cgroup/cpu,cpuacct", names="cpu,cpuacct"),
        {"sys/fs/cgroup/memory/memory.limit_in_bytes": 512},
        ("/sys/fs/cgroup/memory/memory.limit_in_bytes", 512),
    ),
    "version 1 without a limit": (
        "9:memory:/",
        V1.format(top="/", point="/sys/fs/cgroup/memory", names="memory"),
        {"sys/fs/cgroup/memory/memory.limit_in_bytes": NEVER},
        None,
    ),
    "version 1, the limit of a group above": (
        "9:memory:/a/b",
        V1.format(top="/", point="/sys/fs/cgroup/memory", names="memory"),
        {
            "sys/fs/cgroup/memory/a/memory.limit_in_bytes": 400,
            "sys/fs/cgroup/memory/a/b/memory.limit_in_bytes": 512,
            "sys/fs/cgroup/memory/a/b/memory.stat": f"cache 1\nhierarchical_memory_limit {400 * MIB}",
        },
        ("/sys/fs/cgroup/memory/a/memory.limit_in_bytes", 400),
    ),
    "version 1, the limit of a group above that cannot be seen": (
        "9:memory:/a/b",
        V1.format(top="/a/b", point="/sys/fs/cgroup/memory", names="memory"),
        {
            "sys/fs/cgroup/memory/memory.limit_in_bytes": 512,
            "sys/fs/cgroup/memory/memory.stat": f"cache 1\nhierarchical_memory_limit {300 * MIB}",
        },
        ("/sys/fs/cgroup/memory/memory.stat", 300),
    ),
    "both versions; memory is in version 1": (
        "9:memory:/a\n0::/b",
        V1.format(top="/", point="/sys/fs/cgroup/memory", names="memory")
        + V2.format(top="/", point="/sys/fs/cgroup/unified"),
        {"sys/fs/cgroup/memory/a/memory.limit_in_bytes": 512, "sys/fs/cgroup/unified/b/cgroup.procs": "1"},
        ("/sys/fs/cgroup/memory/a/memory.limit_in_bytes", 512),
    ),
}


def files_of(contents):
    return {path: value * MIB if isinstance(value, int) else value for path, value in contents.items()}


@pytest.mark.parametrize("name", TREES)
def test_the_limit_that_counts_is_found_and_named(machine, name):
    cgroup, mounts, contents, expected = TREES[name]
    machine.group(cgroup, mounts, **files_of(contents))
    assert machine.limit == expected
    if expected is not None:
        assert memory_bound(machine.root).bytes == (expected[1] - 256) * MIB


def test_a_limit_below_what_is_held_leaves_nothing(machine):
    machine.group("0::/", V2.format(top="/", point="/c"), **{"c/memory.max": 100 * MIB})
    assert memory_bound(machine.root).bytes == 0


@pytest.mark.parametrize(
    ("files", "spare"),
    [
        ({"c/a/memory.max": 3 * GIB, "c/a/memory.current": GIB}, 2 * GIB),
        ({"c/a/memory.max": 3 * GIB, "c/a/memory.current": GIB, "c/a/memory.stat": f"inactive_file {GIB // 2}"}, 5 * GIB // 2),
        ({"c/memory.max": 3 * GIB, "c/memory.current": 2 * GIB, "c/a/memory.max": "max", "c/a/memory.current": 5}, GIB),
        ({"c/a/memory.max": GIB, "c/a/memory.current": 2 * GIB}, 0),
        ({"c/a/memory.max": "max", "c/a/memory.current": GIB}, 6 * GIB),
        ({"c/a/memory.max": 30 * GIB, "c/a/memory.current": GIB}, 6 * GIB),
    ],
    ids=["limit less usage", "cached files can go", "a group above", "passed", "no limit", "the machine has less"],
)  # fmt: skip
def test_what_is_spare(machine, files, spare):
    machine.group("0::/a", V2.format(top="/", point="/c"), **files)
    assert host_memory(machine.root).spare == spare


def test_what_is_spare_in_version_1(machine):
    files = {
        "c/memory.limit_in_bytes": 3 * GIB,
        "c/memory.usage_in_bytes": 2 * GIB,
        "c/memory.stat": f"inactive_file 5\ntotal_inactive_file {GIB}",
    }
    machine.group("9:memory:/", V1.format(top="/", point="/c", names="memory"), **files)
    assert host_memory(machine.root).spare == 2 * GIB


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="needs an affinity to stand for a machine")
@pytest.mark.parametrize(
    ("cgroup", "mounts", "files", "cores"),
    [
        ("0::/", V2.format(top="/", point="/c"), {"c/cpu.max": "max 100000"}, 8),
        ("0::/", V2.format(top="/", point="/c"), {"c/cpu.max": "50000 100000"}, 1),
        ("0::/", V2.format(top="/", point="/c"), {"c/cpu.max": "250000 100000"}, 3),
        ("0::/a", V2.format(top="/", point="/c"), {"c/cpu.max": "200000 100000", "c/a/cpu.max": "max 100000"}, 2),
        ("0::/", V2.format(top="/", point="/c"), {"c/cpu.max": "6400000 100000"}, 8),
        (
            "4:cpu,cpuacct:/a",
            V1.format(top="/a", point="/c", names="cpuacct,cpu"),
            {"c/cpu.cfs_quota_us": "200000", "c/cpu.cfs_period_us": "100000"},
            2,
        ),
        (
            "4:cpu:/a",
            V1.format(top="/", point="/c", names="cpu"),
            {"c/a/cpu.cfs_quota_us": "-1", "c/a/cpu.cfs_period_us": "100000"},
            8,
        ),
    ],
    ids=["no quota", "half a core", "two and a half", "of a group above", "more than there are", "version 1", "version 1 without"],
)  # fmt: skip
def test_cores_of_a_container(machine, monkeypatch, cgroup, mounts, files, cores):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)))
    machine.group(cgroup, mounts, **files)
    assert usable_cores(machine.root) == cores


def test_a_refusal_has_numbers_source_and_remedy():
    bound = MemoryBound(GIB, "that ulimit -v leaves of 2,048 MiB")
    bound.check(GIB, "to be read", "give it more")
    with pytest.raises(
        InputError, match="about 2,048 MiB of memory to be read, more than the 1,024 MiB that ulimit"
    ):
        bound.check(2 * GIB, "to be read", "give it more")


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (MemoryError(), True),
        (OSError(12, "Cannot allocate memory"), True),
        (ImportError("libx.so: failed to map segment from shared object"), True),
        (RuntimeError("std::bad_alloc"), True),
        (ImportError("libgomp.so: cannot allocate memory in static TLS block"), False),
        (ImportError("No module named x"), False),
    ],
    ids=["Python", "the system", "the loader", "C++", "the loader has another reason", "missing"],
)
def test_errors_that_mean_memory(error, expected):
    assert ran_out(error) is expected


# --- real limits ----------------------------------------------------------------------------------------------

TELL = "from itk_infer.machine import memory_bound, host_memory; print(memory_bound()); print(host_memory().spare)"


def tell(before: str) -> list[str]:
    done = subprocess.run(
        ["bash", "-c", f'{before} && exec "$0" -c "$1"', sys.executable, TELL],
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@linux
@pytest.mark.parametrize("flag", ["-v", "-d"])
def test_ulimit(flag):
    words, spare = tell(f"ulimit {flag} {GIB // 1024}")
    assert words.endswith(f"that ulimit {flag} leaves of 1,024 MiB")
    assert int(words.split()[0].replace(",", "")) < 1024
    assert int(spare) < GIB


@linux
def test_a_real_control_group():
    """The smaller limit lies a level above that of the process."""
    tops = [Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup")]
    name = f"itk_infer_test_{os.getpid()}"
    for top in tops:
        file = "memory.limit_in_bytes" if (top / "memory.limit_in_bytes").exists() else "memory.max"
        made = []
        try:
            for folder in (top / name, top / name / "inner"):
                folder.mkdir()
                made.append(folder)
            (top / name / file).write_text(str(700 * MIB))
            words, spare = tell(f"echo $$ > {top / name / 'inner' / 'cgroup.procs'}")
        except (OSError, AssertionError):
            continue
        else:
            assert f"({top / name / file}) leaves of 700 MiB" in words
            assert int(spare) <= 700 * MIB
            return
        finally:
            for folder in reversed(made):
                folder.rmdir()
    pytest.skip("no control group with a memory limit can be made here")
