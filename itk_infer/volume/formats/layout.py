"""The stored voxels as described by a header, and the checks that all formats share."""

from __future__ import annotations

import math
import os
import stat
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from itk_infer.errors import InputError
from itk_infer.volume.grid import Grid
from itk_infer.volume.names import printable

VOXEL_LIMIT = 2**31
TEXT_HEADER_LIMIT = 4 << 20  # bytes
SPACING_LIMITS = (1e-6, 1e4)  # mm: a nanometre, ten metres


@dataclass(frozen=True, slots=True)
class Layout:
    """The stored voxels of one image: their position in the file, their encoding and their grid.

    Attributes:
        size: Voxels along Z, Y, X.
        dtype: Type of a stored voxel, including the byte order.
        data_path: The file that holds the voxels: the image itself, or the file named by a detached header.
        encoding: ``raw``; ``deflate`` (a gzip or zlib stream); or ``other``, which only SimpleITK decodes.
        start: First byte of the voxels, or of the stream that holds them, in `data_path`.
        stop: Byte after the end of that stream, if the header gives it.
        skip: Decoded bytes of the stream before the first voxel.
        exact: Whether the data must be a single stream that ends with the last voxel.
        grid: The grid given by the header; its axes need not be at right angles. None: only SimpleITK
            computes it.
        scaling: Slope and intercept: value = stored * slope + intercept.
        warnings: Ambiguities in the header, as sentences without the file's name.
        volumes: Volumes of this size, one after the other, as in a 4D file.
        channels: Numbers per voxel; more than one only in pictures.
    """

    size: tuple[int, int, int]
    dtype: np.dtype[Any]
    data_path: Path
    encoding: Literal["raw", "deflate", "other"]
    start: int = 0
    stop: int | None = None
    skip: int = 0
    exact: bool = False
    grid: Grid | None = None
    scaling: tuple[float, float] = (1.0, 0.0)
    warnings: tuple[str, ...] = ()
    volumes: int = 1
    channels: int = 1

    @property
    def voxel_bytes(self) -> int:
        """Decoded bytes of all voxels."""
        return self.volumes * math.prod(self.size) * self.dtype.itemsize

    @property
    def value_dtype(self) -> np.dtype[Any]:
        """Type of a voxel in memory: scaled integers become float32, as in SimpleITK."""
        scaled = self.dtype.kind != "f" and self.scaling != (1.0, 0.0)
        return np.dtype(np.float32) if scaled else self.dtype.newbyteorder("=")


def quoted(text: str) -> str:
    """Text from a header for a message: escaped, in quotes, shortened to 60 characters."""
    escaped = printable(text)
    return f"'{escaped if len(escaped) <= 60 else escaped[:57] + '...'}'"


def check_regular_file(path: Path) -> None:
    """Check that a path is a regular, non-empty file with a valid name, before anything opens it.

    A FIFO would block, and SimpleITK ends the whole process on a name that is not valid UTF-8.

    Raises:
        InputError: it is not.
    """
    try:
        os.fspath(path).encode("utf-8")
        status = path.stat()
    except UnicodeEncodeError:
        raise InputError(f"{printable(path)}: the name is not valid UTF-8; rename the file") from None
    except (OSError, ValueError) as error:
        if path.is_symlink():
            raise InputError(f"{printable(path)}: a link that leads to no file; repair or remove it") from error
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise InputError(f"{printable(path)}: cannot be opened ({reason}); check the path") from error
    if not stat.S_ISREG(status.st_mode):
        kind = "a folder" if stat.S_ISDIR(status.st_mode) else "no regular file"
        raise InputError(f"{printable(path)}: is {kind}; an image file is needed")
    if status.st_size == 0:
        raise InputError(f"{printable(path)}: is empty; write or copy it again")


def checked_size(path: Path, sizes_xyz: Sequence[int]) -> tuple[int, int, int]:
    """Three sizes given x first, as Z, Y, X.

    Raises:
        InputError: a size is below 1, or the image has more than `VOXEL_LIMIT` voxels.
    """
    x, y, z = sizes_xyz
    if min(x, y, z) < 1:
        raise InputError(
            f"{printable(path.name)}: the header gives {x} x {y} x {z} voxels; every size must be positive"
        )
    if x * y * z > VOXEL_LIMIT:
        raise InputError(
            f"{printable(path.name)}: the header gives {x} x {y} x {z} voxels, more than the {VOXEL_LIMIT:,} "
            "that are read; if that is no error, resample or split the image"
        )
    return z, y, x


def check_spacing(path: Path, spacing_xyz: Sequence[float]) -> None:
    """Check that spacings (mm, x first) are plausible.

    SimpleITK would replace a spacing of zero, and turn a negative one into a flipped axis.

    Raises:
        InputError: a spacing is not positive, not finite, or outside of `SPACING_LIMITS`.
    """
    values = " x ".join(f"{value:g}" for value in spacing_xyz)
    if not all(math.isfinite(value) and value > 0 for value in spacing_xyz):
        raise InputError(
            f"{printable(path.name)}: the header gives a spacing of {values} mm; every spacing must be positive, "
            "correct the header"
        )
    low, high = SPACING_LIMITS
    if not low <= min(spacing_xyz) <= max(spacing_xyz) <= high:
        raise InputError(
            f"{printable(path.name)}: the header gives a spacing of {values} mm, which no image has; correct the "
            "header (spacings are in millimetres)"
        )


def beside(path: Path, name: str) -> Path:
    """The data file named by the detached header `path`.

    Raises:
        InputError: it is not a regular file in the folder of the header, or `name` stands for several files.
    """
    plain = name.removeprefix("./")
    named = f"{printable(path.name)}: names {quoted(name)} as its data file"
    # A name with a per cent sign is a pattern for several files, unless a file of exactly this name exists.
    pattern = "%" in plain and not os.path.lexists(path.parent / plain)
    if plain.startswith("LIST") or pattern:
        raise InputError(f"{named}; voxels spread over several files are not read, save the image as one file")
    if plain in ("", ".", "..", "-") or any(character in plain for character in "/\\:"):
        raise InputError(f"{named}; only a file in the same folder, named without a path, is read")
    data_path = path.parent / plain
    check_regular_file(data_path)
    if data_path.resolve().parent != path.parent.resolve():
        raise InputError(f"{named}, a link that leads out of the folder; put the data file itself there")
    return data_path


def text_header(path: Path, is_last: Callable[[str], bool]) -> tuple[list[str], int]:
    """The lines of a text header up to the first for which `is_last` is true, or to the end of the file.

    Returns:
        The lines without line ends, and the position of the byte after the last one.

    Raises:
        InputError: a line is not header text.
    """
    lines: list[str] = []
    with path.open("rb") as file:
        while line := file.readline(TEXT_HEADER_LIMIT):
            text = line.removesuffix(b"\n").removesuffix(b"\r").decode("utf-8", "surrogateescape")
            # Readers differ on whether a lone carriage return ends a line, so they could read different fields.
            if "\r" in text or "\0" in text or file.tell() > TEXT_HEADER_LIMIT:
                raise InputError(
                    f"{printable(path.name)}: line {len(lines) + 1} is no header text; the file is damaged or of "
                    "another format"
                )
            lines.append(text)
            if is_last(text):
                break
        return lines, file.tell()
