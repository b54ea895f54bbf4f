"""NIfTI headers: what is refused, what is accepted although odd, what is only warned about."""

from __future__ import annotations

import struct
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from itk_infer.errors import InputError
from itk_infer.volume.read import read_header, read_image, read_volumes, volumes_in

ARRAY = np.arange(120, dtype=np.int16).reshape(4, 5, 6)  # (X, Y, Z), as nibabel has it
AFFINE = np.diag([1.0, 2.0, 3.0, 1.0])
NAN, INF = float("nan"), float("inf")


def save(path: Path, array: np.ndarray = ARRAY, affine: np.ndarray | None = AFFINE, **fields: object) -> Path:
    image = nib.Nifti1Image(array, affine)
    for field, value in fields.items():
        image.header[field] = value
    nib.save(image, path)
    return path


def patch(path: Path, offset: int, form: str, *values: object) -> Path:
    """Overwrite bytes of the header, which nibabel would not let us write."""
    data = bytearray(path.read_bytes())
    struct.pack_into("<" + form, data, offset, *values)
    path.write_bytes(bytes(data))
    return path


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("code", ["u1", "i1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8"])
def test_every_type_in_both_byte_orders(tmp_path: Path, suffix: str, order: str, code: str) -> None:
    header = nib.Nifti1Header(endianness=order)
    header.set_data_dtype(code)
    path = tmp_path / f"a{suffix}"
    nib.save(nib.Nifti1Image(ARRAY.astype(code), AFFINE, header), path)
    result = read_image(path)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(result.image), ARRAY.T)
    assert read_header(path).dtype == np.dtype(code) == sitk.GetArrayViewFromImage(result.image).dtype
    assert read_header(path).spacing == (3.0, 2.0, 1.0)


@pytest.mark.parametrize(
    ("offset", "form", "values", "reason"),
    [
        (40, "h", [0], "has 0 dimensions"),
        (40, "h", [1], "has 1 dimensions"),
        (40, "h", [8], "has 8 dimensions"),
        (40, "h", [-3], "has -3 dimensions"),
        (40, "hhhh", [2, 4, 30, 1], r"has 2 dimensions \(4 x 30\)"),
        (40, "hhhhh", [4, 4, 5, 3, 2], r"has 4 dimensions \(4 x 5 x 3 x 2\)"),
        (40, "hhhhhh", [5, 4, 5, 2, 1, 3], "has 5 dimensions"),
        (40, "hhhhh", [4, 4, 5, 6, 0], "dimension smaller than one"),
        (42, "h", [0], "0 x 5 x 6 voxels; every size must be positive"),
        (44, "h", [-5], "4 x -5 x 6 voxels; every size must be positive"),
        (42, "hhh", [30000, 30000, 30000], "more than the 2,147,483,648"),
        (42, "h", [400], "24,000 bytes|truncated"),
        (70, "h", [0], "unknown type 0"),
        (70, "h", [1], "single bits"),
        (70, "h", [32], "complex"),
        (70, "h", [128], "RGB colours"),
        (70, "h", [1536], "128-bit floats"),
        (70, "h", [1792], "complex"),
        (70, "h", [2304], "RGBA"),
        (84, "f", [0.0], "spacing of 1 x 0 x 3 mm"),
        (84, "f", [-2.0], "spacing of 1 x -2 x 3 mm"),
        (84, "f", [NAN], "spacing of 1 x nan x 3 mm"),
        (84, "f", [INF], "spacing of 1 x inf x 3 mm"),
        (84, "f", [1e-7], "spacing of 1 x 1e-07 x 3 mm, which no image has"),
        (84, "f", [2e4], "spacing of 1 x 20000 x 3 mm, which no image has"),
        (108, "f", [0.0], "begin at byte 0, inside the header"),
        (108, "f", [350.0], "begin at byte 350"),
        (108, "f", [-5.0], "begin at byte -5"),
        (108, "f", [NAN], "begin at byte nan"),
        (108, "f", [1e9], "holds 0 bytes of voxels"),
        (108, "f", [354.0], "holds 238 bytes of voxels where its header announces 240"),
        (280, "f", [NAN], "orientation holds NaN"),
        (280, "f", [0.0], "axis of no length"),
        pytest.param(344, "4s", [b"ni1\0"], "half of an Analyze or NIfTI pair", id="half of a NIfTI pair"),
        pytest.param(344, "4s", [b"\0\0\0\0"], "half of an Analyze or NIfTI pair", id="half of an Analyze pair"),
    ],
)
def test_a_header_that_cannot_be_trusted(
    tmp_path: Path, offset: int, form: str, values: list[object], reason: str
) -> None:
    path = patch(save(tmp_path / "a.nii"), offset, form, *values)
    for function in (read_header, read_image):
        with pytest.raises(InputError, match=f"^a.nii: .*({reason})"):
            function(path)


