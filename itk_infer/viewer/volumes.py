"""The volumes of a case for the page, subsampled if they are very large."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from itk_infer.viewer.nifti import nifti_bytes, ras_affine
from itk_infer.volume.grid import Grid
from itk_infer.volume.names import is_picture
from itk_infer.volume.pictures import read_picture
from itk_infer.volume.read import read_header, read_volumes, volumes_in

MAX_VOXELS = 100_000_000  # the page needs 4 bytes of GPU memory per voxel, 8 with labels
MAX_AXIS = 2048  # smallest limit of 3D textures in WebGL2
SAMPLES = 1_000_000  # voxels from which the grey window is computed
NEARLY = 0.95  # fraction of the largest section
DARKEST, BRIGHTEST = 1.0, 99.7  # percentiles


@dataclass(frozen=True, slots=True)
class Target:
    """A position to show.

    Attributes:
        xyz: RAS coordinates in mm.
    """

    xyz: tuple[float, float, float]


def step_for(size: tuple[int, int, int]) -> int:
    """Step of subsampling along each axis: 1 (all voxels), 2, 4 ..."""
    step = 1
    while math.prod(-(-n // step) for n in size) > MAX_VOXELS or max(-(-n // step) for n in size) > MAX_AXIS:
        step *= 2
    return step


def step_note(path: Path) -> str:
    """A sentence if a volume is subsampled; empty if it is not. Errors as in `read_header`."""
    size = read_header(path, volumes_in(path)).size
    step = step_for(size)
    if step == 1:
        return ""
    whole = " x ".join(str(n) for n in size)
    return f"of {whole} voxels (Z Y X), one of {step} along each axis is shown; measurements are of all voxels"


def read_volume(path: Path, *, colours: bool = False) -> tuple[NDArray[Any], Grid]:
    """The voxels to show, (Z, Y, X), and their grid; of a 4D file, the first volume. Errors as in `read_image`.

    Args:
        path: The file.
        colours: Whether it may be a colour picture, which is converted to grey.
    """
    if colours and is_picture(path.name):
        pages = read_picture(path).pages
        array, grid = pages.mean(axis=-1, dtype=np.float32), read_header(path).grid
    else:
        array, grid = read_volumes(path, volumes_in(path))[0].channel
    step = step_for(grid.size)
    array = np.array(array[::step, ::step, ::step])
    spacing = (grid.spacing[0] * step, grid.spacing[1] * step, grid.spacing[2] * step)
    return array, replace(grid, size=array.shape, spacing=spacing)


def image_bytes(path: Path) -> bytes:
    """An image as NIfTI, with a grey window computed from percentiles."""
    array, grid = read_volume(path, colours=True)
    sample = array.reshape(-1)[:: max(1, array.size // SAMPLES)]
    low, high = np.percentile(sample, (DARKEST, BRIGHTEST))
    return nifti_bytes(array, grid, window=(float(low), float(high)))


def label_bytes(path: Path) -> bytes:
    """A label map as NIfTI, with the intent code of label maps."""
    array, grid = read_volume(path)
    return nifti_bytes(array, grid, labels=True)


def uncertainty_bytes(path: Path) -> bytes:
    """A map of uncertainty as NIfTI, with a window from 0 to the largest value of its type."""
    array, grid = read_volume(path)
    return nifti_bytes(array, grid, window=(0.0, 250.0 if array.dtype == np.uint8 else float(array.max())))


def largest_section(path: Path, value: int | None) -> Target | None:
    """The centre of a label in the plane, along the first axis, that has most of its voxels.

    Args:
        path: Label map.
        value: Value of the label; None: all labels together.

    Returns:
        None if there is no such voxel.
    """
    array, grid = read_volume(path)
    mask = array != 0 if value is None else array == value
    per_plane = mask.sum(axis=(1, 2))
    if not per_plane.any():
        return None
    large = np.nonzero(per_plane >= NEARLY * per_plane.max())[0]
    z = int(large[len(large) // 2])  # of equal planes, the middle one, as the first may be at the label's end
    ys, xs = np.nonzero(mask[z])
    nearest = int(np.argmin((ys - ys.mean()) ** 2 + (xs - xs.mean()) ** 2))  # the centre may be outside
    return _target(grid, (z, int(ys[nearest]), int(xs[nearest])))


def most_uncertain(path: Path) -> Target:
    """The position of the largest value of a map."""
    array, grid = read_volume(path)
    z, y, x = (int(i) for i in np.unravel_index(int(array.argmax()), array.shape))
    return _target(grid, (z, y, x))


def _target(grid: Grid, index: tuple[int, int, int]) -> Target:
    x, y, z = (ras_affine(grid) @ (*index[::-1], 1.0))[:3]
    return Target((float(x), float(y), float(z)))
