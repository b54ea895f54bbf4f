"""A volume as the bytes of a NIfTI-1 file, the only format that the page reads.

Header: https://nifti.nimh.nih.gov/nifti-1/, 348 bytes, and 4 bytes that declare no extension.
"""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from itk_infer.volume.grid import Grid

OFFSET = 352
MILLIMETRES = 2
# Without this code, NiiVue 0.69 interpolates the colours of a label map, which tints the background.
LABELS_INTENT = 1002
CODES = {"uint8": 2, "int16": 4, "int32": 8, "float32": 16, "uint16": 512}


def nifti_bytes(
    array: NDArray[Any], grid: Grid, *, labels: bool = False, window: tuple[float, float] = (0.0, 0.0)
) -> bytes:
    """Encode a volume as a NIfTI-1 file.

    Args:
        array: Voxels, (Z, Y, X); types that the page cannot show become float32.
        grid: Its grid in patient coordinates (LPS); converted to RAS.
        labels: Whether it is a label map.
        window: Darkest and brightest value to show; if equal, the page chooses.
    """
    name = array.dtype.name if array.dtype.name in CODES else "float32"
    voxels = np.ascontiguousarray(array, np.dtype(name).newbyteorder("<"))
    header = bytearray(OFFSET)
    struct.pack_into("<i", header, 0, 348)
    struct.pack_into("<8h", header, 40, 3, *reversed(array.shape), 1, 1, 1, 1)
    struct.pack_into("<3h", header, 68, LABELS_INTENT if labels else 0, CODES[name], 8 * voxels.itemsize)
    struct.pack_into("<8f", header, 76, 1.0, *reversed(grid.spacing), 1.0, 1.0, 1.0, 1.0)
    struct.pack_into("<3f", header, 108, OFFSET, 1.0, 0.0)
    struct.pack_into("<B", header, 123, MILLIMETRES)
    struct.pack_into("<2f", header, 124, window[1], window[0])
    struct.pack_into("<2h", header, 252, 0, 1)  # no qform; the sform gives scanner coordinates
    struct.pack_into("<12f", header, 280, *ras_affine(grid)[:3].ravel())
    struct.pack_into("<4s", header, 344, b"n+1\0")
    return bytes(header) + voxels.tobytes()


def ras_affine(grid: Grid) -> NDArray[np.float64]:
    """The affine matrix (4, 4) from voxel indices (x, y, z) to RAS coordinates in mm."""
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(grid.direction_xyz, (3, 3)) * grid.spacing[::-1]
    affine[:3, 3] = grid.origin_xyz
    affine[:2] *= -1  # LPS to RAS
    return affine
