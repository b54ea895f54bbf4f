"""The map of uncertainty as a file beside the mask."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk

from itk_infer.errors import OutputError
from itk_infer.outputs.sink import FinishedCase
from itk_infer.outputs.uncertainty import UncertaintyOutput
from itk_infer.testing.made_up import make_header


def test_the_values_turn_with_the_mask(tmp_path):
    values = np.random.default_rng(0).integers(0, 251, (9, 6, 7)).astype(np.uint8)
    header = make_header()
    values = values.reshape(header.grid.size)
    case = FinishedCase(header, np.zeros(header.grid.size, np.uint8), uncertainty=values)
    path = tmp_path / "a.uncertainty.nii.gz"
    output = UncertaintyOutput(path, header)
    output.abort()
    assert output.commit(case) == path
    np.testing.assert_array_equal(sitk.GetArrayFromImage(sitk.ReadImage(str(path))), values)
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]
    with pytest.raises(OutputError, match="no map of uncertainty"):
        output.commit(replace(case, uncertainty=None))
