"""Pictures per call: as asked for, or found once and remembered."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
from itk_infer.classifier import Classifier
from itk_infer.classify import batch as module
from itk_infer.classify.batch import OF_LARGE, ON_CPU, settle_batch
from itk_infer.model.batch_size.trial import BatchTrial


class Slow:
    """A model whose calls take max(10, 3 n) seconds of a clock of its own: four pictures at once are best."""

    def __init__(self, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now, self.calls = 0.0, list[int]()
        self.classifier = Classifier.load(model, device="cpu", provider="cpu", threads=1)
        self._network = self.classifier.model.networks[0]
        self._forward = self._network.forward
        self._network.forward = self.forward  # type: ignore[method-assign]
        trial = partial(BatchTrial, clock=lambda: self.now, memory=lambda: None)
        monkeypatch.setattr(module, "BatchTrial", trial)

    def forward(self, pictures: Any) -> Any:
        self.calls.append(len(pictures))
        self.now += max(10, 3 * len(pictures))
        return self._forward(pictures)

    def settle(self, folder: Path, wanted: Any, cache: bool | Path = False) -> tuple[int, list[str]]:
        return settle_batch(self.classifier, wanted, cache, folder, 1, lambda: None)


@pytest.fixture
def slow(model: Path, monkeypatch: pytest.MonkeyPatch) -> Slow:
    return Slow(model, monkeypatch)


def test_it_is_found_once_and_remembered(slow: Slow, archive: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    batch, notes = slow.settle(archive, "auto", cache)
    assert batch == 4
    assert notes == ["batch: 4 picture(s) per call, 3.33 times as fast as one"]
    slow.calls.clear()
    assert slow.settle(archive, "auto", cache) == (4, ["batch: 4 picture(s) per call, as an earlier run found"])
    assert not slow.calls


def test_another_size_of_pictures_is_another_search(slow: Slow, archive: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    slow.settle(archive, "auto", cache)
    slow.classifier.model.spec_digest = "of a spec with another size"
    slow.calls.clear()
    assert slow.settle(archive, "auto", cache)[0] == 4
    assert slow.calls


def test_by_default_a_cpu_is_not_timed(slow: Slow, archive: Path) -> None:
    assert slow.settle(archive, None) == (ON_CPU, [])
    assert slow.settle(archive, 3) == (3, [])
    slow._network.device = "cuda:0"
    assert slow.settle(archive, None)[0] == 4, "a GPU is"


@pytest.mark.parametrize(
    ("size", "count"),
    [((512, 512), ON_CPU), ((512, 513), OF_LARGE), (None, OF_LARGE)],
    ids=["1 MiB", "more", "any"],
)
def test_of_large_pictures_a_cpu_takes_fewer(
    slow: Slow, archive: Path, size: tuple[int, int] | None, count: int
) -> None:
    model = slow.classifier.model
    model.inputs = tuple(replace(wanted, size=size, center_crop=None) for wanted in model.inputs)
    assert [len(wanted.channels) for wanted in model.inputs] == [1]
    assert slow.settle(archive, None) == (count, [])


def test_an_archive_without_a_picture(slow: Slow, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/1.dcm").write_bytes(b"x")
    assert slow.settle(tmp_path / "in", "auto") == (ON_CPU, [])


def test_a_run_with_what_was_found(archive: Path, run: Any, rows: Any, tmp_path: Path) -> None:
    run(archive)
    wanted = rows("SELECT probability FROM predictions ORDER BY probability")
    events: list[Any] = []
    run(archive, listener=events.append, batch="auto", batch_cache=tmp_path / "cache", overwrite=True)
    assert any("picture(s) per call" in getattr(event, "message", "") for event in events)
    assert len(list((tmp_path / "cache").glob("batch-*.json"))) == 1
    found = rows("SELECT probability FROM predictions ORDER BY probability")
    np.testing.assert_allclose(found, wanted, atol=1e-6)
