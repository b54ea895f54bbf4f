"""The geometry of NIfTI headers against ITK as it is without environment variables, and against nibabel."""

from __future__ import annotations

import struct
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st

from itk_infer.errors import InputError
from itk_infer.volume.read import read_header, read_image

SHAPE = (5, 6, 7)
PERMISSIVE = "ITK_NIFTI_SFORM_PERMISSIVE"
UNITS = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 0.001}  # of nifti1.h, in millimetres


def rotation(axis, degrees):
    reorientation = sitk.VersorRigid3DTransform()
    reorientation.SetRotation(tuple(axis), float(np.radians(degrees)))
    return np.reshape(reorientation.GetMatrix(), (3, 3))


def save(path: Path, sform, qform, codes, unit=2, shape=SHAPE) -> Path:
    image = nib.Nifti1Image(np.arange(np.prod(shape), dtype=np.int16).reshape(shape), None)
    image.set_sform(sform, codes[0])
    image.set_qform(qform, codes[1])
    image.header["xyzt_units"] = unit
    nib.save(image, path)
    return path


def ras_affine(path: Path) -> np.ndarray:
    """Affine (4, 4) of what the package read, as nibabel has it."""
    image = read_image(path).image
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    affine[:3, 3] = image.GetOrigin()
    return np.diag([-1, -1, 1, 1]) @ affine


affines = st.builds(
    lambda axis, degrees, flip, spacing, offset: np.vstack(
        [np.column_stack([rotation(axis, degrees) * flip * np.array(spacing), offset]), [0, 0, 0, 1]]
    ),
    st.sampled_from([(0, 0, 1), (1, 2, 3), (1, -1, 1), (1, 0, 0)]),
    st.floats(-180, 180) | st.sampled_from([-90.0, 90.0, 180.0, 179.9, 0.01]),
    st.sampled_from([(1, 1, 1), (1, 1, -1), (-1, -1, 1)]),
    st.tuples(*[st.floats(0.25, 6)] * 3),
    st.tuples(*[st.floats(-500, 500)] * 3),
)


@settings(deadline=None, max_examples=150)
@given(affines, st.sampled_from([(1, 0), (0, 1), (1, 1), (4, 0), (0, 3), (0, 0)]), st.sampled_from(sorted(UNITS)))
def test_one_affine_is_read_as_by_itk_and_nibabel(tmp_path_factory, affine, codes, unit):
    path = save(tmp_path_factory.mktemp("nifti") / "a.nii", affine, affine, codes, unit)
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv(PERMISSIVE, raising=False)
        expected = sitk.ReadImage(str(path))
    image, header = read_image(path).image, read_header(path)
    assert image.GetSpacing() == expected.GetSpacing() == header.spacing[::-1]
    assert image.GetDirection() == header.direction_xyz
    np.testing.assert_allclose(image.GetDirection(), expected.GetDirection(), atol=1e-7)
    np.testing.assert_allclose(image.GetOrigin(), expected.GetOrigin(), rtol=1e-7)
    if codes != (0, 0):
        millimetres = np.diag([UNITS[unit]] * 3 + [1]) @ nib.load(path).affine
        np.testing.assert_allclose(ras_affine(path), millimetres, rtol=1e-4, atol=2e-3 * UNITS[unit])


@pytest.mark.parametrize(
    ("codes", "used"),
    [((1, 1), "sform"), ((1, 2), "sform"), ((2, 1), "qform"), ((4, 1), "qform"), ((2, 2), "qform")],
    ids=str,
)
def test_two_affines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, codes: tuple[int, int], used: str) -> None:
    """Of an sform for the scanner's coordinates and a qform, ITK takes the sform, else the qform."""
    qform, sform = np.diag([1.0, 2.0, 3.0, 1.0]), np.diag([1.0, 2.0, 3.0, 1.0])
    sform[:3, :3] = rotation((1, 2, 3), 20) * (1, 2, 3)
    path = save(tmp_path / "a.nii", sform, qform, codes)
    np.testing.assert_allclose(ras_affine(path), {"sform": sform, "qform": qform}[used], atol=1e-5)
    monkeypatch.delenv(PERMISSIVE, raising=False)
    np.testing.assert_allclose(
        read_image(path).image.GetDirection(), sitk.ReadImage(str(path)).GetDirection(), atol=1e-7
    )
    (warning,) = read_image(path).warnings
    assert warning.endswith(f"mm; the {used} is taken")


