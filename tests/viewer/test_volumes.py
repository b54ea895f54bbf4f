from __future__ import annotations

import io
import math

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from itk_infer.viewer import volumes


def write(path, array, spacing=(1.0, 1.0, 1.0)):
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(spacing)
    sitk.WriteImage(image, str(path))
    return path


def read(data):
    return nibabel.Nifti1Image.from_stream(io.BytesIO(data))


@given(st.tuples(*[st.integers(1, 9000)] * 3))
def test_what_is_shown_fits_the_page(size):
    step = volumes.step_for(size)

    def fits(step):
        shown = [math.ceil(n / step) for n in size]
        return math.prod(shown) <= volumes.MAX_VOXELS and max(shown) <= volumes.MAX_AXIS

    assert fits(step)
    assert step == 1 or not fits(step // 2)


def test_large_volumes_are_halved_with_a_note(tmp_path, monkeypatch):
    array = np.arange(7 * 6 * 5, dtype=np.int16).reshape(7, 6, 5)
    path = write(tmp_path / "a.nrrd", array, (1.0, 2.0, 3.0))
    assert volumes.step_note(path) == ""
    whole = read(volumes.image_bytes(path))
    monkeypatch.setattr(volumes, "MAX_VOXELS", 100)
    assert volumes.step_note(path) == (
        "of 7 x 6 x 5 voxels (Z Y X), one of 2 along each axis is shown; measurements are of all voxels"
    )
    half = read(volumes.image_bytes(path))
    assert np.array_equal(np.asarray(half.dataobj), array[::2, ::2, ::2].T)
    # The same place has the same coordinates.
    for index in ((0, 0, 0), (1, 2, 3)):
        np.testing.assert_allclose(half.affine @ (*index, 1), whole.affine @ (*(2 * i for i in index), 1))


def test_the_window_leaves_outliers_out(tmp_path):
    array = np.linspace(0, 1000, 8000).astype(np.float32).reshape(20, 20, 20)
    array[0, 0, 0] = 1e6
    header = read(volumes.image_bytes(write(tmp_path / "a.mha", array))).header
    assert header["cal_min"] == pytest.approx(10, abs=1)
    assert header["cal_max"] == pytest.approx(997, abs=2)


@pytest.mark.parametrize(
    ("top", "expected"), [(np.uint8(90), 250), (np.float32(0.5), 0.5)], ids=["uint8", "float"]
)
def test_uncertainty_has_a_fixed_scale(top, expected, tmp_path):
    array = np.full((3, 4, 5), top)
    header = read(volumes.uncertainty_bytes(write(tmp_path / "a.nii.gz", array))).header
    assert (header["cal_min"], header["cal_max"]) == (0, expected)


def test_places_to_look_at(tmp_path):
    labels = np.zeros((6, 9, 9), np.uint8)
    labels[1, 2:5, 2:5] = 1
    labels[1, 3, 3] = 0  # hollow: the place is a voxel of it all the same
    labels[2, 2, 2] = 1
    labels[4, 0:9, 0:9] = 2
    path = write(tmp_path / "a.mha", labels, (1.0, 2.0, 3.0))  # x, y, z; SimpleITK's coordinates are LPS
    x, y, z = volumes.largest_section(path, 1).xyz
    assert labels[round(z / 3), round(-y / 2), round(-x)] == 1
    assert z == 3
    assert volumes.largest_section(path, 2).xyz == (-4, -8, 12)
    assert volumes.largest_section(path, None).xyz == (-4, -8, 12)
    assert volumes.largest_section(path, 7) is None
    doubt = np.zeros((6, 9, 9), np.uint8)
    doubt[5, 1, 3] = 9
    assert volumes.most_uncertain(write(tmp_path / "b.mha", doubt, (1.0, 2.0, 3.0))).xyz == (-3, -2, 15)


def test_a_picture_in_colour_is_shown_in_grey(tmp_path):
    """Its mask is shown by the numbers of its palette."""
    colours = np.random.default_rng(1).integers(0, 256, (6, 8, 3), np.uint8)
    Image.fromarray(colours).save(tmp_path / "a.png")
    found = np.asarray(read(volumes.image_bytes(tmp_path / "a.png")).dataobj)
    np.testing.assert_allclose(found[..., 0].T, colours.mean(axis=-1), atol=1e-4)
    mask = Image.fromarray(colours[..., 0] % 3)
    mask.putpalette([0] * 9)
    mask.save(tmp_path / "m.png")
    np.testing.assert_array_equal(
        np.asarray(read(volumes.label_bytes(tmp_path / "m.png")).dataobj)[..., 0].T, colours[..., 0] % 3
    )
