"""Folders of small scans, some of which make the model fail, and runs over them in real workers."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from itk_infer.events import Events
from itk_infer.executors.gpus import Placement
from itk_infer.executors.workers import Workers
from itk_infer.run.folder import run_cases, run_folder
from itk_infer.run.ledger import Ledger
from itk_infer.run.settings import RunSettings
from itk_infer.run.summary import Summary
from itk_infer.testing.faulty import FaultyModel, marked


class Batch:
    """An input and an output folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.source, self.output, self.scratch = folder / "in", folder / "out", folder / "scratch"
        self.source.mkdir()
        self.scratch.mkdir()
        self.events: list = []

    def scan(self, name: str, fault: str = "", seed: int = 0, size=(8, 8, 8)) -> np.ndarray:
        array = np.random.default_rng(seed).normal(0, 100, size).astype(np.int16)
        if fault:
            array = marked(array, fault)
        image = sitk.GetImageFromArray(array)
        image.SetDirection((1, 0, 0, 0, 1, 0, 0, 0, -1))
        sitk.WriteImage(image, str(self.source / name))
        return array

    def settings(self, **options) -> RunSettings:
        return RunSettings(self.source, self.output, **options)

    def of(self, kind: type) -> list:
        """The events of a kind."""
        return [event for event in self.events if isinstance(event, kind)]

    def model(self, **options) -> FaultyModel:
        return FaultyModel(self.scratch, **options)

    def run(
        self, workers: int = 1, *, timeout: float | None = None, model=None, on_event=None, **options
    ) -> Summary:
        """A run in worker processes; none for 0."""
        self.events = []
        events = Events([self.events.append, *([on_event] if on_event else [])])
        settings, model = self.settings(**options), model or self.model()
        if not workers:
            return run_folder(model.load(), settings, events)
        return run_cases(Workers(model, (Placement(),) * workers, timeout), settings, events)

    def states(self) -> dict[str, str]:
        ledger = Ledger(self.output, read_only=True)
        try:
            return {name: record.state for name, record in ledger.cases().items()}
        finally:
            ledger.close()

    def labels(self, name: str) -> np.ndarray:
        return sitk.GetArrayFromImage(sitk.ReadImage(str(self.output / name)))

    def voxels(self) -> dict[str, bytes]:
        """Label maps as stored, without what a compressor writes about itself."""
        found = {}
        for path in sorted(self.output.iterdir()):
            if path.suffix in (".mha", ".nii", ".gz", ".nrrd") and not path.name.startswith("."):
                data = path.read_bytes()
                found[path.name] = gzip.decompress(data) if path.suffix == ".gz" else data
        return found

    def leftovers(self) -> list[str]:
        return [str(path) for path in self.output.rglob("*") if ".partial-" in path.name or path.suffix == ".lock"]


@pytest.fixture
def batch(tmp_path: Path) -> Batch:
    return Batch(tmp_path)


@pytest.fixture
def new_batch(tmp_path: Path) -> Callable[[str], Batch]:
    def make(name: str) -> Batch:
        (tmp_path / name).mkdir()
        return Batch(tmp_path / name)

    return make
