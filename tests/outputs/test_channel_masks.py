"""A mask per label in one 4D file."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk

from itk_infer.outputs.channel_masks import ChannelMasksSink
from itk_infer.testing import OutputTests
from itk_infer.testing.made_up import make_header
from itk_infer.volume.slab import DecidedSlab


class TestChannelMasks(OutputTests):
    file_name = "case_channels.nii.gz"

    def make(self, path, header):
        return ChannelMasksSink(path, header)

    def check(self, path, header, arrays):
        image = sitk.ReadImage(str(path))
        array = sitk.GetArrayFromImage(image)
        np.testing.assert_array_equal(array, arrays["masks"])
        assert array.dtype == np.uint8
        assert image[:, :, :, 0].GetSpacing() == pytest.approx(header.grid.spacing[::-1])
        assert image[:, :, :, 1].GetOrigin() == pytest.approx(header.grid.origin_xyz, abs=1e-4)
        assert image[:, :, :, 0].GetDirection() == pytest.approx(header.grid.direction_xyz, abs=1e-6)


def test_of_a_model_whose_labels_do_not_overlap(tmp_path):
    """The masks are those of the label map."""
    header = make_header((3, 4, 5), None)
    labels = np.random.default_rng(0).choice(np.array([0, 1, 2], np.uint8), (3, 4, 5))
    sink = ChannelMasksSink(tmp_path / "a.nii.gz", header)
    sink.write(DecidedSlab(0, labels))
    found = sitk.GetArrayFromImage(sitk.ReadImage(str(sink.commit())))
    for label, mask in zip(header.labels, found, strict=True):
        np.testing.assert_array_equal(mask, labels == label.value)
