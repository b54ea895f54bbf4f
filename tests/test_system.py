"""What differs between operating systems, where it is not tested with what uses it."""

from __future__ import annotations

import ctypes
import platform
from pathlib import Path

import pytest

from itk_infer.system import return_freed_memory

BLOCKS, SIZE = 50_000, 4096  # 195 MiB in blocks that glibc does not map one by one


def resident() -> int:
    lines = Path("/proc/self/status").read_text("ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS"))


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc keeps freed memory, and can return it")
def test_freed_memory_goes_back_to_the_system():
    libc = ctypes.CDLL(None)
    libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
    libc.free.argtypes = [ctypes.c_void_p]
    blocks = [libc.malloc(SIZE) for _ in range(BLOCKS)]
    for block in blocks:
        ctypes.memset(block, 1, SIZE)
    *rest, last = blocks  # the last one lies above the others, and keeps them from being returned at once
    for block in rest:
        libc.free(block)
    before = resident()
    return_freed_memory()
    assert before - resident() > BLOCKS * SIZE / 4
    libc.free(last)


def test_elsewhere_nothing_is_done(monkeypatch):
    monkeypatch.setattr("itk_infer.system.sys.platform", "darwin")
    monkeypatch.setattr("ctypes.CDLL", lambda *_: pytest.fail("this system has no such function"))
    return_freed_memory()
