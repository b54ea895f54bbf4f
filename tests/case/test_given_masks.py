"""Label maps of a first stage that somebody else made."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk

from itk_infer.case.given_masks import given_mask
from itk_infer.case.images import volume_of_images
from itk_infer.errors import InputError
from itk_infer.volume.volume import Volume

LABELS = np.random.default_rng(0).integers(0, 3, (4, 5, 6)).astype(np.uint8)


def case(name="sub/a.nii.gz", spacing=(1.0, 1.0, 1.0)):
    image = sitk.GetImageFromArray(np.zeros((4, 5, 6), np.int16))
    image.SetSpacing(spacing)
    volume, _ = volume_of_images(image)
    return Volume(volume.array, volume.grid, name)


def write(path, array=LABELS):
    path.parent.mkdir(exist_ok=True)
    sitk.WriteImage(sitk.GetImageFromArray(array), str(path))


def test_the_mask_of_a_case_is_found_by_its_name_and_turned(tmp_path):
    write(tmp_path / "sub" / "a.mha")
    write(tmp_path / "a.mha", LABELS * 0)
    (tmp_path / "sub" / "a.txt").touch()
    volume = case()
    _, reorientation = volume.grid.reoriented("RAS")
    np.testing.assert_array_equal(given_mask(tmp_path, volume, reorientation), reorientation.apply(LABELS))


def test_what_is_no_mask_of_the_case(tmp_path):
    _, as_stored = case().grid.reoriented(None)
    with pytest.raises(InputError, match="needs one named a, and there is none"):
        given_mask(tmp_path, case(), as_stored)
    write(tmp_path / "sub" / "a.mha")
    with pytest.raises(InputError, match="lies on another grid"):
        given_mask(tmp_path, case(spacing=(1.0, 1.0, 2.0)), as_stored)
    write(tmp_path / "sub" / "a.nrrd")
    with pytest.raises(InputError, match="and there are 2"):
        given_mask(tmp_path, case(), as_stored)
    write(tmp_path / "b.mha", LABELS.astype(np.float32) + 0.5)
    with pytest.raises(InputError, match="not whole numbers from 0 to 65535"):
        given_mask(tmp_path, case("b.mha"), as_stored)
