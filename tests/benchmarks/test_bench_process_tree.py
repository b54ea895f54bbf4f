from __future__ import annotations

import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="memory is read from /proc")

CHILD = "import time; block = bytearray(b'x') * (150 << 20); time.sleep(1)"
PARENT = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {CHILD!r}])"


def test_memory_of_a_child_counts():
    from process_tree import run_watched

    ended = run_watched([sys.executable, "-c", PARENT])
    assert ended.code == 0
    assert 150 < ended.peak_mib < 250


def test_lines_have_times_and_updates_of_a_bar_are_lines():
    from process_tree import run_watched

    code = "import sys, time; print('a'); sys.stderr.write('1|\\r2|'); sys.stderr.flush(); time.sleep(.3); sys.exit(3)"
    ended = run_watched([sys.executable, "-u", "-c", code])
    assert ended.code == 3
    assert [line for _, line in ended.lines] == ["a", "1|", "2|"]
    first = ended.first(lambda line: line == "a")
    assert first is not None
    assert 0 < first < ended.seconds
    assert ended.first(lambda line: line == "b") is None


FORKED = """
import os, time
block = bytearray(b"x") * (60 << 20)
for _ in range(6):
    if not os.fork():
        time.sleep(0.5)
        os._exit(0)
time.sleep(1)
more = bytearray(b"x") * (150 << 20)
time.sleep(1)
"""


def test_what_forks_share_counts_once_and_hides_nothing_later():
    from process_tree import run_watched

    ended = run_watched([sys.executable, "-c", FORKED])
    assert 210 < ended.peak_mib < 300  # six children together seem to hold 420


def test_processor_time_of_children_counts():
    from process_tree import run_watched

    busy = "import time\nwhile time.process_time() < 0.4: pass"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {busy!r}])"
    ended = run_watched([sys.executable, "-c", parent])
    assert 0.4 < ended.cpu_seconds < 4
