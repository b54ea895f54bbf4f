"""The header of a NIfTI-1 file, as ITK 5.4 writes it: the grid as qform and as sform, in scanner coordinates."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from itk_infer.volume.formats.nifti import FIRST_VOXEL, HEADER_BYTES, TYPES
from itk_infer.volume.formats.nifti_geometry import SCANNER
from itk_infer.volume.grid import Grid

CODES = {np.dtype(name): code for code, name in TYPES.items()}
LONGEST_AXIS = 2**15 - 1  # sizes are stored in 16 bits
MM_AND_SECONDS = 10


def nifti_header(shape: Sequence[int], dtype: np.dtype[np.generic], grid: Grid, intent: int) -> bytes:
    """The bytes before the first voxel, little-endian.

    Args:
        shape: (Z, Y, X), or (T, Z, Y, X) for several volumes.
        dtype: Type of a voxel.
        grid: Grid of a volume.
        intent: Meaning of the voxels, an intent code of nifti1.h.

    Raises:
        ValueError: NIfTI-1 cannot hold this type, or an axis that long.
    """
    code = CODES.get(dtype.newbyteorder("="))
    if code is None:
        raise ValueError(f"NIfTI has no voxels of type {dtype}")
    if max(shape) > LONGEST_AXIS:
        raise ValueError(f"NIfTI holds up to {LONGEST_AXIS:,} voxels along an axis")
    sizes, steps = list(shape[::-1]), [*grid.spacing[::-1], *[1.0] * (len(shape) - 3)]
    direction = np.reshape(grid.direction_xyz, (3, 3)) * [[-1], [-1], [1]]  # from LPS to RAS
    origin = np.array(grid.origin_xyz) * (-1, -1, 1)
    handedness, quaternion = _quaternion(direction)
    affine = np.column_stack([direction * grid.spacing[::-1], origin]) + 0.0  # no negative zeros
    header = bytearray(FIRST_VOXEL)
    struct.pack_into("<i", header, 0, HEADER_BYTES)
    header[38:39] = b"r"
    struct.pack_into("<8h", header, 40, len(shape), *sizes, *[1] * (7 - len(shape)))
    struct.pack_into("<3h", header, 68, intent, code, 8 * dtype.itemsize)
    struct.pack_into(f"<{1 + len(steps)}f", header, 76, handedness, *steps)
    struct.pack_into("<2f", header, 108, FIRST_VOXEL, 1.0)
    header[123] = MM_AND_SECONDS
    struct.pack_into("<2h6f", header, 252, SCANNER, SCANNER, *quaternion, *affine[:, 3])
    struct.pack_into("<12f", header, 280, *affine.ravel())
    header[344:348] = b"n+1\0"
    return bytes(header)


def _quaternion(direction: NDArray[np.float64]) -> tuple[float, tuple[float, float, float]]:
    """Handedness (-1: the third axis is flipped), and b, c, d of the unit quaternion a + bi + cj + dk with a >= 0.

    The largest of a, b, c, d follows from the diagonal, and the others from it, so that nothing cancels.
    """
    left, _, right = np.linalg.svd(direction)  # the nearest axes at right angles
    rotation = left @ right
    handedness = -1.0 if np.linalg.det(rotation) < 0 else 1.0
    rotation[:, 2] *= handedness
    (xx, xy, xz), (yx, yy, yz), (zx, zy, zz) = rotation.tolist()
    # Four times the products of a, b, c, d with each other.
    products = (
        (1 + xx + yy + zz, zy - yz, xz - zx, yx - xy),
        (zy - yz, 1 + xx - yy - zz, xy + yx, xz + zx),
        (xz - zx, xy + yx, 1 - xx + yy - zz, yz + zy),
        (yx - xy, xz + zx, yz + zy, 1 - xx - yy + zz),
    )
    row = max(range(4), key=lambda number: products[number][number])
    length = 2 * math.sqrt(products[row][row])
    a, b, c, d = (product / length for product in products[row])
    sign = -1.0 if a < 0 else 1.0
    return handedness, (sign * b + 0.0, sign * c + 0.0, sign * d + 0.0)
