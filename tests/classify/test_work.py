"""How many threads classify, and how they share the last batch."""

from __future__ import annotations

import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from itk_infer.classifier import Classifier
from itk_infer.classify import work
from itk_infer.classify.messages import FileDone
from itk_infer.classify.units import Unit, WaitingFile
from itk_infer.testing.faulty import wait_until


@pytest.mark.parametrize(
    ("cores", "device", "threads"),
    [(4, "cpu", 8), (6, "cpu", 12), (3, "cpu", 3), (4, "cuda:0", 4)],
    ids=["all cores", "more than there are", "some cores", "a GPU"],
)
def test_threads_wait_for_the_network_beside_those_that_decode(
    monkeypatch: pytest.MonkeyPatch, cores: int, device: str, threads: int
) -> None:
    monkeypatch.setattr(work, "usable_cores", lambda: 4)
    classifier: Any = SimpleNamespace(model=SimpleNamespace(networks=[SimpleNamespace(device=device)]))
    assert work.threads_on(classifier, cores) == threads


def test_the_last_batch_is_divided_among_threads_that_have_nothing_else(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both halves meet at the barrier, which only two threads can pass."""
    np.save(tmp_path / "a.npy", np.zeros((8, 6, 6), np.uint8))
    classifier = Classifier.load(model, device="cpu", provider="cpu", threads=2, calls=2)
    meeting, run, scores = threading.Barrier(2, timeout=60), work.Work._run, classifier.scores_around
    sizes, found = list[int](), list[FileDone]()

    def run_later(self: work.Work, batch: Any, **keywords: Any) -> None:
        if len(batch) == 8:
            wait_until(lambda: self._tasks.idle > 0)
        run(self, batch, **keywords)

    def scores_together(inputs: Any) -> Any:
        sizes.append(len(inputs))
        meeting.wait()
        return scores(inputs)

    monkeypatch.setattr(work.Work, "_run", run_later)
    monkeypatch.setattr(classifier, "scores_around", scores_together)
    threads = work.Work(classifier, tmp_path, 8, 2)
    try:
        threads.classify(iter([Unit((WaitingFile(1, "a.npy"),))]), found.append, lambda: None)
    finally:
        threads.close()
    assert sizes == [4, 4]
    assert [image.frame for image in found[0].images] == list(range(8))


@pytest.mark.parametrize(("most", "decoded"), [(work.MOST_EARLY, 12), (0, 3)], ids=["all of them", "at its limit"])
def test_pictures_are_decoded_while_the_network_is_built(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch, most: int, decoded: int
) -> None:
    """One thread in batches of 3 decodes all files before the network is there, but for the limit."""
    for number in range(12):
        np.save(tmp_path / f"{number}.npy", np.full((6, 6), number, np.uint8))
    classifier = Classifier.load(model, device="cpu", provider="cpu")
    built, planes, scores = threading.Event(), classifier.planes, classifier.scores_around
    made, at_first, found = list[Any](), list[int](), list[FileDone]()

    def make(picture: Any) -> Any:
        made.append(picture)
        return planes(picture)

    def wait_for_it(inputs: Any) -> Any:
        at_first.append(len(made))
        built.set()
        return scores(inputs)

    monkeypatch.setattr(work, "MOST_EARLY", most)
    monkeypatch.setattr(type(classifier.model), "ready", property(lambda _: built.is_set()))
    monkeypatch.setattr(classifier, "planes", make)
    monkeypatch.setattr(classifier, "scores_around", wait_for_it)
    threads = work.Work(classifier, tmp_path, 3, 1)
    try:
        units = (Unit((WaitingFile(number, f"{number}.npy"),)) for number in range(12))
        threads.classify(units, found.append, lambda: None)
    finally:
        threads.close()
    assert at_first[0] == decoded
    assert sorted(file.file for file in found) == list(range(12))


@pytest.mark.parametrize("error", [ValueError("odd"), MemoryError()], ids=["a bug", "memory"])
@pytest.mark.parametrize("where", ["opened", "decoded"])
def test_one_file_that_fails_in_an_unknown_way_stops_no_others(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch, where: str, error: Exception
) -> None:
    for number in range(3):
        np.save(tmp_path / f"{number}.npy", np.full((6, 6), number, np.uint8))
    classifier = Classifier.load(model, device="cpu", provider="cpu")
    open_file, planes = work.open_pictures, classifier.planes

    def opened(path: Path) -> Any:
        if path.name == "1.npy":
            raise error
        return open_file(path)

    def made(picture: Any) -> Any:
        if picture.name == "1.npy":
            raise error
        return planes(picture)

    if where == "decoded":
        monkeypatch.setattr(classifier, "planes", made)
    threads = work.Work(classifier, tmp_path, 2, 2, **({"open_file": opened} if where == "opened" else {}))
    found = list[FileDone]()
    try:
        units = (Unit((WaitingFile(number, f"{number}.npy"),)) for number in range(3))
        threads.classify(units, found.append, lambda: None)
    finally:
        threads.close()
    by_file = {file.file: file for file in found}
    assert {number: file.state for number, file in by_file.items()} == {0: "done", 1: "failed", 2: "done"}
    words = (
        "1.npy: unexpected ValueError: odd (test_work.py:" if "odd" in str(error) else "1.npy: not enough memory"
    )
    assert by_file[1].reason.startswith(words)
