"""Label maps with known answers, and made-up ones."""

from __future__ import annotations

import json

import numpy as np
import pytest
import SimpleITK as sitk


@pytest.fixture(scope="session")
def known(shared):
    """What is known of the pairs in the shared folder."""
    return json.loads((shared / "metrics" / "expected.json").read_text("utf-8"))


@pytest.fixture(scope="session")
def known_pair(shared):
    """A function from the name of a pair to its mask and truth."""

    def read(name):
        files = (shared / "metrics" / f"{name}_{side}.nii.gz" for side in ("prediction", "truth"))
        mask, truth = (sitk.GetArrayFromImage(sitk.ReadImage(str(file))) for file in files)
        return mask, truth

    return read


@pytest.fixture
def write_labels(tmp_path):
    """A function that writes a label map below the scratch folder and returns its path."""

    def write(name, array, spacing_zyx=(1.0, 1.0, 1.0), origin=(0.0, 0.0, 0.0), code=None):
        image = sitk.GetImageFromArray(np.asarray(array))
        image.SetSpacing([float(step) for step in spacing_zyx[::-1]])
        image.SetOrigin(origin)
        if code is not None:
            image = sitk.DICOMOrient(image, code)
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        sitk.WriteImage(image, str(path))
        return path

    return write


def blobs(seed, shape=(14, 17, 15), values=2):
    """A label map of a few overlapping boxes."""
    rng = np.random.default_rng(seed)
    array = np.zeros(shape, np.uint8)
    for value in range(1, values + 1):
        for _ in range(3):
            low = rng.integers(0, np.array(shape) - 3)
            high = low + rng.integers(2, 8, 3)
            array[tuple(slice(a, b) for a, b in zip(low, high))] = value
    return array
