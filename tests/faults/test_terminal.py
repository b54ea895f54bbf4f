"""The end of the terminal in which a run was started, as when the connection to another machine is lost."""

from __future__ import annotations

import os
import signal
import subprocess

import pytest
from support import child_environment
from support.prepared import prepared
from support.programs import start, wait_for

pty = pytest.importorskip("pty", reason="terminals are those of POSIX")

OWN_TERMINAL = "import fcntl, termios; os.setsid(); fcntl.ioctl(0, termios.TIOCSCTTY, 0)"
FORGIVE = "from itk_infer.streams import forgive_streams\nforgive_streams()\n"  # as the command line does


def written_program(batch, **options):
    """The program of `start`, as a file `program.py` that can be started otherwise."""
    with start(batch, **options) as known:
        known.kill()
        known.stdout.read()
    script = batch.folder / "program.py"
    script.write_text(FORGIVE + script.read_text())
    for path in batch.output.glob("*"):
        path.unlink()


def in_terminal(batch, first):
    """The program in a terminal of its own, and the file whose closing ends the terminal."""
    ours, its = pty.openpty()
    program = subprocess.Popen(
        prepared(first, "program"), cwd=batch.folder, env=child_environment(), stdin=its, stdout=its, stderr=its
    )
    os.close(its)
    return program, os.fdopen(ours)


def test_a_run_ends_in_good_order_with_its_terminal(batch):
    for index in range(4):
        batch.scan(f"{index}.mha", "", index)
    written_program(batch, workers=2, pause=0.1, patch=(2, 2, 2))  # 343 windows a case
    program, terminal = in_terminal(batch, OWN_TERMINAL)
    try:
        program.stdout = terminal
        wait_for(program, "case_started", 2)
        terminal.close()
        assert program.wait(300) == 128 + signal.SIGHUP
    finally:
        program.kill()
    assert not batch.leftovers()
    assert "interrupted" in batch.states().values()
    assert "running" not in batch.states().values()


def test_a_run_that_ignores_the_end_of_its_terminal_goes_on(batch):
    """As below ``nohup``, here with output that nobody can read any more."""
    for index in range(2):
        batch.scan(f"{index}.mha", "", index)
    written_program(batch)
    ignoring = f"import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN); {OWN_TERMINAL}"
    program, terminal = in_terminal(batch, ignoring)
    try:
        program.stdout = terminal
        wait_for(program, "case_started")
        terminal.close()
        assert program.wait(300) == 0
    finally:
        program.kill()
    assert set(batch.states().values()) == {"done"}
