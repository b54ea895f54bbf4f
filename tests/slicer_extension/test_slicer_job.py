from __future__ import annotations

import os
import signal
import sys
import time

import pytest
from ItkInferLib.job import LONGEST_LINE, Job, StartError

pytestmark = pytest.mark.skipif(os.name == "nt", reason="process groups as POSIX has them")


def child(script: str, **settings) -> Job:
    return Job([sys.executable, "-u", "-c", script], **settings)


def follow(job: Job, until=None, seconds: float = 200.0) -> list[tuple[str, str]]:
    """Poll as a GUI does, to the end or until a line contains `until`."""
    lines: list[tuple[str, str]] = []
    end = time.monotonic() + seconds
    while job.exit_code is None:
        assert time.monotonic() < end, f"no end; heard {lines[-3:]}"
        new = job.poll()
        lines += new
        if until is not None and any(until in line for _, line in new):
            break
        if not new:
            time.sleep(0.01)
    return lines


def state_of(pid: int) -> str:
    """R: runs; S: waits; Z: has ended; empty: is gone."""
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return ""


def alive(pid: int) -> bool:
    return state_of(pid) not in ("", "Z")


def wait_for_the_end_of(pid: int) -> None:
    end = time.monotonic() + 60
    while alive(pid):
        assert time.monotonic() < end, "it lives on"
        time.sleep(0.01)


def test_lines_and_exit_code():
    job = child("import sys; print('out'); print('err', file=sys.stderr); sys.exit(5)")
    lines = follow(job)
    assert sorted(lines) == [("stderr", "err"), ("stdout", "out")]
    assert job.exit_code == 5


def test_environment_and_folder_are_those_given(tmp_path):
    job = child("import os; print(os.getcwd(), os.environ.get('HOME'), os.environ['OURS'])",
                environment={"OURS": "yes"}, folder=str(tmp_path))  # fmt: skip
    assert follow(job) == [("stdout", f"{tmp_path} None yes")]


def test_the_exit_code_comes_after_the_last_line():
    job = child("for i in range(3000): print(i)")
    lines = []
    while job.exit_code is None:
        lines += job.poll(max_lines=50)
    assert [line for _, line in lines] == [str(i) for i in range(3000)]


def test_half_lines_are_put_together_and_the_last_needs_no_end():
    job = child(
        "import sys, time\n"
        "for part in ('{\"ev', 'ent\": ', '1}\\nla', 'st'):\n"
        "    sys.stdout.write(part); sys.stdout.flush(); time.sleep(0.05)"
    )
    assert follow(job) == [("stdout", '{"event": 1}'), ("stdout", "last")]


def test_carriage_returns_end_lines_as_progress_bars_write_them():
    assert [line for _, line in follow(child("print('10 %\\r20 %\\r\\n30 %')"))] == ["10 %", "20 %", "30 %"]


def test_bytes_that_are_not_utf8_do_not_stop_it():
    job = child("import sys; sys.stdout.buffer.write(b'caf\\xe9 \\xff\\n'); print('after')")
    assert [line for _, line in follow(job)] == ["caf\ufffd \ufffd", "after"]


def test_a_split_character_survives():
    job = child(
        "import sys, time; w = sys.stdout.buffer; w.write(b'\\xc3'); w.flush(); time.sleep(0.1); w.write(b'\\xa9\\n')"
    )
    assert follow(job) == [("stdout", "\u00e9")]


def test_a_flood_is_handed_out_in_portions_and_loses_nothing():
    job = child("import sys\nfor i in range(60000): sys.stdout.write('%d\\n' % i)")
    lines = []
    while job.exit_code is None:
        new = job.poll(max_lines=700)
        assert len(new) <= 700
        lines += new
    assert len(lines) == 60000
    assert lines[-1] == ("stdout", "59999")


