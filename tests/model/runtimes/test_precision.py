"""Reduced precision is asked for, checked, guarded, and given up where it does not hold."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk

from itk_infer.engine.probe_windows import probe_windows
from itk_infer.engine.windows import place_windows
from itk_infer.errors import ConfigError
from itk_infer.model.kinds.fake import FakeBackend
from itk_infer.model.runtimes.precision import choose_precision
from itk_infer.model.runtimes.precision_check import check_precision, relative_error
from itk_infer.predictor import Predictor
from itk_infer.spec import parse_spec


class Reduced(FakeBackend):
    """Half precision that does what the test says, over a full precision that is right."""

    def __init__(self, spoil, spec=None):
        super().__init__(lambda w: spoil(np.concatenate([-w, w], axis=1)), spec)
        self.precision = "bf16"
        self.full = FakeBackend(spec=spec)

    def in_full_precision(self):
        return self.full


def image():
    array = np.random.default_rng(0).normal(0, 50, (12, 12, 12)).astype(np.float32)
    return array, sitk.GetImageFromArray(array)


SPEC = parse_spec({"window": {"patch_size": [8, 8, 8]}}, "t")


def test_rounding_passes_and_nonsense_does_not():
    x = np.random.default_rng(0).normal(size=(3, 1, 6, 6, 6)).astype(np.float32)

    def checked(spoil):
        backend = Reduced(spoil)
        return check_precision(backend, backend.full, x)

    good = checked(lambda y: y.astype(np.float16))
    assert good.passed
    assert good.error > 0
    for spoil in (lambda y: y[:, ::-1], lambda y: y * 0, lambda y: y * np.nan, lambda y: y + 0.2 * np.sign(y)):
        assert not checked(spoil).passed


def test_error_is_relative_to_the_spread_across_channels():
    reference = np.zeros((1, 2, 1, 1, 2), np.float32)
    reference[0, 0], reference[0, 1] = 1001, 999  # a common offset is no spread
    assert relative_error(reference + 0.1, reference) == pytest.approx(0.1, rel=1e-2)
    assert relative_error(reference[:, :1], reference) == float("inf")


def test_a_failed_self_check_falls_back_and_says_so():
    array, scan = image()
    predictor = Predictor(Reduced(lambda y: -y, SPEC), orientation="input")
    result = predictor(scan)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(result.labels), array > 0)
    assert any("bf16 differs too much from fp32" in text for text in result.measurements.warnings)
    assert predictor(scan).measurements.warnings == ()  # said once
    assert predictor.identity["precision"] == "bf16"  # as asked: a rerun is no other run


def test_overflow_in_one_window_is_repaired_there_alone():
    array, scan = image()
    calls = []

    def overflow(logits):
        calls.append(len(logits))
        if len(calls) == 3 + 2:  # after the self-check's three: the second window
            logits = logits.copy()
            logits[0, 0, 0, 0, 0] = np.inf
        return logits

    backend = Reduced(overflow, SPEC)
    seen = []
    full = backend.full.forward
    backend.full.forward = lambda w: seen.append(len(w)) or full(w)
    result = Predictor(backend, orientation="input")(scan)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(result.labels), array > 0)
    assert seen == [1, 1, 1, 1]  # the self-check's three, and the one
    assert any("1 of 8 windows overflowed" in text for text in result.measurements.warnings)


def test_the_busiest_windows_are_not_air():
    array = np.zeros((1, 16, 16, 16), np.float32)
    array[0, 8:, 8:, 8:] = np.random.default_rng(0).normal(0, 5, (8, 8, 8))
    array[0, :8, :8, 8:] = np.random.default_rng(1).normal(0, 1, (8, 8, 8))
    grid = place_windows((16, 16, 16), (8, 8, 8), (8, 8, 8), (1, 1, 1), "constant")
    found = probe_windows(array, grid, 2)
    np.testing.assert_array_equal(found[0, 0], array[0, 8:, 8:, 8:])
    np.testing.assert_array_equal(found[1, 0], array[0, :8, :8, 8:])


def test_wishes():
    assert choose_precision("auto", ("bf16",), "x")[0] == "fp32"
    assert choose_precision("half", ("bf16", "fp16"), "x")[0] == "bf16"
    assert choose_precision("fp16", ("bf16", "fp16"), "x")[0] == "fp16"
    precision, notes = choose_precision("half", (), "cpu with onnxruntime")
    assert precision == "fp32"
    assert "no fast half precision" in notes[0]
    with pytest.raises(ConfigError, match="`precision=bf16`: x runs fp32 and fp16"):
        choose_precision("bf16", ("fp16",), "x")
