"""Processes that call a function of their parent's choice."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from support import child_environment
from support.children import answer, fail, wait_for_ever

from itk_infer.executors.child import Child
from itk_infer.testing.faulty import wait_until


@pytest.fixture
def begin():
    begun = []

    def one(*words):
        begun.append(Child(*words))
        return begun[-1]

    yield one
    for child in begun:
        child.end()
        child.link.close()


def test_the_function_is_called_in_another_process(begin, monkeypatch):
    monkeypatch.syspath_prepend("a folder with 'quotes', blanks and ümläuts")
    child = begin(answer, 1, "two")
    process, path, words, tracked = child.link.recv()
    assert process != os.getpid()
    assert (path, words) == (sys.path, (1, "two"))
    assert not tracked  # or Python would keep another process for it
    child.wait(30)
    assert (child.running, child.exit_code) == (False, 0)


def test_it_runs_until_it_is_ended(begin):
    child = begin(wait_for_ever)
    child.wait(0.01)
    assert (child.running, child.exit_code) == (True, None)
    child.end()
    assert child.exit_code == -signal.SIGKILL
    with pytest.raises((EOFError, OSError)):
        child.link.recv()


def test_an_exit_code_is_passed_on(begin):
    child = begin(fail)
    child.wait(30)
    assert child.exit_code == 7


def test_it_ends_when_its_parent_closes_the_connection(begin):
    child = begin(wait_for_ever)
    child.link.close()
    wait_until(lambda: not child.running)


SCRIPT = """
print("the script runs")
from support.children import answer
from itk_infer.executors.child import Child
child = Child(answer)
child.link.recv()
child.wait(30)
"""


def test_the_caller_s_script_is_not_run_again(tmp_path: Path):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    words = [sys.executable, str(script)]
    done = subprocess.run(words, env=child_environment(), capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("the script runs\n", "")
