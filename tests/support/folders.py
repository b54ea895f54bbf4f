"""A batch of made-up scans and a network that labels what is above zero."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from itk_infer.events import Events
from itk_infer.model.kinds.fake import FakeBackend
from itk_infer.predictor import Predictor
from itk_infer.run.folder import run_folder
from itk_infer.run.ledger import Ledger
from itk_infer.run.settings import RunSettings


def write_scan(path: Path, seed: int = 0, size=(6, 7, 8)) -> np.ndarray:
    """A scan of noise in LPI, so that an LPI label map has the same array order."""
    array = np.random.default_rng(seed).normal(0, 100, size).astype(np.int16)
    image = sitk.GetImageFromArray(array)
    image.SetDirection((1, 0, 0, 0, 1, 0, 0, 0, -1))
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(image, str(path))
    return array


def read_labels(path: Path) -> np.ndarray:
    return sitk.GetArrayFromImage(sitk.ReadImage(str(path)))


class Folder:
    """An input and an output folder, and a run over them."""

    def __init__(self, tmp_path: Path) -> None:
        self.source, self.output = tmp_path / "in", tmp_path / "out"
        self.source.mkdir()
        self.events: list = []

    def scan(self, name: str, seed: int = 0, size=(6, 7, 8)) -> np.ndarray:
        return write_scan(self.source / name, seed, size)

    def run(self, function=None, *, orientation="LPI", spec=None, on_event=None, **settings):
        self.events = []
        listeners = [self.events.append, *([on_event] if on_event else [])]
        predictor = Predictor(FakeBackend(function, spec), orientation=orientation)
        return run_folder(predictor, RunSettings(self.source, self.output, **settings), Events(listeners))

    def labels(self, name: str) -> np.ndarray:
        return read_labels(self.output / name)

    def names(self) -> list[str]:
        return sorted(path.name for path in self.output.iterdir())

    def states(self) -> dict[str, str]:
        """The states of the cases in the ledger."""
        with closing(Ledger(self.output, read_only=True)) as ledger:
            return {name: record.state for name, record in ledger.cases().items()}

    def of(self, kind) -> list:
        return [event for event in self.events if isinstance(event, kind)]


@pytest.fixture
def folder(tmp_path):
    return Folder(tmp_path)
