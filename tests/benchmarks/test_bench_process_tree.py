from __future__ import annotations

import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="memory is read from /proc")

# A program keeps its memory until that was counted.
UNTIL_SEEN = """
def until_seen():
    import os, time
    end = time.monotonic() + 100
    while not os.path.exists("seen") and time.monotonic() < end:
        time.sleep(0.01)
"""
CHILD = f"{UNTIL_SEEN}\nblock = bytearray(b'x') * (150 << 20); until_seen()"
PARENT = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {CHILD!r}])"


@pytest.fixture
def seen_from(monkeypatch, tmp_path):
    """Has the program go on once this much memory was counted."""
    import process_tree

    count = process_tree.proportional_bytes

    def note(mib):
        def counted(processes):
            found = count(processes)
            if found >= mib << 20:
                (tmp_path / "seen").touch()
            return found

        monkeypatch.setattr(process_tree, "proportional_bytes", counted)

    return note


def test_memory_of_a_child_counts(seen_from, tmp_path):
    from process_tree import run_watched

    seen_from(150)
    ended = run_watched([sys.executable, "-c", PARENT], cwd=tmp_path)
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
until_seen()
"""


def test_what_forks_share_counts_once_and_hides_nothing_later(seen_from, tmp_path):
    from process_tree import run_watched

    seen_from(210)
    ended = run_watched([sys.executable, "-c", UNTIL_SEEN + FORKED], cwd=tmp_path)
    assert 210 < ended.peak_mib < 300  # six children together seem to hold 420


def test_processor_time_of_children_counts():
    from process_tree import run_watched

    busy = "import time\nwhile time.process_time() < 0.4: pass"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {busy!r}])"
    ended = run_watched([sys.executable, "-c", parent])
    assert 0.4 < ended.cpu_seconds < 20