def test_nan_in_the_quaternion(tmp_path: Path) -> None:
    path = patch(save(tmp_path / "a.nii"), 252, "hh", 1, 0)
    with pytest.raises(InputError, match="orientation holds NaN"):
        read_header(patch(path, 256, "f", NAN))


@pytest.mark.parametrize("dims", [(3, 4, 5, 6, 0), (4, 4, 5, 6, 1), (5, 4, 5, 6, 1, 1), (7, 4, 5, 6, 1, 1, 1, 1)])
def test_trailing_dimensions_of_one_are_no_dimensions(tmp_path: Path, dims: tuple[int, ...]) -> None:
    path = patch(save(tmp_path / "a.nii"), 40, f"{len(dims)}h", *dims)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(read_image(path).image), ARRAY.T)
    assert read_header(path).size == (6, 5, 4)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_an_axis_of_one_voxel_stays_three_dimensional(tmp_path: Path, axis: int) -> None:
    array = ARRAY.take([2], axis)
    path = save(tmp_path / "a.nii.gz", array)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(read_image(path).image), array.T)


@pytest.mark.parametrize(
    ("slope", "inter", "applied"),
    [(NAN, NAN, (1, 0)), (0, 0, (1, 0)), (1, 0, (1, 0)), (2, 5, (2, 5)), (0, 7, (1, 7)), (NAN, 7, (1, 7))],
)
def test_scale_factors(tmp_path: Path, slope: float, inter: float, applied: tuple[int, int]) -> None:
    path = patch(save(tmp_path / "a.nii"), 112, "ff", slope, inter)
    result = read_image(path)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(result.image), ARRAY.T * applied[0] + applied[1])
    assert read_header(path).dtype == np.dtype("i2" if applied == (1, 0) else "f4")
    assert ["an intercept of 7 without a slope" in text for text in result.warnings] == [True] * (inter == 7)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("code", ["f4", "f8"])
def test_voxels_that_are_no_number_are_counted(tmp_path: Path, suffix: str, order: str, code: str) -> None:
    array = ARRAY.astype(code)
    array[0, 0, 0], array[1, 2, 3], array[-1, -1, -1] = NAN, INF, -INF
    header = nib.Nifti1Header(endianness=order)
    header.set_data_dtype(code)
    nib.save(nib.Nifti1Image(array, AFFINE, header), tmp_path / f"a{suffix}")
    with pytest.raises(InputError, match="holds 3 voxels that are NaN or infinite"):
        read_image(tmp_path / f"a{suffix}")


def test_bytes_after_the_voxels_are_no_voxels(tmp_path: Path) -> None:
    path = save(tmp_path / "a.nii", ARRAY.astype(np.float32))
    path.write_bytes(path.read_bytes() + struct.pack("<f", NAN))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(read_image(path).image), ARRAY.T)


def test_nifti_2_is_refused_by_name(tmp_path: Path) -> None:
    for name in ("a.nii", "a.nii.gz"):
        nib.save(nib.Nifti2Image(ARRAY, AFFINE), tmp_path / name)
        with pytest.raises(InputError, match="is NIfTI-2, which SimpleITK does not read; convert it"):
            read_header(tmp_path / name)


def both(path: Path, sform: np.ndarray, qform: np.ndarray, codes: tuple[int, int]) -> tuple[str, ...]:
    image = nib.Nifti1Image(ARRAY, None)
    image.set_sform(sform, codes[0])
    image.set_qform(qform, codes[1])
    nib.save(image, path)
    return read_image(path).warnings


