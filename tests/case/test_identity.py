"""What decides a mask, and what does not."""

from __future__ import annotations

from itk_infer.model.kinds.fake import FakeBackend
from itk_infer.predictor import Predictor
from itk_infer.spec import parse_spec


def identity(**label):
    spec = parse_spec({"output": {"labels": [{"value": 1, "name": "liver", **label}]}}, "test")
    return Predictor(FakeBackend(spec=spec)).identity


def test_the_tolerance_of_evaluations_changes_no_mask():
    assert identity(tolerance_mm=1.5) == identity()
    assert identity(color="#123456") != identity()
