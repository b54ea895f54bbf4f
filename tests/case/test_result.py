from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk

from itk_infer.model.kinds.fake import FakeBackend
from itk_infer.outputs.label_map import LabelMapSink
from itk_infer.predictor import Predictor
from itk_infer.volume.volume import volume_of


def test_counts_are_those_of_a_label_map_that_was_changed_after_deciding(tmp_path):
    array = np.random.default_rng(0).normal(0, 100, (6, 7, 8)).astype(np.int16)
    image = sitk.GetImageFromArray(array)
    image.SetSpacing((2, 1, 0.5))
    sinks: list[LabelMapSink] = []

    def make_sinks(header):
        sinks.append(LabelMapSink(tmp_path / "a.mha", header))
        return sinks

    pending = Predictor(FakeBackend()).compute(volume_of([image], "a"), make_sinks)
    decided = pending.measurements
    largest = np.zeros_like(sinks[0].finished.labels)
    largest[2:4, 3, 5] = 1
    sinks[0].replace(largest)
    written = pending.commit()
    (label,) = written.labels
    assert (label.voxels, label.volume_ml) == (2, pytest.approx(0.002))
    assert label.confidence == decided.labels[0].confidence
    np.testing.assert_array_equal(sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "a.mha"))), largest)
    assert decided.labels[0].voxels == np.count_nonzero(array > 0)