class TestOrientationWarnings:
    turned = np.array([[0.0, -2.0, 0.0, 5.0], [1.0, 0.0, 0.0, -7.0], [0.0, 0.0, -3.0, 9.0], [0, 0, 0, 1]])

    @pytest.mark.parametrize("codes", [(1, 1), (1, 0), (0, 1), (4, 2)])
    def test_none_where_both_agree(self, tmp_path: Path, codes: tuple[int, int]) -> None:
        for affine in (AFFINE, self.turned, self.turned @ np.diag([-1, 1, 1, 1])):
            assert both(tmp_path / "a.nii", affine, affine, codes) == ()

    @pytest.mark.parametrize("codes", [(1, 1), (2, 1), (1, 4)])
    def test_qform_against_sform(self, tmp_path: Path, codes: tuple[int, int]) -> None:
        shifted = AFFINE + np.outer([0, 1, 0, 0], [0, 0, 0, 4.0])
        (warning,) = both(tmp_path / "a.nii", shifted, AFFINE, codes)
        used = "sform" if codes[0] == 1 else "qform"
        assert warning == f"a.nii: qform and sform disagree by up to 4 mm; the {used} is taken"
        (warning,) = both(tmp_path / "a.nii", AFFINE @ np.diag([-1, 1, 1, 1]), AFFINE, codes)
        assert "disagree by up to 6 mm" in warning  # x = +3 against x = -3 at the far end of four voxels

    def test_a_code_of_zero_disagrees_with_nothing(self, tmp_path: Path) -> None:
        assert both(tmp_path / "a.nii", self.turned, AFFINE, (0, 1)) == ()

    def test_voxel_sizes(self, tmp_path: Path) -> None:
        (warning,) = both(tmp_path / "a.nii", np.diag([1, 2, 4.0, 1]), AFFINE, (1, 1))
        assert warning.startswith(
            "a.nii: sform and pixdim give different voxel sizes (1 x 2 x 4 and 1 x 2 x 3 mm,"
        )
        assert read_header(tmp_path / "a.nii").spacing == (3.0, 2.0, 1.0)  # as the warning says

    def test_nothing_stored(self, tmp_path: Path) -> None:
        (warning,) = both(tmp_path / "a.nii", AFFINE, AFFINE, (0, 0))
        assert warning == "a.nii: stores no orientation; its axes are taken as they are"

    def test_skew_is_an_error_of_our_own(self, tmp_path: Path) -> None:
        skewed = AFFINE.copy()
        skewed[0, 1] = 1.0
        path = patch(save(tmp_path / "a.nii", affine=skewed), 252, "h", 0)
        with pytest.raises(InputError, match=r"^a\.nii: its axes are not at right angles .*resample"):
            read_header(path)


@pytest.mark.parametrize("slope", [1.0, 0.5])
def test_volumes_of_a_4d_file(tmp_path: Path, slope: float) -> None:
    """In the order of the file, scaled as one volume is; a file of another number of them is refused."""
    voxels = np.random.default_rng(0).integers(-50, 50, (4, 5, 6, 3)).astype(np.int16)
    path = save(tmp_path / "a.nii.gz", voxels, scl_slope=slope, scl_inter=2.0)
    assert volumes_in(path) == 3
    assert read_header(path, 3).nbytes == 360 * 4
    volumes = read_volumes(path, 3)
    for number, volume in enumerate(volumes):
        expected = np.asanyarray(nib.load(path).dataobj)[..., number].T
        np.testing.assert_allclose(sitk.GetArrayFromImage(volume.image), expected)
        assert volume.image.GetSpacing() == (1.0, 2.0, 3.0)
    assert len({volume.sha256 for volume in volumes}) == 1
    for wanted, words in ((1, "one 3D volume is needed"), (4, "4 volumes are needed")):
        with pytest.raises(InputError, match=rf"has 4 dimensions \(4 x 5 x 6 x 3\); {words}"):
            read_volumes(path, wanted)
    with pytest.raises(InputError, match="one 3D volume is needed"):
        read_header(path)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(InputError):
        read_volumes(path, 3)
