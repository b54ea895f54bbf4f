"""Probabilities of pictures, in every form and orientation."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from itk_infer.outputs.probabilities import ProbabilityArrays, ProbabilityPages, ProbabilityPicture
from itk_infer.spec import Label
from itk_infer.testing import OutputTests
from itk_infer.testing.made_up import make_header
from itk_infer.volume.slab import DecidedSlab


def softmax(logits):
    """In double precision, by its definition."""
    shares = np.exp(logits.astype(np.float64))
    return shares / shares.sum(axis=0)


class TestArrays(OutputTests):
    file_name = "case.probabilities.npz"

    def make(self, path, header):
        return ProbabilityArrays(path, header)

    def check(self, path, header, arrays):
        with np.load(path) as file:
            np.testing.assert_allclose(file["probabilities"], softmax(arrays["logits"]), atol=1e-6)
            assert (file["probabilities"].dtype, file["labels"].tolist()) == (np.float32, [1, 2])


class TestPages(OutputTests):
    file_name = "case.probabilities.tif"

    def make(self, path, header):
        return ProbabilityPages(path, header)

    def check(self, path, header, arrays):
        expected = softmax(arrays["logits"]).reshape(-1, *arrays["logits"].shape[2:])
        found = pytest.importorskip("tifffile").imread(path)
        np.testing.assert_allclose(found.reshape(expected.shape), expected, atol=1e-6)


def one_page(tmp_path, kind, logits, **changed):
    """A case of one page; the two labels are the two channels, or those from the second on."""
    header = replace(make_header((1, *logits.shape[2:]), None, channels=len(logits)), **changed)
    sink = kind(tmp_path / "a.file.png", header)
    sink.write(DecidedSlab(0, np.zeros(logits.shape[1:], np.uint8), None, logits.astype(np.float16)))
    return sink.commit()


LOGITS = np.array([[[[-40.0, 0.0, 3.0]]], [[[40.0, 0.0, 1.0]]]])  # of one row of three pixels


def test_one_page_has_no_axis_of_its_own(tmp_path):
    path = one_page(tmp_path, ProbabilityArrays, LOGITS, overlaps=True)
    with np.load(path) as file:
        expected = [[[0, 0.5, 0.952574]], [[1, 0.5, 0.731059]]]  # 1 / (1 + exp(-logit)), of each
        np.testing.assert_allclose(file["probabilities"], expected, atol=1e-6)


def test_a_label_of_two_channels_has_the_larger_probability(tmp_path):
    given = np.array([[[[0.25, 1.0, 0.0]]], [[[0.75, 0.0, 0.5]]]])
    labels = (Label(1, "both", "#ff0000", 0, also=(1,)),)
    path = one_page(tmp_path, ProbabilityArrays, given, values="probabilities", overlaps=True, labels=labels)
    with np.load(path) as file:
        np.testing.assert_array_equal(file["probabilities"], [[[0.75, 1.0, 0.5]]])


def test_probabilities_stay_what_they_are(tmp_path):
    given = np.array([[[[0.25, 1.0, 0.0]]], [[[0.75, 0.0, 0.5]]]])
    with np.load(one_page(tmp_path, ProbabilityArrays, given, values="probabilities")) as file:
        np.testing.assert_array_equal(file["probabilities"], given[:, 0])


@pytest.mark.parametrize(
    ("overlaps", "expected"), [(True, [65535, 32768, 62427]), (False, [65535, 65535, 65535])], ids=["any", "sum"]
)
def test_the_picture_is_of_any_label(tmp_path, overlaps, expected):
    """Sigmoids: the largest; a softmax of which both channels are labels: 1."""
    with Image.open(one_page(tmp_path, ProbabilityPicture, LOGITS, overlaps=overlaps)) as picture:
        assert picture.mode.startswith("I;16")
        np.testing.assert_allclose(np.asarray(picture)[0], expected, atol=1)


def test_slabs_without_logits_are_a_fault(tmp_path):
    sink = ProbabilityArrays(tmp_path / "a.npz", make_header((1, 2, 2), None))
    with pytest.raises(RuntimeError, match="without logits"):
        sink.write(DecidedSlab(0, np.zeros((1, 2, 2), np.uint8)))
