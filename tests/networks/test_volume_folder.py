from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk

from itk_infer.errors import InputError

pytest.importorskip("torch")


@pytest.fixture
def folder(tmp_path):
    """One case stored in LPS (identity direction), 3 x 4 x 5 voxels Z Y X, label 1 at the first voxel."""
    for name in ("images", "labels"):
        (tmp_path / name).mkdir()
    voxels = np.arange(60, dtype=np.int16).reshape(3, 4, 5)
    labels = np.zeros((3, 4, 5), np.uint8)
    labels[0, 0, 0] = 1
    sitk.WriteImage(sitk.GetImageFromArray(voxels), tmp_path / "images" / "a.nii.gz")
    sitk.WriteImage(sitk.GetImageFromArray(labels), tmp_path / "labels" / "a.nii.gz")
    return tmp_path


def test_an_item_is_oriented_normalised_and_padded_floor_before(networks, folder):
    cases = networks.VolumeFolder(folder / "images", folder / "labels", size=[4, 4, 8])
    assert len(cases) == 1
    item = cases[0]
    image, labels = item["inputs"].numpy(), item["data_samples"]["labels"].numpy()
    assert image.shape == (1, 4, 4, 8)
    assert image.dtype == np.float32
    inside = image[0, :3, :, 1:6]  # one plane of padding: after; three columns: one before, two after
    assert inside.mean() == pytest.approx(0, abs=1e-6)
    assert inside.std() == pytest.approx(1, abs=1e-6)
    assert np.count_nonzero(image) == 60
    # LPS to RAS turns X and Y round; Z stays.
    assert inside[0, -1, -1] == inside.min()
    assert inside[-1, 0, 0] == inside.max()
    assert np.argwhere(labels).tolist() == [[0, 3, 5]]


def test_a_volume_larger_than_an_item_is_an_error(networks, folder):
    cases = networks.VolumeFolder(folder / "images", folder / "labels", size=[4, 4, 4])
    with pytest.raises(InputError, match=r"a\.nii\.gz: has \(3, 4, 5\) voxels .* more than the \(4, 4, 4\)"):
        cases[0]


def test_an_empty_folder_is_an_error(networks, tmp_path):
    with pytest.raises(InputError, match=r"holds no \.nii\.gz image"):
        networks.VolumeFolder(tmp_path, tmp_path, size=[4, 4, 4])
