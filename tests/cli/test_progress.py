from __future__ import annotations

import time

import pytest

from itk_infer.cli.progress import make_listener
from itk_infer.events import CaseDone, CaseFailed, CaseSkipped, CaseStarted, Progress, RunDone, RunStarted, Warned


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


@pytest.mark.parametrize("kind", ["bar", "lines"])
def test_a_case_that_loses_its_results_is_counted_once(kind, capsys):
    listener = make_listener(kind, "run", quiet=False, verbose=False)
    listener(RunStarted("1", 2, 0, 1, "cpu", "model"))
    listener(CaseDone("a.mha", (), 1.0, None, {}, {}, 0))
    listener(CaseFailed("a.mha", "its results vanished", 0))
    listener(CaseFailed("b.mha", "not finished", 0))
    listener(RunDone(0, 2, 0, 1.0, 4))
    printed = capsys.readouterr().err
    assert "[1/2] a.mha: FAILED" in printed
    assert "[2/2] b.mha: FAILED" in printed
    assert "3/2" not in printed


@pytest.mark.parametrize("kind", ["json", "bar", "none"])
def test_sentences_name_flags(kind, capsys):
    """Those of the library name Python arguments, which a user of the command line does not give."""
    listener = make_listener(kind, "run", quiet=False, verbose=True)
    listener(RunStarted("1", 3, 0, 1, "cpu", "model"))
    listener(Warned("`max_vram` does nothing"))
    listener(CaseFailed("a.mha", "took longer than the 5 s of `case_timeout`", 1))
    listener(CaseSkipped("b.mha", "kept out/b.mha; `overwrite` replaces it"))
    listener(RunDone(0, 1, 1, 1.0, 3))
    shown = "".join(capsys.readouterr())
    for words in ("--max-vram does", "5 s of --case-timeout", "; --overwrite replaces"):
        assert words in shown or (kind == "none" and "overwrite" in words)
    assert "`" not in shown
