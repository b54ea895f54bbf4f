"""The first stage's label map beside the mask."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk

from itk_infer.errors import ConfigError
from itk_infer.model.kinds.fake import FakeBackend
from itk_infer.outputs.previous_stage import PreviousStageOutput
from itk_infer.outputs.sink import FinishedCase
from itk_infer.predictor import Predictor
from itk_infer.run.folder import run_folder
from itk_infer.run.settings import RunSettings
from itk_infer.testing.made_up import make_header

SIZE = (3, 4, 5)


@pytest.mark.parametrize("code", ["LPI", "RAS", "AIR", None])
@pytest.mark.parametrize("highest", [2, 700])
def test_it_is_written_on_the_grid_of_the_mask(tmp_path, code, highest):
    previous = np.random.default_rng(0).choice(np.array([0, 1, highest], np.uint16), SIZE)
    header = replace(make_header(SIZE, code), previous=previous)
    output = PreviousStageOutput(tmp_path / "a_previous.nii.gz", header)
    output.commit(FinishedCase(header, np.zeros(header.grid.size, np.uint8)))
    output.abort()
    image = sitk.ReadImage(str(tmp_path / "a_previous.nii.gz"))
    found = sitk.GetArrayFromImage(image)
    np.testing.assert_array_equal(found, header.reorientation.apply(previous))
    assert found.dtype == (np.uint8 if highest == 2 else np.uint16)
    assert image.GetDirection() == pytest.approx(header.grid.direction_xyz, abs=1e-6)


def test_a_model_of_one_stage_has_none(tmp_path):
    header = make_header(SIZE, None)
    with pytest.raises(ConfigError, match="no earlier stage"):
        PreviousStageOutput(tmp_path / "a", header).commit(FinishedCase(header, np.zeros(SIZE, np.uint8)))
    sitk.WriteImage(sitk.GetImageFromArray(np.ones(SIZE, np.float32)), str(tmp_path / "a.mha"))
    settings = RunSettings(tmp_path / "a.mha", tmp_path / "out", save=("previous_stage",))
    with pytest.raises(ConfigError, match="`keep_previous`: this model has no earlier stage"):
        run_folder(Predictor(FakeBackend()), settings)
    assert not (tmp_path / "out").exists()