def test_equal_voxel_sizes_do_not_hide_a_rotation(tmp_path: Path) -> None:
    """ITK compares such forms by their singular vectors, which are arbitrary then."""
    sform = np.eye(4)
    sform[:3, :3] = rotation((0, 0, 1), 30)
    path = save(tmp_path / "a.nii", sform, np.eye(4), (2, 1))
    np.testing.assert_allclose(ras_affine(path), np.eye(4), atol=1e-6)
    assert "the qform is taken" in read_image(path).warnings[0]


def sheared(degrees: float) -> np.ndarray:
    affine = np.eye(4)
    affine[1, 2] = np.tan(np.radians(degrees))
    return affine


@pytest.mark.parametrize("value", [None, "", "0", "1", "NO", "YES"], ids=str)
class TestWhateverTheEnvironmentSays:
    @pytest.fixture(autouse=True)
    def environment(self, monkeypatch: pytest.MonkeyPatch, value: str | None) -> None:
        if value is None:
            monkeypatch.delenv(PERMISSIVE, raising=False)
        else:
            monkeypatch.setenv(PERMISSIVE, value)

    @pytest.mark.parametrize("codes", [(1, 0), (2, 0), (1, 1), (2, 2)], ids=str)
    def test_a_tilt_is_refused(self, tmp_path: Path, value: str | None, codes: tuple[int, int]) -> None:
        path = save(tmp_path / "a.nii", sheared(15), np.eye(4), codes)
        for function in (read_header, read_image):
            with pytest.raises(InputError, match="not at right angles"):
                function(path)
        if value == "YES" and codes[1] == 0:  # the trap is real: SimpleITK alone falls into it
            assert sitk.ReadImage(str(path)).GetSize() == SHAPE

    @pytest.mark.parametrize("codes", [(1, 0), (1, 1)], ids=str)
    def test_a_small_tilt_is_straightened(self, tmp_path: Path, value: str | None, codes: tuple[int, int]) -> None:
        path = save(tmp_path / "a.nii", sheared(0.5), sheared(0.5), codes, shape=(20, 20, 60))
        (warning,) = read_image(path).warnings
        assert "straightened" in warning
        half = np.radians(0.5) / 2  # each of the two axes turns by half of the angle
        np.testing.assert_allclose(ras_affine(path)[1:3, 1:3], [[1, half], [-half, 1]], atol=2e-4)

    def test_a_registration_to_a_template_may_shear(self, tmp_path: Path, value: str | None) -> None:
        path = save(tmp_path / "a.nii", sheared(15), np.eye(4), (4, 1))
        np.testing.assert_allclose(ras_affine(path), np.eye(4), atol=1e-6)
        assert "the qform is taken" in read_image(path).warnings[0]


def test_an_unused_qform_full_of_nan_does_no_harm(tmp_path: Path) -> None:
    path = save(tmp_path / "a.nii", sheared(0), np.eye(4), (1, 0))
    data = bytearray(path.read_bytes())
    struct.pack_into("<6f", data, 256, *[float("nan")] * 6)
    path.write_bytes(data)
    np.testing.assert_allclose(ras_affine(path), np.eye(4), atol=1e-7)


@pytest.mark.parametrize("code", ["u1", "i2", "i4", "f4", "f8"])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(("slope", "intercept"), [(0.5, -100.0), (3.0, 0.0), (1.0, 2.5)], ids=str)
def test_scaled_values_are_those_of_nibabel_and_itk(
    tmp_path: Path, code: str, order: str, slope: float, intercept: float
) -> None:
    header = nib.Nifti1Header(endianness=order)
    header.set_data_dtype(code)
    image = nib.Nifti1Image(np.arange(210).reshape(SHAPE).astype(code), np.eye(4), header)
    nib.save(image, tmp_path / "a.nii")
    data = bytearray((tmp_path / "a.nii").read_bytes())
    struct.pack_into(order + "2f", data, 112, slope, intercept)
    (tmp_path / "a.nii").write_bytes(data)
    found = sitk.GetArrayFromImage(read_image(tmp_path / "a.nii").image)
    np.testing.assert_allclose(found.T, nib.load(tmp_path / "a.nii").get_fdata(), rtol=1e-6)
    expected = sitk.ReadImage(str(tmp_path / "a.nii"))
    np.testing.assert_array_equal(found, sitk.GetArrayFromImage(expected))
    assert found.dtype == sitk.GetArrayViewFromImage(expected).dtype == read_header(tmp_path / "a.nii").dtype
