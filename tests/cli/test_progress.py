from __future__ import annotations

import time

from itk_infer.cli.progress import make_listener
from itk_infer.events import CaseDone, CaseStarted, Progress, RunDone, RunStarted


def test_a_case_that_is_written_late_does_not_take_the_next_ones_bar(capsys):
    """A worker may begin a case before the last one is done."""
    bars = make_listener("bar", "run", quiet=False, verbose=False)
    bars(RunStarted("1", 2, 0, 1, "cuda:0", "model"))
    bars(CaseStarted("a.mha", 0, (8, 8, 8), 4))
    bars(CaseStarted("b.mha", 0, (8, 8, 8), 4))
    bars(CaseDone("a.mha", (), 1.0, None, {}, {}, 0))
    capsys.readouterr()
    time.sleep(0.15)  # a bar is drawn ten times a second at most
    bars(Progress("b.mha", 0, "windows", 4, 4, 0.0))
    bars(CaseDone("b.mha", (), 1.0, None, {}, {}, 0))
    bars(RunDone(2, 0, 0, 1.0, 0))
    printable = capsys.readouterr().err
    assert "b.mha: 100%" in printable
    assert "cases: 100%" in printable