def test_a_flood_without_lines_is_cut():
    job = child(f"print('x' * {2 * LONGEST_LINE + 5})")
    assert [len(line) for _, line in follow(job)] == [LONGEST_LINE, LONGEST_LINE, 5]


def test_nobody_polls_the_program_waits_and_memory_does_not_grow():
    job = child("import sys\nwhile True: sys.stdout.write('y\\n')")
    waiting = 0
    end = time.monotonic() + 200
    while waiting < 20:  # it never waits for anything but its pipe
        assert time.monotonic() < end, "it never has to wait"
        waiting = waiting + 1 if state_of(job.pid) == "S" else 0
        time.sleep(0.01)
    assert len(job.poll(max_lines=10**6)) < 10**6
    job.cancel()
    follow(job)
    assert job.exit_code in (-signal.SIGTERM, -signal.SIGKILL)  # as patient as it is


def test_a_crash_is_told_by_its_signal():
    job = child("import os, signal; print('before'); os.kill(os.getpid(), signal.SIGSEGV)")
    assert follow(job) == [("stdout", "before")]
    assert job.exit_code == -signal.SIGSEGV


def test_cancel_of_a_hanging_child():
    job = child("import time; print('up'); time.sleep(600)", patience_s=100)
    follow(job, until="up")
    job.cancel()
    follow(job)
    assert (job.exit_code, job.cancelled, job.killed) == (-signal.SIGTERM, True, False)


def test_a_child_may_end_in_its_own_way():
    job = child(
        "import signal, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: (print('cleaning'), sys.exit(143)))\n"
        "print('up'); time.sleep(600)",
        patience_s=100,
    )
    follow(job, until="up")
    job.cancel()
    assert ("stdout", "cleaning") in follow(job)
    assert job.exit_code == 143


def test_a_child_that_ignores_sigterm_is_killed_with_its_children():
    job = child(
        "import signal, subprocess, sys, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "code = 'import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(1); time.sleep(600)'\n"
        "grand = subprocess.Popen([sys.executable, '-u', '-c', code], stdout=subprocess.PIPE)\n"
        "grand.stdout.readline(); print('grandchild', grand.pid); time.sleep(600)",
        patience_s=0.3,
    )
    grandchild = int(follow(job, until="grandchild")[-1][1].split()[1])
    job.cancel()
    follow(job)
    assert (job.exit_code, job.killed) == (-signal.SIGKILL, True)
    assert not alive(job.pid)
    wait_for_the_end_of(grandchild)


def test_a_grandchild_that_outlives_a_cancelled_child_is_killed():
    # It shares no pipe with us, so nothing but its process group leads to it.
    job = child(
        "import subprocess, sys, time\n"
        "code = 'import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(1); time.sleep(600)'\n"
        "grand = subprocess.Popen([sys.executable, '-u', '-c', code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)\n"
        "grand.stdout.readline(); print('grandchild', grand.pid); time.sleep(600)"
    )
    grandchild = int(follow(job, until="grandchild")[-1][1].split()[1])
    job.cancel()
    follow(job)
    wait_for_the_end_of(grandchild)


def test_a_child_that_leaves_its_pipe_to_another_does_not_hang_us():
    job = child("import subprocess; subprocess.Popen(['sleep', '600']); print('bye')")
    assert follow(job, seconds=300) == [("stdout", "bye")]
    assert job.exit_code == 0


def test_cancel_twice_and_after_the_end_is_nothing():
    job = child("pass")
    follow(job)
    job.cancel()
    assert not job.cancelled
    assert job.exit_code == 0


def test_kill_ends_at_once():
    job = child("import time; print('up'); time.sleep(600)")
    follow(job, until="up")
    job.kill()
    follow(job)
    assert job.exit_code == -signal.SIGKILL


@pytest.mark.parametrize("program", ["/no/such/program", __file__])
def test_what_cannot_be_started_says_so(program):
    with pytest.raises(StartError, match=r"cannot be started: .+\."):
        Job([program])
