"""Outputs made of the label map say so, where labels of the model may overlap."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from itk_infer.events import Events, Warned
from itk_infer.model.kinds.fake import FakeBackend
from itk_infer.predictor import Predictor
from itk_infer.run.folder import run_folder
from itk_infer.run.settings import RunSettings
from itk_infer.spec import parse_spec


def notes_of(tmp_path, decision, labels, save):
    (tmp_path / "in").mkdir()
    Image.fromarray(np.eye(16, dtype=np.uint8) * 9).save(tmp_path / "in/a.png")
    spec = {
        "name": "test",
        "input": {"dimensions": 2, "intensity": [{"op": "zscore"}]},
        "output": {"decision": decision, "labels": [{"value": 1 + n} for n in range(labels)]},
    }
    channels = labels + (decision == "argmax")
    backend = FakeBackend(lambda windows: np.repeat(windows[:, :1], channels, axis=1), parse_spec(spec, "test"))
    seen = []
    settings = RunSettings(tmp_path / "in", tmp_path / "out", save=save)
    assert run_folder(Predictor(backend), settings, Events([seen.append])).exit_code == 0
    texts = [event.message for event in seen if isinstance(event, Warned)]
    return [text for text in texts if "may overlap" in text]


@pytest.mark.parametrize(
    ("decision", "labels", "save", "words"),
    [
        ("threshold", 2, ("coco_polygons", "yolo"), ["YOLO polygons and COCO polygons have one label per pixel"]),
        ("threshold", 1, ("coco_polygons", "yolo"), []),
        ("argmax", 2, ("coco_polygons", "yolo"), []),
        ("threshold", 2, ("probabilities",), []),
    ],
)
def test_painted_outputs_say_so(tmp_path, decision, labels, save, words):
    found = notes_of(tmp_path, decision, labels, save)
    assert len(found) == len(words)
    assert all(word in text for word, text in zip(words, found, strict=True))
