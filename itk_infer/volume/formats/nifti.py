"""NIfTI-1 files (``.nii``, ``.nii.gz``): https://nifti.nimh.nih.gov/pub/dist/src/niftilib/nifti1.h."""

from __future__ import annotations

import itertools
import math
import os
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from itk_infer.errors import InputError
from itk_infer.volume.formats.layout import Layout, check_spacing, checked_size
from itk_infer.volume.formats.stream import GZIP_MAGIC
from itk_infer.volume.names import shown

HEADER_BYTES = 348
FIRST_VOXEL = 352
TYPES = {
    2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2", 768: "u4", 1024: "i8", 1280: "u8",
}  # fmt: skip
OTHER_TYPES = {
    1: "single bits", 32: "complex numbers", 128: "RGB colours", 1536: "128-bit floats", 1792: "complex numbers",
    2048: "complex numbers", 2304: "RGBA colours",
}  # fmt: skip
NOTICEABLE = 0.5  # voxels


def check_header(path: Path) -> Layout:
    """The layout of a single-file NIfTI-1 image of either byte order, packed or not.

    Raises:
        InputError: the header is damaged, or describes what is not one 3D scalar volume.
    """
    name = shown(path.name)
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
    pixdim = struct.unpack_from(order + "8f", header, 76)
    (code,) = struct.unpack_from(order + "h", header, 70)
    (first_voxel,) = struct.unpack_from(order + "f", header, 108)
    if not 3 <= dim[0] <= 7 or any(size > 1 for size in dim[4 : dim[0] + 1]):
        sizes = " x ".join(map(str, dim[1 : max(0, dim[0]) + 1]))
        raise InputError(f"{name}: has {dim[0]} dimensions ({sizes}); one 3D volume is needed")
    if min(dim[4 : dim[0] + 1], default=1) < 1:
        raise InputError(f"{name}: has a dimension smaller than one; the header is damaged")
    if code not in TYPES:
        kind = OTHER_TYPES.get(code, f"the unknown type {code}")
        raise InputError(f"{name}: its voxels are {kind}; one plain number a voxel is needed")
    # Readers disagree about smaller offsets: SimpleITK takes the bytes before 352 for voxels.
    if not (math.isfinite(first_voxel) and first_voxel >= FIRST_VOXEL):
        raise InputError(
            f"{name}: its voxels begin at byte {first_voxel:g}, inside the header; the header is damaged"
        )
    check_spacing(path, pixdim[1:4])
    return Layout(
        size=checked_size(path, dim[1:4]),
        dtype=np.dtype(order + TYPES[code]),
        data_path=path,
        encoding="deflate" if packed else "raw",
        start=0 if packed else int(first_voxel),
        skip=int(first_voxel) if packed else 0,
        alias=_alias(path, packed),
        warnings=(*_orientation_warnings(path, header, order), *_scaling_warnings(header, order)),
    )


def _header(path: Path) -> tuple[bytes, bool]:
    """The first bytes, decoded, and whether the file is packed, whatever its name says."""
    with path.open("rb") as file:
        start = file.read(1 << 16)
    if not start.startswith(GZIP_MAGIC):
        return start[:HEADER_BYTES], False
    try:
        return zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(start, HEADER_BYTES), True
    except zlib.error as error:
        raise InputError(
            f"{shown(path.name)}: the compressed data are damaged; copy or export it again"
        ) from error


def _alias(path: Path, packed: bool) -> str | None:
    """A safe name where SimpleITK would read another file, or not recognise this one.

    Asked for ``a.nii.gz``, SimpleITK reads the voxels of ``a.nii`` if that lies beside it; and it takes
    the name's word for whether a file is packed.
    """
    lower = path.name.lower()
    suffix, twin = (".nii.gz", ".nii") if lower.endswith(".nii.gz") else (".nii", ".nii.gz")
    stem = path.name[: -len(suffix)]
    twins = (path.with_name(stem + ending) for ending in (twin, twin.upper()))
    safe = path.name.endswith((suffix, suffix.upper())) and (suffix == ".nii.gz" or not packed)
    return None if safe and not any(map(os.path.lexists, twins)) else "image.nii.gz" if packed else "image.nii"


def _orientation_warnings(path: Path, header: bytes, order: str) -> tuple[str, ...]:
    """What the two affines of the header leave open; SimpleITK picks one of them without a word."""
    qform_code, sform_code = struct.unpack_from(order + "2h", header, 252)
    spacing = np.array(struct.unpack_from(order + "3f", header, 80), dtype=np.float64)
    size = np.array(struct.unpack_from(order + "3h", header, 42))
    if qform_code <= 0 and sform_code <= 0:
        return ("stores no orientation; its axes are taken as they are",)
    qform = _qform(header, order, spacing)
    sform = np.reshape(struct.unpack_from(order + "12f", header, 280), (3, 4)).astype(np.float64)
    used = [affine for affine, code in ((qform, qform_code), (sform, sform_code)) if code > 0]
    if not all(np.isfinite(affine).all() for affine in used):
        raise InputError(f"{shown(path.name)}: its orientation holds NaN or infinity; correct the header")
    if sform_code <= 0:
        return ()
    warnings = []
    scales = np.linalg.norm(sform[:, :3], axis=0)
    if not scales.all():
        raise InputError(f"{shown(path.name)}: its sform has an axis of no length; correct the header")
    if (np.abs(scales - spacing) * size > NOTICEABLE * spacing.min()).any():
        warnings.append(
            f"sform and pixdim give different voxel sizes ({_triplet(scales)} and {_triplet(spacing)} mm, "
            "x first); pixdim is taken"
        )
    if qform_code > 0:
        rescaled = np.column_stack([sform[:, :3] / scales * spacing, sform[:, 3]])
        corners = np.array([(*corner, 1) for corner in itertools.product(*((0, n - 1) for n in size))])
        apart = np.linalg.norm(corners @ (rescaled - qform).T, axis=1).max()
        if apart > NOTICEABLE * spacing.min():
            warnings.append(f"qform and sform disagree by up to {apart:.3g} mm; SimpleITK's choice is taken")
    return tuple(warnings)


def _scaling_warnings(header: bytes, order: str) -> tuple[str, ...]:
    """By the standard an intercept counts only with a slope; SimpleITK adds it all the same."""
    slope, intercept = struct.unpack_from(order + "2f", header, 112)
    if (slope == 0 or not math.isfinite(slope)) and intercept != 0 and math.isfinite(intercept):
        return (
            f"stores an intercept of {intercept:g} without a slope; it is added, which other readers do not do",
        )
    return ()


def _qform(header: bytes, order: str, spacing: NDArray[np.float64]) -> NDArray[Any]:
    """The affine (3, 4) of the quaternion, method 2 of nifti1.h."""
    b, c, d, *offset = struct.unpack_from(order + "6f", header, 256)
    (handedness,) = struct.unpack_from(order + "f", header, 76)
    norm = math.sqrt(b * b + c * c + d * d)
    if norm > 1:
        b, c, d = b / norm, c / norm, d / norm
    a = math.sqrt(max(0.0, 1 - b * b - c * c - d * d))
    rotation = np.array(
        [
            [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
            [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
            [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - b * b - c * c],
        ]
    )
    scales = spacing * (1, 1, -1 if handedness < 0 else 1)
    return np.column_stack([rotation * scales, offset])


def _triplet(values: NDArray[np.float64]) -> str:
    return " x ".join(f"{value:.4g}" for value in values)
