"""NIfTI-1 files (``.nii``, ``.nii.gz``): https://nifti.nimh.nih.gov/pub/dist/src/niftilib/nifti1.h."""

from __future__ import annotations

import math
import struct
import sys
import zlib
from pathlib import Path

import numpy as np

from itk_infer.errors import InputError
from itk_infer.volume.formats.layout import Layout, checked_size
from itk_infer.volume.formats.nifti_geometry import header_grid
from itk_infer.volume.formats.stream import GZIP_MAGIC
from itk_infer.volume.names import printable

HEADER_BYTES = 348
FIRST_VOXEL = 352
TYPES = {
    2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2", 768: "u4", 1024: "i8", 1280: "u8",
}  # fmt: skip
OTHER_TYPES = {
    1: "single bits", 32: "complex numbers", 128: "RGB colours", 1536: "128-bit floats", 1792: "complex numbers",
    2048: "complex numbers", 2304: "RGBA colours",
}  # fmt: skip
EPSILON = sys.float_info.epsilon


def check_header(path: Path) -> Layout:
    """The layout of a single-file NIfTI-1 image of either byte order, compressed or not.

    Raises:
        InputError: the header is damaged, or does not describe 3D scalar volumes.
    """
    name = printable(path.name)
    header, packed = _header(path)
    order = next(
        (o for o in "<>" if len(header) >= 4 and struct.unpack_from(o + "i", header)[0] == HEADER_BYTES), ""
    )
    if not order and any(header.startswith(struct.pack(o + "i", 540)) for o in "<>"):
        raise InputError(f"{name}: is NIfTI-2, which SimpleITK does not read; convert it to NIfTI-1 or NRRD")
    if not order or len(header) < HEADER_BYTES:
        raise InputError(f"{name}: has no NIfTI header; the file is damaged or of another format")
    if header[344:348] != b"n+1\0":
        raise InputError(
            f"{name}: is half of an Analyze or NIfTI pair (.hdr and .img); convert it to a single .nii.gz file"
        )
    dim = struct.unpack_from(order + "8h", header, 40)
    (code,) = struct.unpack_from(order + "h", header, 70)
    (first_voxel,) = struct.unpack_from(order + "f", header, 108)
    if not 3 <= dim[0] <= 7 or any(size > 1 for size in dim[5 : dim[0] + 1]):
        sizes = " x ".join(map(str, dim[1 : max(0, dim[0]) + 1]))
        raise InputError(f"{name}: has {dim[0]} dimensions ({sizes}); one 3D volume is needed")
    if min(dim[4 : dim[0] + 1], default=1) < 1:
        raise InputError(f"{name}: has a dimension smaller than one; the header is damaged")
    if code not in TYPES:
        kind = OTHER_TYPES.get(code, f"the unknown type {code}")
        raise InputError(f"{name}: its voxels are {kind}; one plain number a voxel is needed")
    # Readers differ on smaller offsets: SimpleITK reads the bytes before 352 as voxels.
    if not (math.isfinite(first_voxel) and first_voxel >= FIRST_VOXEL):
        raise InputError(
            f"{name}: its voxels begin at byte {first_voxel:g}, inside the header; the header is damaged"
        )
    size = checked_size(path, dim[1:4])
    volumes = dim[4] if dim[0] > 3 else 1
    checked_size(path, (dim[1], dim[2], dim[3] * volumes))
    grid, grid_warnings = header_grid(path, header, order, size)
    scaling, scaling_warnings = _scaling(header, order)
    return Layout(
        size=size,
        dtype=np.dtype(order + TYPES[code]),
        data_path=path,
        encoding="deflate" if packed else "raw",
        start=0 if packed else int(first_voxel),
        skip=int(first_voxel) if packed else 0,
        grid=grid,
        scaling=scaling,
        warnings=(*grid_warnings, *scaling_warnings),
        volumes=volumes,
    )


def _header(path: Path) -> tuple[bytes, bool]:
    """The decompressed first bytes, and whether the file is compressed, independent of its name."""
    with path.open("rb") as file:
        start = file.read(1 << 16)
    if not start.startswith(GZIP_MAGIC):
        return start[:HEADER_BYTES], False
    try:
        return zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(start, HEADER_BYTES), True
    except zlib.error as error:
        raise InputError(
            f"{printable(path.name)}: the compressed data are damaged; copy or export it again"
        ) from error


def _scaling(header: bytes, order: str) -> tuple[tuple[float, float], tuple[str, ...]]:
    """Slope and intercept as SimpleITK applies them, and warnings; a slope of 0 or NaN means no scaling.

    By the standard an intercept without a slope is ignored; SimpleITK adds it.
    """
    slope, intercept = struct.unpack_from(order + "2f", header, 112)
    intercept = intercept if math.isfinite(intercept) and abs(intercept) > EPSILON else 0.0
    if math.isfinite(slope) and abs(slope) > EPSILON:
        return (slope, intercept), ()
    if intercept == 0.0:
        return (1.0, 0.0), ()
    return (1.0, intercept), (
        f"stores an intercept of {intercept:g} without a slope; it is added, which other readers do not do",
    )
