"""Straightened axes against Higham's iteration and against moving every voxel."""

from __future__ import annotations

import itertools
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st

from itk_infer.errors import InputError
from itk_infer.volume.grid import Grid
from itk_infer.volume.read import read_header, read_image
from itk_infer.volume.right_angles import straightened
from itk_infer.volume.volume import image_of, volume_of
from itk_infer.volume.write import write_image


def rotation(axis, degrees):
    reorientation = sitk.VersorRigid3DTransform()
    reorientation.SetRotation(tuple(axis), float(np.radians(degrees)))
    return np.reshape(reorientation.GetMatrix(), (3, 3))


def orthogonal_factor(matrix):
    """Of the polar decomposition: Newton's iteration of Higham (1986)."""
    for _ in range(60):
        matrix = (matrix + np.linalg.inv(matrix).T) / 2
    return matrix


def drift(grid, direction, other):
    """How far the corners of the outermost voxels move, in voxels of `other`, axis by axis, at most."""
    corners = np.array(list(itertools.product(*((0, n) for n in grid.size[::-1])))) * grid.spacing[::-1]
    moved = corners @ np.subtract(direction, other).T
    return np.abs(moved @ other / grid.spacing[::-1]).max()


rotations = st.builds(
    rotation,
    st.sampled_from([(0, 0, 1), (1, 2, 3), (1, -1, 1), (1, 0, 0)]),
    st.floats(-180, 180),
)
sizes = st.tuples(*[st.integers(1, 300)] * 3)
spacings = st.tuples(*[st.floats(0.2, 5)] * 3)


@settings(deadline=None, max_examples=200)
@given(
    rotations,
    st.lists(st.floats(-0.01, 0.01), min_size=9, max_size=9),
    st.booleans(),
    sizes,
    spacings,
)
def test_the_nearest_axes_or_none(reorientation, noise, mirrored, size, spacing):
    direction = reorientation @ (np.eye(3) + np.reshape(noise, (3, 3)) / 3)
    direction[:, 0] *= -1 if mirrored else 1
    grid = Grid(size, spacing, (1.0, 2.0, 3.0), tuple(direction.ravel()))
    expected = orthogonal_factor(direction)
    off = drift(grid, direction, expected)
    if off > 0.5001:
        with pytest.raises(InputError, match=r"^a\.nii: its axes .* on a regular grid, voxels would be off"):
            straightened("a.nii", grid)
    elif off < 0.4999:
        found, warning = straightened("a.nii", grid)
        axes = np.reshape(found.direction_xyz, (3, 3))
        assert (found.size, found.spacing, found.origin_xyz) == (size, spacing, (1.0, 2.0, 3.0))
        assert np.sign(np.linalg.det(axes)) == (-1 if mirrored else 1)
        if warning is None:
            assert off < 0.0101
        else:
            assert off > 0.0099
            assert f"({off:.2g} voxels)" in warning or off < 0.011
        np.testing.assert_allclose(axes.T @ axes, np.eye(3), atol=1e-4)
        if found is not grid:
            np.testing.assert_allclose(axes, expected, atol=1e-9)


@settings(deadline=None, max_examples=50)
@given(rotations, sizes, spacings)
def test_axes_at_right_angles_keep_their_very_numbers(reorientation, size, spacing):
    grid = Grid(size, spacing, direction_xyz=tuple(reorientation.ravel()))
    assert straightened("a", grid) == (grid, None)


def test_what_moved_is_told():
    """Half of the shear falls to each axis: 0.005 * 80 mm along Y, 0.005 * 10 mm along Z, 0.403 mm together."""
    grid = Grid((40, 10, 10), (2.0, 1.0, 1.0), direction_xyz=(1, 0, 0, 0, 1, 0.01, 0, 0, 1))
    _, warning = straightened("a", grid)
    assert warning is not None
    assert "voxels move by up to 0.403 mm (0.4 voxels)" in warning


@pytest.mark.parametrize(
    ("direction", "what"),
    [
        ((1, 0, 0, 0, 1, 1.5, 0, 0, 1), "not at right angles"),
        ((0, 0, 0, 0, 0, 0, 0, 0, 0), "lengths of 0 x 0 x 0 instead of 1"),
        ((2, 0, 0, 0, 2, 0, 0, 0, 2), "lengths of 2 x 2 x 2 instead of 1"),
        ((1, 1, 0, 0, 0, 0, 0, 0, 1), "not at right angles"),
        ((1, 0, 0, 0, float("nan"), 0, 0, 0, 1), "NaN or infinity"),
    ],
    ids=["shear", "zero", "scaled", "singular", "nan"],
)
def test_what_no_grid_can_describe(direction, what):
    with pytest.raises(InputError, match=f"^a: its .*{what}"):
        straightened("a", Grid((1, 1, 1), (1.0, 1.0, 1.0), direction_xyz=direction))


