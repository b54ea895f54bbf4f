"""An archive of pictures with known answers, a network, and a run over them."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

SHARES = {"a/1.dcm": 0.2, "a/2.dcm": 0.6, "b/1.dcm": 0.9}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    from support.classify_files import CLASSIFY, brightness_network

    return brightness_network(tmp_path / "brightness.onnx", CLASSIFY)


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    pytest.importorskip("pydicom", reason="pydicom writes the files")
    from support.classify_files import grey_dicom

    for number, (name, share) in enumerate(SHARES.items()):
        grey_dicom(tmp_path / "archive" / name, share, number, study=name[0])
    return tmp_path / "archive"


@pytest.fixture
def run(tmp_path: Path, model: Path) -> Callable[..., Any]:
    """Classify a folder, into tmp_path / out."""
    from itk_infer.classifier import Classifier
    from itk_infer.classify.run import classify_folder
    from itk_infer.classify.settings import ClassifySettings
    from itk_infer.events import Events

    def classify(folder: Path, path: Path | None = None, *, listener: Any = None, **settings: Any) -> Any:
        chosen = ClassifySettings(folder, tmp_path / "out", threads=2, **settings)
        events = Events([listener] if listener else [])
        return classify_folder(
            lambda: Classifier.load(path or model, device="cpu", provider="cpu", threads=2, calls=2),
            chosen,
            events,
        )

    return classify


@pytest.fixture
def rows(tmp_path: Path) -> Callable[..., list[tuple[Any, ...]]]:
    """What a query finds in the database."""

    def query(text: str, *values: Any) -> list[tuple[Any, ...]]:
        with sqlite3.connect(tmp_path / "out" / "results.db") as db:
            found = db.execute(text, values).fetchall()
        db.close()
        return found

    return query
