"""Every output passes the tests of `OutputTests`."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk

from itk_infer.outputs import logits
from itk_infer.outputs.label_map import LabelMapSink
from itk_infer.outputs.layered_label_map import LayeredSegmentationSink
from itk_infer.testing import OutputTests
from itk_infer.volume.volume import grid_of


class TestLabelMap(OutputTests):
    make = staticmethod(LabelMapSink)

    def check(self, path, header, arrays):
        image = sitk.ReadImage(str(path))
        np.testing.assert_array_equal(sitk.GetArrayFromImage(image), arrays["labels"])
        assert grid_of(image).same_as(header.grid)


class TestPackedLabelMap(TestLabelMap):
    file_name = "case.nii.gz"


class TestSegmentation(TestLabelMap):
    file_name = "case.seg.nrrd"


class TestLayeredSegmentation(OutputTests):
    """Its labels do not overlap here, so they share a layer; that overlaps are kept is in test_layered."""

    file_name = "case.seg.nrrd"
    make = staticmethod(LayeredSegmentationSink)
    check = TestLabelMap.check


class TestLogits(OutputTests):
    file_name = "case.zarr"
    make = staticmethod(logits.LogitsSink)

    @pytest.fixture(autouse=True)
    def small_chunks(self, monkeypatch):
        monkeypatch.setattr(logits, "CHUNK_SIDE", 4)

    def check(self, path, header, arrays):
        array, grid = logits.read_logits(path)
        np.testing.assert_array_equal(array, arrays["logits"])
        assert grid == header.grid
