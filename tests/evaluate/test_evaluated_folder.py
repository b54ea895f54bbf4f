"""Many cases: several processes, failures that stop nothing, results that are kept."""

from __future__ import annotations

import signal
from contextlib import closing

import numpy as np
import pytest

from itk_infer.errors import ConfigError
from itk_infer.evaluate import folder
from itk_infer.evaluate.case import CaseTask
from itk_infer.evaluate.folder import evaluate_all
from itk_infer.evaluate.metrics import MetricSettings
from itk_infer.evaluate.pairs import Pair
from itk_infer.evaluate.store import ScoreStore, identity_of


@pytest.fixture
def tasks(write_labels):
    """Four cases; in the last one nothing is right."""
    found = []
    for index in range(4):
        truth = np.zeros((6, 7, 8), np.uint8)
        truth[1:4, 1:5, 1:6] = 1 + index % 2
        mask = np.roll(truth, index, axis=2)
        paths = write_labels(f"masks/{index}.nii.gz", mask), write_labels(f"truths/{index}.nii.gz", truth)
        found.append(CaseTask(Pair(f"case {index}", *paths), (), (), MetricSettings(lesions=True)))
    return found


def run(tasks, path=None, workers=1):
    seen = []
    with closing(ScoreStore(path)) as store:
        result = evaluate_all(tasks, store, workers, lambda name, done, every: seen.append((name, done, every)))
    return result, seen


def test_every_case_has_every_label(tasks):
    result, seen = run(tasks)
    assert [case.name for case in result.cases] == [f"case {index}" for index in range(4)]
    assert [[label.name for label in case.labels] for case in result.cases] == [["label 1", "label 2"]] * 4
    assert [label.state for label in result.cases[0].labels] == ["found", "absent"]
    assert seen == [(f"case {index}", index + 1, 4) for index in range(4)]


def test_several_processes_give_the_same(tasks):
    assert run(tasks, workers=2)[0] == run(tasks)[0]


def test_a_second_evaluation_computes_nothing(tasks, tmp_path, monkeypatch):
    first, _ = run(tasks, tmp_path / "scores.db")
    monkeypatch.setattr(folder, "evaluate_case", None)
    second, seen = run(tasks, tmp_path / "scores.db")
    assert (second.cases, second.reused, seen) == (first.cases, 4, [])


def test_what_changed_is_computed_again(tasks, tmp_path, write_labels):
    run(tasks, tmp_path / "scores.db")
    write_labels("masks/0.nii.gz", np.zeros((6, 7, 8), np.uint8))
    result, seen = run(tasks, tmp_path / "scores.db")
    assert ([name for name, _, _ in seen], result.reused) == (["case 0"], 3)
    assert result.cases[0].labels[0].state == "missed"
    other = CaseTask(tasks[1].pair, (), (), MetricSettings(tolerance_mm=3.0))
    assert identity_of(other) != identity_of(tasks[1])


def test_a_case_that_fails_stops_no_other(tasks, tmp_path):
    tasks[1].pair.mask.write_bytes(b"no image")
    tasks[2].pair.truth.unlink()
    result, seen = run(tasks, tmp_path / "scores.db")
    assert [case.name for case in result.cases] == ["case 0", "case 3"]
    assert sorted(result.failed) == ["case 1", "case 2"]
    assert "1.nii.gz" in result.failed["case 1"]
    assert "cannot be read" in result.failed["case 2"]
    assert seen[-1][1:] == (4, 4)


def test_errors_of_the_program_and_of_memory_are_reasons(tasks, monkeypatch):
    def fails(error):
        def function(task):
            raise error

        monkeypatch.setattr(folder, "evaluate_case", function)
        return run(tasks[:1])[0].failed["case 0"]

    assert fails(ZeroDivisionError("oops")) == "case 0: ZeroDivisionError: oops; please report it as a bug"
    assert "not enough memory for comparing case 0" in fails(MemoryError())


def test_a_worker_that_dies_fails_its_case_only(tasks, monkeypatch):
    pool = folder.ProcessPoolExecutor

    class DyingPool(pool):
        def submit(self, function, *args):
            if args and args[0].pair.name == "case 2":
                return super().submit(signal.raise_signal, signal.SIGKILL)
            return super().submit(function, *args)

    monkeypatch.setattr(folder, "ProcessPoolExecutor", DyingPool)
    result, _ = run(tasks, workers=2)
    assert [case.name for case in result.cases] == ["case 0", "case 1", "case 3"]
    assert result.failed == {"case 2": "its worker process ended, perhaps because memory ran out"}


def test_a_pool_that_is_broken_already_loses_no_case(tasks, monkeypatch):
    pool = folder.ProcessPoolExecutor
    refused = []

    class BrokenOnce(pool):
        def submit(self, function, *args):
            if args and not refused:
                refused.append(args[0].pair.name)
                raise folder.BrokenProcessPool
            return super().submit(function, *args)

    monkeypatch.setattr(folder, "ProcessPoolExecutor", BrokenOnce)
    result, _ = run(tasks, workers=2)
    assert (refused, result.failed, len(result.cases)) == (["case 0"], {}, 4)


def test_a_file_that_is_no_store_is_refused(tmp_path):
    path = tmp_path / "scores.db"
    path.write_bytes(b"something else entirely" * 100)
    with pytest.raises(ConfigError, match=r"scores\.db: cannot be used"):
        ScoreStore(path)
