"""Tests that every input format must pass."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from numpy.typing import NDArray

from itk_infer.errors import InputError
from itk_infer.volume.grid import Grid
from itk_infer.volume.read import file_sha256, read_header, read_image
from itk_infer.volume.volume import grid_of

SIZE = (7, 9, 11)


class FormatTests:
    """Tests of a format: subclass this class and implement `write`. The format must be in ``FORMATS``.

    Attributes:
        suffix: Ending of its files.
        grid: Grid of the written images. For formats that store no more, one at the origin with axes as stored.
        floats: Whether the format holds floating point numbers, which may be NaN.
    """

    suffix = ".nii"
    grid = Grid(SIZE, (3.0, 1.5, 0.75), (-11.0, 22.0, 33.0), (0.0, -1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0))
    floats = True

    def write(self, path: Path, array: NDArray[Any], grid: Grid) -> None:
        """Write an image (Z, Y, X) in this format, by other means than this package."""
        raise NotImplementedError

    def voxel_file(self, path: Path) -> Path:
        """The file whose end holds voxels: the image, or a data file beside it."""
        return path

    def noise(self, dtype: type[np.generic] = np.int16) -> NDArray[Any]:
        """Random voxels, which hardly compress."""
        return np.random.default_rng(7).integers(-1000, 3000, SIZE).astype(dtype)

    @pytest.fixture
    def image(self, tmp_path: Path) -> Path:
        """An image of noise."""
        path = tmp_path / f"a{self.suffix}"
        self.write(path, self.noise(), self.grid)
        return path

    def test_voxels_and_geometry_come_back(self, image: Path) -> None:
        """They equal those written, and there is no warning."""
        read = read_image(image)
        np.testing.assert_array_equal(sitk.GetArrayFromImage(read.image), self.noise())
        assert grid_of(read.image).same_as(self.grid)
        assert read.warnings == ()

    def test_the_header_alone_says_the_same(self, image: Path) -> None:
        """Memory is planned from the header, before the image is read."""
        header, read = read_header(image), read_image(image).image
        assert header.size == SIZE
        assert header.spacing == pytest.approx(read.GetSpacing()[::-1])
        assert header.direction_xyz == pytest.approx(read.GetDirection())
        assert header.dtype == sitk.GetArrayFromImage(read).dtype

    def test_the_digest_is_that_of_the_content(self, image: Path, tmp_path: Path) -> None:
        """It is the same with and without reading the voxels, and differs for other voxels."""
        digest = read_image(image).sha256
        assert file_sha256(image) == digest
        other = self.noise()
        other[3, 4, 5] += 1
        self.write(tmp_path / f"b{self.suffix}", other, self.grid)
        assert read_image(tmp_path / f"b{self.suffix}").sha256 != digest

    @pytest.mark.parametrize("percent", [10, 50, 99])
    def test_a_truncated_file_is_an_error_that_names_it(self, image: Path, percent: int) -> None:
        """For any number of missing bytes."""
        file = self.voxel_file(image)
        data = file.read_bytes()
        file.write_bytes(data[: len(data) * percent // 100])
        with pytest.raises(InputError, match=rf"^({re.escape(image.name)}|{re.escape(file.name)}): "):
            read_image(image)

    @pytest.mark.parametrize(
        "content", [b"", bytes(5000), bytes(range(256)) * 20], ids=["empty", "zeros", "bytes"]
    )
    def test_what_is_no_image_is_an_error(self, tmp_path: Path, content: bytes) -> None:
        """The error is raised before an image is made."""
        path = tmp_path / f"a{self.suffix}"
        path.write_bytes(content)
        for function in (read_header, read_image, file_sha256):
            with pytest.raises(InputError, match=re.escape(path.name)):
                function(path)

    def test_a_file_that_is_not_there_is_an_error(self, tmp_path: Path) -> None:
        """The error is an `InputError`."""
        with pytest.raises(InputError):
            read_image(tmp_path / f"absent{self.suffix}")

    @pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
    def test_voxels_that_are_no_number_are_refused(self, tmp_path: Path, bad: float) -> None:
        """The message gives their number."""
        if not self.floats:
            pytest.skip("this format holds whole numbers")
        array = self.noise(np.float32)
        array[3, 4, 5:7] = bad
        path = tmp_path / f"a{self.suffix}"
        self.write(path, array, self.grid)
        with pytest.raises(InputError, match=r"2 (voxels|pixels) that are NaN or infinite"):
            read_image(path)

    def test_the_case_of_the_suffix_does_not_matter(self, image: Path) -> None:
        """Suffixes may be in upper case."""
        large = image.rename(image.with_name(f"A{self.suffix.upper()}"))
        np.testing.assert_array_equal(sitk.GetArrayFromImage(read_image(large).image), self.noise())

    def test_reading_changes_nothing(self, image: Path) -> None:
        """No file is created, changed or renamed."""
        before = {path.name: path.read_bytes() for path in image.parent.iterdir()}
        read_header(image), read_image(image)
        assert {path.name: path.read_bytes() for path in image.parent.iterdir()} == before
