from __future__ import annotations

import itertools
import struct
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st

from itk_infer.volume.formats.nifti_header import nifti_header
from itk_infer.volume.grid import Grid
from itk_infer.volume.volume import grid_of

TYPES = (
    sitk.sitkUInt8, sitk.sitkInt8, sitk.sitkInt16, sitk.sitkUInt16, sitk.sitkInt32, sitk.sitkUInt32, sitk.sitkInt64,
    sitk.sitkUInt64, sitk.sitkFloat32, sitk.sitkFloat64,
)  # fmt: skip
GEOMETRY = (*range(76, 108), *range(256, 328))  # bytes of pixdim, quaternion, offset and affine
AXES = [
    np.eye(3)[:, order] * signs
    for order in itertools.permutations(range(3))
    for signs in itertools.product((1, -1), repeat=3)
]


def same_as_simpleitk(image: sitk.Image, folder: Path, tolerance: float) -> None:
    """Bytes are equal, and numbers of the geometry within a tolerance (of which 0 allows for the sign of 0)."""
    sitk.WriteImage(image, str(folder / "image.nii"))
    expected = (folder / "image.nii").read_bytes()[:352]
    shape = image.GetSize()[::-1]
    volume = image[..., 0] if image.GetDimension() == 4 else image
    found = nifti_header(shape, sitk.GetArrayFromImage(image).dtype, grid_of(volume), 0)
    assert len(found) == 352
    assert [at for at in range(352) if found[at] != expected[at] and at not in GEOMETRY] == []
    pairs = [
        (*struct.unpack_from("<8f", of, 76), *struct.unpack_from("<18f", of, 256)) for of in (found, expected)
    ]
    np.testing.assert_allclose(*pairs, rtol=tolerance, atol=tolerance)


def image(direction: np.ndarray, kind: int = sitk.sitkUInt8, size: tuple[int, int, int] = (3, 4, 5)) -> sitk.Image:
    made = sitk.Image(size, kind)
    made.SetSpacing((0.8, 0.9, 2.1))
    made.SetOrigin((-10.1, 20.2, 30.3))
    made.SetDirection(direction.ravel())
    return made


def test_axes_of_every_order_and_direction(tmp_path: Path) -> None:
    for direction in AXES:
        same_as_simpleitk(image(direction), tmp_path, 0)


@given(st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=100)
def test_oblique_axes(tmp_path_factory: pytest.TempPathFactory, seed: int) -> None:
    direction = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))[0]
    same_as_simpleitk(image(direction), tmp_path_factory.mktemp("oblique"), 1e-6)


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("size", [(1, 1, 1), (5, 1, 1), (1, 1, 5), (2, 3, 4)])
def test_types_and_flat_sizes(tmp_path: Path, kind: int, size: tuple[int, int, int]) -> None:
    same_as_simpleitk(image(np.eye(3), kind, size), tmp_path, 0)


def test_several_volumes(tmp_path: Path) -> None:
    same_as_simpleitk(sitk.JoinSeries([image(AXES[7])] * 3), tmp_path, 0)


def test_intent() -> None:
    header = nifti_header((2, 2, 2), np.dtype(np.uint8), Grid((2, 2, 2), (1, 1, 1)), 1002)
    assert struct.unpack_from("<h", header, 68) == (1002,)
