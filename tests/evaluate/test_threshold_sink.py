"""What is counted from slabs equals what is counted from the whole volume."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from itk_infer.evaluate.threshold_sink import ThresholdSink, TruthOnSlabs
from itk_infer.evaluate.thresholds import Histogram
from itk_infer.spec import Label, OutputSpec
from itk_infer.testing.made_up import make_header, ranges
from itk_infer.volume.slab import DecidedSlab

SIZE = (9, 6, 7)


@pytest.mark.parametrize(
    ("values", "decision"), [("logits", "threshold"), ("logits", "argmax"), ("probabilities",) * 2]
)
def test_slabs_add_up(values, decision, monkeypatch):
    monkeypatch.setattr("itk_infer.evaluate.threshold_sink.BLOCK_VOXELS", 30)
    rng = np.random.default_rng(0)
    raw = rng.normal(0, 2, (2, *SIZE)) if values == "logits" else rng.random((2, *SIZE))
    logits = raw.astype(np.float16)
    truth = rng.integers(0, 4, SIZE).astype(np.uint8)
    output = OutputSpec(values=values, decision="argmax" if decision == "argmax" else "threshold")
    sink = ThresholdSink(make_header(SIZE), output, TruthOnSlabs(truth, {1: 3, 2: 2}))
    for z, stop in ranges(SIZE[0], (2, 3)):
        sink.write(DecidedSlab(z, np.zeros((stop - z, *SIZE[1:]), np.uint8), None, logits[:, z:stop]))
    sink.commit()
    sink.abort()
    wide = logits.astype(np.float64)
    if values == "probabilities":
        expected = wide
    elif decision == "threshold":
        expected = 1 / (1 + np.exp(-wide))
    else:
        expected = np.exp(wide) / np.exp(wide).sum(axis=0)
    for channel, (value, in_truth) in enumerate([(1, 3), (2, 2)]):
        whole = Histogram()
        whole.add(expected[channel], truth == in_truth)
        np.testing.assert_allclose(sink.histograms[value].counts.cumsum(1), whole.counts.cumsum(1), atol=1)
        assert sink.histograms[value].counts.sum() == truth.size


def test_a_label_of_two_channels_has_the_larger_probability():
    probabilities = np.random.default_rng(1).random((2, *SIZE)).astype(np.float16)
    header = replace(make_header(SIZE), labels=(Label(1, "both", "#ff0000", 0, also=(1,)),))
    sink = ThresholdSink(header, OutputSpec(values="probabilities", decision="threshold"), None)
    sink.write(DecidedSlab(0, np.zeros(SIZE, np.uint8), None, probabilities))
    expected = Histogram()
    expected.add(probabilities.astype(np.float32).max(axis=0), np.zeros(SIZE, np.bool_))
    np.testing.assert_array_equal(sink.histograms[1].counts, expected.counts)


def test_labels_without_a_counterpart_are_not_counted():
    header, output = make_header(SIZE), OutputSpec(decision="threshold")
    truth = TruthOnSlabs(np.zeros(SIZE, np.uint8), {2: 5})
    assert list(ThresholdSink(header, output, truth).histograms) == [2]
    assert list(ThresholdSink(header, output, None).histograms) == [1, 2]


def test_without_logits_is_a_bug():
    sink = ThresholdSink(make_header(SIZE), OutputSpec(), None)
    with pytest.raises(RuntimeError, match="without logits"):
        sink.write(DecidedSlab(0, np.zeros((1, 6, 7), np.uint8)))