def rounded(path: Path, direction: np.ndarray) -> Path:
    """A file of 40 x 50 x 60 voxels of 0.9 x 1.1 x 2 mm with a direction as it stands."""
    size, spacing = (40, 50, 60), (0.9, 1.1, 2.0)
    data = np.zeros(size, np.uint8).tobytes()
    if path.suffix == ".mha":
        matrix = " ".join(f"{value:g}" for value in direction.T.ravel())
        header = (
            "ObjectType = Image\nNDims = 3\nBinaryData = True\nBinaryDataByteOrderMSB = False\n"
            f"CompressedData = False\nTransformMatrix = {matrix}\nOffset = -30 40 25\nElementSpacing = 0.9 1.1 2\n"
            "DimSize = 40 50 60\nElementType = MET_UCHAR\nElementDataFile = LOCAL\n"
        )
        path.write_bytes(header.encode() + data)
    elif path.suffix == ".nrrd":
        vectors = " ".join(
            "(" + ",".join(f"{value:.9g}" for value in direction[:, i] * spacing[i]) + ")" for i in range(3)
        )
        header = (
            "NRRD0004\ntype: uchar\ndimension: 3\nspace: left-posterior-superior\nsizes: 40 50 60\n"
            f"space directions: {vectors}\nencoding: raw\nspace origin: (-30,40,25)\n\n"
        )
        path.write_bytes(header.encode() + data)
    else:
        affine = np.eye(4)
        affine[:3, :3] = np.diag([-1, -1, 1]) @ direction * spacing
        affine[:3, 3] = (30, -40, 25)
        image = nib.Nifti1Image(np.zeros(size, np.uint8), affine)
        image.header["pixdim"][1:4] = spacing
        image.set_sform(affine, 1)
        image.set_qform(None, 0)
        nib.save(image, path)
    return path


@pytest.mark.parametrize("suffix", [".nii.gz", ".mha", ".nrrd"])
@pytest.mark.parametrize("digits", [3, 4])
@pytest.mark.parametrize("target", ["nii.gz", "mha", "seg.nrrd"])
def test_rounded_directions_are_read_and_written_in_every_format(
    tmp_path: Path, suffix: str, digits: int, target: str
) -> None:
    direction = np.round(rotation((1, 2, 3), 25), digits)
    path = rounded(tmp_path / f"a{suffix}", direction)
    result = read_image(path)
    axes = np.reshape(result.image.GetDirection(), (3, 3))
    np.testing.assert_allclose(axes.T @ axes, np.eye(3), atol=1e-4)
    np.testing.assert_allclose(axes, direction, atol=2 * 10.0**-digits)
    assert read_header(path).direction_xyz == result.image.GetDirection()
    assert [warning.startswith(f"a{suffix}: its axes") for warning in result.warnings] == [True] * (digits == 3)
    write_image(result.image, tmp_path / f"mask.{target}")  # reads back, and compares the geometry
    mask = sitk.ReadImage(str(tmp_path / f"mask.{target}"))
    np.testing.assert_allclose(mask.GetDirection(), result.image.GetDirection(), atol=2e-6)
    np.testing.assert_allclose(mask.GetOrigin(), (-30, 40, 25), atol=1e-5)


@pytest.mark.parametrize("suffix", [".nii.gz", ".mha", ".nrrd"])
@pytest.mark.parametrize("degrees", [1, 15])
def test_a_tilted_gantry_is_refused_by_the_header(tmp_path: Path, suffix: str, degrees: float) -> None:
    direction = np.array([[1, 0, 0], [0, 1, np.sin(np.radians(degrees))], [0, 0, np.cos(np.radians(degrees))]])
    path = rounded(tmp_path / f"a{suffix}", direction)
    grid = Grid((60, 50, 40), (2.0, 1.1, 0.9))
    off = drift(grid, direction, orthogonal_factor(direction))
    for function in (read_header, read_image):
        with pytest.raises(InputError, match=rf"^a{suffix}: its axes are not at right angles .*\(") as caught:
            function(path)
        assert f"({off:.2g} voxels)" in str(caught.value)
        assert "resample" in str(caught.value)


def test_an_image_in_memory_is_straightened_too() -> None:
    grid = Grid((60, 50, 40), (2.0, 1.1, 0.9))
    direction = np.round(rotation((1, 2, 3), 25), 3)
    image = image_of(np.zeros(grid.size, np.uint8), grid)
    image.SetDirection(direction.ravel())
    volume = volume_of([image], "the image")
    np.testing.assert_allclose(
        np.reshape(volume.grid.direction_xyz, (3, 3)), orthogonal_factor(direction), atol=1e-9
    )
    assert len(volume.warnings) == 1


@settings(deadline=None, max_examples=50)
@given(rotations, st.lists(st.floats(-0.003, 0.003), min_size=9, max_size=9))
def test_nibabel_strips_small_shears_alike(reorientation, noise):
    affine = np.eye(4)
    affine[:3, :3] = reorientation @ (np.eye(3) + np.reshape(noise, (3, 3)))
    image = nib.Nifti1Image(np.zeros((2, 2, 2), np.uint8), None)
    image.set_qform(affine, 1, strip_shears=True)
    expected = image.get_qform()[:3, :3]
    direction = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)  # nibabel's pixdim has the lengths
    found, _ = straightened("a", Grid((80, 80, 80), (1.0, 1.0, 1.0), direction_xyz=tuple(direction.ravel())))
    np.testing.assert_allclose(
        np.reshape(found.direction_xyz, (3, 3)), expected / np.linalg.norm(expected, axis=0), atol=2e-4
    )
