"""Verified reading of images: a damaged or ambiguous file is an error, never an image with wrong voxels.

Size, type and geometry come from the header, which this package parses: SimpleITK's reading of a NIfTI header
depends on environment variables, and for many damaged files it returns other files' voxels, zeros or noise. The
stored bytes are streamed once, verified and decoded. Where a text header is ambiguous, its size is compared with
SimpleITK's. SimpleITK decodes the rarer encodings of NRRD.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from itk_infer.errors import InputError
from itk_infer.volume.formats import Format, format_of
from itk_infer.volume.formats.layout import Layout, check_regular_file
from itk_infer.volume.formats.stream import check_raw_length, stored_digest, verified_digest
from itk_infer.volume.grid import Grid
from itk_infer.volume.names import SUFFIXES, printable
from itk_infer.volume.no_warnings import no_simpleitk_warnings
from itk_infer.volume.pictures import read_label_picture
from itk_infer.volume.right_angles import straightened
from itk_infer.volume.volume import Channel, grid_of, image_of

if TYPE_CHECKING:
    import SimpleITK as sitk


@dataclass(frozen=True, slots=True)
class Header:
    """The header of an image, as needed to plan a case.

    Attributes:
        size: Voxels along Z, Y, X.
        spacing: Millimetres along Z, Y, X, positive.
        direction_xyz: Row-major 3x3 direction cosines as in SimpleITK.
        dtype: Type of a voxel in memory (integers with NIfTI scale factors become float32).
        volumes: Number of volumes in a 4D file.
        channels: Numbers per voxel; more than one only in pictures.
        oriented: Whether the axes have directions in a patient.
    """

    size: tuple[int, int, int]
    spacing: tuple[float, float, float]
    direction_xyz: tuple[float, ...]
    dtype: np.dtype[Any]
    volumes: int = 1
    channels: int = 1
    oriented: bool = True

    @property
    def grid(self) -> Grid:
        """The grid; its origin is not set."""
        return Grid(self.size, self.spacing, direction_xyz=self.direction_xyz, oriented=self.oriented)

    @property
    def nbytes(self) -> int:
        """Size of the voxels in memory, in bytes."""
        return math.prod(self.size) * self.volumes * self.channels * self.dtype.itemsize


@dataclass(frozen=True)
class ReadImage:
    """An image that was verified while it was read.

    Attributes:
        array: Its voxels, (Z, Y, X).
        grid: Their grid.
        sha256: Digest of the stored bytes: the file, then its detached data file if it has one.
        warnings: Ambiguities in the file and how they were resolved, one sentence each.
    """

    array: NDArray[Any]
    grid: Grid
    sha256: str
    warnings: tuple[str, ...]

    @property
    def channel(self) -> Channel:
        """Voxels and grid, for `volume_of_channels`."""
        return self.array, self.grid

    @cached_property
    def image(self) -> sitk.Image:
        """A copy as a SimpleITK image."""
        return image_of(self.array, self.grid)


def read_header(path: Path, volumes: int = 1) -> Header:
    """Size, spacing, direction and type of an image, from its header only.

    Args:
        path: The file.
        volumes: Required number of volumes; more than one in a 4D file.

    Raises:
        InputError: the header cannot be read, or the file is too short. Damaged voxels are not detected.
    """
    form, layout = _checked(path, volumes)
    with _os_errors(path):
        check_raw_length(path, layout)
    with _confirmed(path, form, layout) as (grid, _):
        return Header(
            layout.size,
            grid.spacing,
            grid.direction_xyz,
            layout.value_dtype,
            layout.volumes,
            layout.channels,
            grid.oriented,
        )


def read_image(path: Path) -> ReadImage:
    """Read an image; its header is checked and every stored byte is verified.

    A picture must have one channel; for one with a palette, the indices are read, as for a label map.

    Raises:
        InputError: the file is missing, damaged or truncated, or not a 3D scalar image of finite values.
    """
    return read_volumes(path, 1)[0]


def read_volumes(path: Path, volumes: int) -> list[ReadImage]:
    """Read the volumes of a 4D file, as `read_image` reads one; the warnings are those of the first.

    Args:
        path: The file.
        volumes: Required number of volumes.

    Raises:
        InputError: see `read_image`, or the number of volumes differs.
    """
    form, layout = _checked(path, volumes)
    stored = bytearray()
    with _os_errors(path):
        digest = verified_digest(path, layout, stored)
    with _confirmed(path, form, layout) as (grid, reader):
        if form.picture:
            array = read_label_picture(path)
            arrays = [array.view(np.uint8) if array.dtype == np.bool_ else array]
        elif layout.encoding == "other" and reader is not None:
            arrays = [_decoded(reader)]
        else:
            arrays = list(_values(stored, layout))
    warnings = tuple(f"{printable(path.name)}: {warning}" for warning in layout.warnings)
    return [ReadImage(array, grid, digest, () if number else warnings) for number, array in enumerate(arrays)]


def volumes_in(path: Path) -> int:
    """Number of volumes in a file, from its header; 1 if that cannot be read."""
    try:
        return _checked(path, None)[1].volumes
    except InputError:
        return 1


def file_sha256(path: Path) -> str:
    """The digest that ``read_image`` returns, without decoding or verifying the voxels.

    Raises:
        InputError: the file cannot be read, or its header is damaged.
    """
    _, layout = _checked(path, None)
    with _os_errors(path):
        return stored_digest(path, layout)


def _checked(path: Path, volumes: int | None) -> tuple[Format, Layout]:
    """The format of a file and the layout in its header, with axes straightened to right angles.

    Args:
        path: The file.
        volumes: Required number of volumes; None: any number.

    Raises:
        InputError: the header is damaged or ambiguous, its axes are far from right angles, or it holds another
            number of volumes.
    """
    check_regular_file(path)
    form = format_of(path.name)
    if form is None:
        raise InputError(
            f"{printable(path.name)}: is not an image of a supported format; supported are {', '.join(SUFFIXES)}"
        )
    with _os_errors(path):
        layout = form.check_header(path)
    if volumes is not None and layout.volumes != volumes:
        sizes = " x ".join(map(str, (*layout.size[::-1], layout.volumes)))
        wanted = "one 3D volume is needed" if volumes == 1 else f"{volumes} volumes are needed"
        raise InputError(f"{printable(path.name)}: has 4 dimensions ({sizes}); {wanted}")
    if layout.grid is not None:
        grid, warning = straightened(printable(path.name), layout.grid)
        layout = replace(layout, grid=grid, warnings=(*layout.warnings, *([warning] if warning else [])))
    return form, layout


@contextmanager
def _os_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InputError(
            f"{printable(path)}: cannot be read ({error.strerror or error}); check the file and its permissions"
        ) from error


@contextmanager
def _confirmed(path: Path, form: Format, layout: Layout) -> Iterator[tuple[Grid, sitk.ImageFileReader | None]]:
    """The grid and SimpleITK's reader, if the format has one; the reader's size must equal the header's.

    Within the block SimpleITK prints no warnings, and its errors become InputError.
    """
    if form.image_io is None and layout.grid is not None:
        yield layout.grid, None
        return
    import SimpleITK as sitk

    reader = sitk.ImageFileReader()
    reader.SetImageIO(form.image_io)
    reader.SetFileName(str(path))
    with no_simpleitk_warnings():
        try:
            reader.ReadImageInformation()
            size = tuple(reader.GetSize())[::-1]
            if size != layout.size:
                raise InputError(
                    f"{printable(path.name)}: SimpleITK finds {size} voxels (Z Y X) where the header says "
                    f"{layout.size}; the header is ambiguous, save the image again"
                )
            yield layout.grid or grid_of(reader), reader
        except RuntimeError as error:
            reason = _first_line(str(error))
            raise InputError(f"{printable(path.name)}: SimpleITK cannot read it: {reason}") from error


def _decoded(reader: sitk.ImageFileReader) -> NDArray[Any]:
    """Voxels (Z, Y, X), decoded by SimpleITK."""
    import SimpleITK as sitk

    array: NDArray[Any] = sitk.GetArrayFromImage(reader.Execute())
    return array


def _values(stored: bytearray, layout: Layout) -> NDArray[Any]:
    """Voxels of shape (volumes, Z, Y, X) from their stored bytes, scaled as SimpleITK scales them."""
    shape = (layout.volumes, *layout.size)
    values = np.frombuffer(stored, layout.dtype).reshape(shape)
    values = values.astype(layout.dtype.newbyteorder("="), copy=False)
    slope, intercept = layout.scaling
    if (slope, intercept) == (1.0, 0.0):
        return values
    scaled = np.empty(shape, layout.value_dtype)
    flat = (-1, *layout.size[1:])
    with np.errstate(over="ignore"):  # values that overflow are refused later, like any infinity
        for plane, target in zip(values.reshape(flat), scaled.reshape(flat), strict=True):
            target[...] = plane.astype(layout.value_dtype).astype(np.float64) * slope + intercept
    return scaled


def _first_line(message: str) -> str:
    """The line of a SimpleITK message that gives the reason."""
    _, marked, tail = message.rpartition("ERROR: ")
    lines = [line.strip() for line in re.sub(r"^\w+\(0x[0-9a-f]+\): ", "", tail).splitlines() if line.strip()]
    teem = [line for line in lines if line.startswith("[nrrd]")]
    return printable(
        teem[-1].rpartition(": ")[2] if teem else lines[0 if marked else -1] if lines else "no reason given"
    )
