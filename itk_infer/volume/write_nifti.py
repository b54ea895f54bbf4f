"""Verified writing of NIfTI files without SimpleITK, which takes 90 MiB of memory: most results are such files."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from itk_infer.errors import InputError, OutputError
from itk_infer.files.commit import new_file
from itk_infer.volume.formats.nifti_header import nifti_header
from itk_infer.volume.grid import Grid
from itk_infer.volume.read import read_volumes
from itk_infer.volume.same_grid import stored_alike

try:  # several times as fast; wheels exist for most platforms only
    from isal import isal_zlib as deflater
except ImportError:
    deflater = zlib  # type: ignore[misc]
LEVEL = 2  # of compression: label maps take less than at the level of nibabel, which MONAI writes with
GEOMETRY = "another geometry"
BLOCK = 1 << 20  # bytes that are compressed at once


def write_nifti(array: NDArray[Any], grid: Grid, final: Path, *, track: bool, intent: int) -> None:
    """Write volumes, compressed if the name ends in ``.gz``; read back, then renamed to `final`.

    Args:
        array: Voxels, (Z, Y, X), or (T, Z, Y, X) for several volumes.
        grid: Grid of a volume.
        final: The final path: ``.nii`` or ``.nii.gz``.
        track: Write an intent, which the ledger's writer removes.
        intent: Meaning of the voxels as a NIfTI intent code.

    Raises:
        OutputError: it cannot be written, or reads back differently; no file is left then.
    """
    try:
        str(final).encode()
    except UnicodeEncodeError:
        raise OutputError(f"{str(final)!r}: the name is not valid UTF-8; rename the input") from None
    try:
        header = nifti_header(array.shape, array.dtype, grid, intent)
    except ValueError as error:
        raise OutputError(f"{final}: cannot be written: {error}; choose another `format`") from error
    with new_file(final, track=track) as partial:
        write_file(partial, header, array)
        reason = _difference(partial, array, grid)
        if reason == GEOMETRY:
            raise OutputError(
                f"{final}: does not read back as it was written ({GEOMETRY}); this format may not be able to hold "
                "it, choose another `format`"
            )
        if reason:
            raise OutputError(f"{final}: does not read back as it was written ({reason}); is the disk full?")


def write_file(path: Path, header: bytes, array: NDArray[Any]) -> None:
    """Write a header and little-endian voxels; gzip stores neither a name nor a time."""
    voxels = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
    with path.open("wb") as file:
        if not path.name.lower().endswith(".gz"):
            file.write(header)
            file.write(voxels.data)
            return
        stream = deflater.compressobj(LEVEL, wbits=zlib.MAX_WBITS | 16)
        file.write(stream.compress(header))
        stored = voxels.reshape(-1).view(np.uint8)
        for start in range(0, stored.size, BLOCK):
            file.write(stream.compress(stored[start : start + BLOCK].data))
        file.write(stream.flush())


def _difference(path: Path, array: NDArray[Any], grid: Grid) -> str:
    """How a file, of which every byte is read, differs from what was to be written; empty if it does not."""
    volumes = array if array.ndim == 4 else array[None]
    try:
        read = read_volumes(path, len(volumes))
    except InputError as error:
        return str(error)
    for one, volume in zip(read, volumes, strict=True):
        if one.array.shape != volume.shape or one.array.dtype != volume.dtype.newbyteorder("="):
            return "another size or type"
        if not np.array_equal(one.array, volume):
            return "other voxels"
    return "" if stored_alike(grid, read[0].grid) else GEOMETRY
