"""Every input format passes the tests of `FormatTests`, written by SimpleITK."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk

from itk_infer.testing import FormatTests
from itk_infer.testing.formats import SIZE
from itk_infer.volume.formats import FORMATS
from itk_infer.volume.grid import Grid
from itk_infer.volume.volume import image_of


class Written(FormatTests):
    packed = False
    part = ""

    def write(self, path, array, grid):
        sitk.WriteImage(image_of(array, grid), str(path), self.packed)

    def voxel_file(self, path):
        return path.with_suffix(self.part) if self.part else path


class TestNifti(Written):
    suffix = ".nii"


class TestPackedNifti(Written):
    suffix, packed = ".nii.gz", True


class TestMetaImage(Written):
    suffix = ".mha"


class TestPackedMetaImage(Written):
    suffix, packed = ".mha", True


class TestDetachedMetaImage(Written):
    suffix, part = ".mhd", ".raw"


class TestPackedDetachedMetaImage(Written):
    suffix, part, packed = ".mhd", ".zraw", True


class TestNrrd(Written):
    suffix = ".nrrd"


class TestPackedNrrd(Written):
    suffix, packed = ".nrrd", True


class TestDetachedNrrd(Written):
    suffix, part = ".nhdr", ".raw"


class TestPackedDetachedNrrd(Written):
    suffix, part, packed = ".nhdr", ".raw.gz", True

    def voxel_file(self, path):
        return path.with_name(f"{path.stem}{self.part}")


class TestTiff(FormatTests):
    suffix, grid = ".tif", Grid(SIZE, (1.0, 1.0, 1.0))

    def write(self, path, array, grid):
        pytest.importorskip("tifffile").imwrite(path, array, photometric="minisblack")


class TestNumPy(FormatTests):
    suffix, grid = ".npy", Grid(SIZE, (1.0, 1.0, 1.0))

    def write(self, path, array, grid):
        np.save(path, array)


class TestPackedNumPy(FormatTests):
    suffix, grid = ".npz", Grid(SIZE, (1.0, 1.0, 1.0))

    def write(self, path, array, grid):
        np.savez(path, array)


# Of one page, and mostly of 8 bits: tests/volume/test_pictures.py, tests/volume/picture_files.
PAGES = {".png", ".jpg", ".jpeg", ".tiff", ".bmp", ".webp"}


def test_every_format_is_tested() -> None:
    tested = {test.suffix for test in (*Written.__subclasses__(), TestTiff, TestNumPy, TestPackedNumPy)}
    assert tested | PAGES == {suffix for form in FORMATS for suffix in form.suffixes}
