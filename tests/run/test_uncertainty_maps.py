"""Maps of uncertainty in a run, and beside the masks for other commands."""

from __future__ import annotations

from contextlib import closing

import numpy as np
import pytest
import SimpleITK as sitk

from itk_infer.errors import NoInputError
from itk_infer.evaluate.pairs import find_pairs
from itk_infer.run.ledger import Ledger
from itk_infer.run.postprocess_masks import postprocess_masks
from itk_infer.volume.marks import label_mark


def test_written_on_the_grid_of_the_mask(folder):
    folder.scan("a.mha")
    assert folder.run(save=("uncertainty",)).done == ["a.mha"]
    path = folder.output / "a.uncertainty.nii.gz"
    mask, found = (sitk.ReadImage(str(each)) for each in (folder.output / "a.mha", path))
    assert found.GetPixelID() == sitk.sitkUInt8
    assert found.GetSize() == mask.GetSize()
    np.testing.assert_allclose(found.GetOrigin(), mask.GetOrigin(), atol=1e-4)
    np.testing.assert_allclose(found.GetDirection(), mask.GetDirection(), atol=1e-4)
    assert sitk.GetArrayFromImage(found).max() <= 250
    with closing(Ledger(folder.output, read_only=True)) as ledger:
        assert ledger.outputs()["a.uncertainty.nii.gz"].kind == "uncertainty"
    assert folder.run(save=("uncertainty",)).skipped == {"a.mha": "already done"}
    path.unlink()
    assert folder.run(save=("uncertainty",)).done == ["a.mha"]  # what is missing is filled in


def test_it_is_no_label_map(folder, tmp_path):
    """Other commands take the masks beside it, and not it."""
    folder.scan("a.mha")
    folder.run(save=("uncertainty",))
    assert label_mark(folder.output / "a.uncertainty.nii.gz") == "a map of uncertainty of itk_infer"
    assert [pair.name for pair in find_pairs(folder.output, folder.output).pairs] == ["a"]
    (result,) = postprocess_masks(folder.output, tmp_path / "cleaned", ())
    assert result.name == "a.mha"
    (folder.output / "a.mha").unlink()
    with pytest.raises(NoInputError):
        list(postprocess_masks(folder.output, tmp_path / "cleaned", ()))
