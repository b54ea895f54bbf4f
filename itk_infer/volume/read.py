"""Reading images so that what SimpleITK returns is what the file holds, or an error.

SimpleITK decodes the voxels. Before it does, the header is checked by this package and the stored bytes
are streamed once, because SimpleITK returns zeros, or noise, for many damaged files without a word.
"""

from __future__ import annotations

import math
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from itk_infer.errors import InputError
from itk_infer.temporary import MISSING
from itk_infer.volume.formats import FORMATS, Format
from itk_infer.volume.formats.layout import Layout, check_regular_file
from itk_infer.volume.formats.stream import check_raw_length, stored_digest, verified_digest
from itk_infer.volume.names import SUFFIXES, shown, split_suffix
from itk_infer.volume.volume import check_right_angles

if TYPE_CHECKING:
    import SimpleITK as sitk


@dataclass(frozen=True, slots=True)
class Header:
    """What planning a case needs to know, without the voxels.

    Attributes:
        size: Voxels along Z, Y, X.
        spacing: Millimetres along Z, Y, X, positive.
        direction_xyz: Row-major 3x3 direction cosines as SimpleITK gives them.
        dtype: Type of a voxel in memory (the scale factors of NIfTI make floats of integers).
    """

    size: tuple[int, int, int]
    spacing: tuple[float, float, float]
    direction_xyz: tuple[float, ...]
    dtype: np.dtype[Any]

    @property
    def nbytes(self) -> int:
        """Bytes of the voxels in memory."""
        return math.prod(self.size) * self.dtype.itemsize


@dataclass(frozen=True, slots=True)
class ReadImage:
    """An image that was verified while it was read.

    Attributes:
        image: The 3D scalar image.
        sha256: Digest of the stored bytes: the file, then its detached data file if it has one.
        warnings: What the file leaves open and SimpleITK decided, one sentence each.
    """

    image: sitk.Image
    sha256: str
    warnings: tuple[str, ...]


def read_header(path: Path) -> Header:
    """Size, spacing, direction and type of an image, from its header alone.

    Raises:
        InputError: the file is no image that can be read; what only its voxels tell is not noticed.
    """
    import SimpleITK as sitk

    form, layout = _checked(path)
    with _os_errors(path):
        check_raw_length(path, layout)
    with _reader(path, form, layout) as reader:
        reader.ReadImageInformation()
    _check_grid(path, layout, reader)
    x, y, z = reader.GetSpacing()
    one_voxel = sitk.Image([1, 1, 1], reader.GetPixelID())
    return Header(layout.size, (z, y, x), reader.GetDirection(), sitk.GetArrayViewFromImage(one_voxel).dtype)


def read_image(path: Path) -> ReadImage:
    """The image, after its header was checked and every stored byte was verified.

    Raises:
        InputError: the file is missing, damaged, truncated, or no 3D scalar image of finite values.
    """
    form, layout = _checked(path)
    with _os_errors(path):
        digest = verified_digest(path, layout)
    with _reader(path, form, layout) as reader:
        image = reader.Execute()
    _check_grid(path, layout, image)
    return ReadImage(image, digest, tuple(f"{shown(path.name)}: {warning}" for warning in layout.warnings))


def file_sha256(path: Path) -> str:
    """The digest that ``read_image`` gives, without reading or verifying the voxels.

    Raises:
        InputError: the file cannot be read, or its header is no image's.
    """
    _, layout = _checked(path)
    with _os_errors(path):
        return stored_digest(path, layout)


def _checked(path: Path) -> tuple[Format, Layout]:
    """The format of a file and what its header says."""
    check_regular_file(path)
    _, suffix = split_suffix(path.name)
    form = next((form for form in FORMATS if suffix in form.suffixes), None)
    if form is None:
        raise InputError(f"{shown(path.name)}: is no image that is read; known are {', '.join(SUFFIXES)}")
    with _os_errors(path):
        return form, form.check_header(path)


@contextmanager
def _os_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InputError(
            f"{shown(path)}: cannot be read ({error.strerror or error}); check the file and its permissions"
        ) from error


@contextmanager
def _reader(path: Path, form: Format, layout: Layout) -> Iterator[sitk.ImageFileReader]:
    """SimpleITK's reader for the file, its warnings off the terminal and its errors turned into ours."""
    import SimpleITK as sitk

    reader = sitk.ImageFileReader()
    reader.SetImageIO(form.image_io)
    warned = sitk.ProcessObject.GetGlobalWarningDisplay()
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    try:
        with _under_alias(path, layout.alias) as seen:
            reader.SetFileName(str(seen))
            yield reader
    except RuntimeError as error:
        raise InputError(f"{shown(path.name)}: SimpleITK cannot read it: {_essence(str(error))}") from error
    finally:
        sitk.ProcessObject.SetGlobalWarningDisplay(warned)


@contextmanager
def _under_alias(path: Path, alias: str | None) -> Iterator[Path]:
    """The file itself or, if it needs another name, that name alone in a private folder."""
    if alias is None:
        yield path
        return
    try:
        private = tempfile.TemporaryDirectory(prefix="itk_infer-")
    except OSError:
        raise InputError(f"{shown(path.name)}: is read through a link of another name, and {MISSING}") from None
    with private as folder, _os_errors(path):
        link = Path(folder, alias)
        try:
            link.symlink_to(path.absolute())
        except (OSError, NotImplementedError):  # Windows, without the privilege to make links
            shutil.copyfile(path, link)
        yield link


def _check_grid(path: Path, layout: Layout, image: sitk.ImageFileReader | sitk.Image) -> None:
    """Refuse an image that SimpleITK understands otherwise than its header was, and skewed axes."""
    size = tuple(image.GetSize())[::-1]
    if size != layout.size:
        raise InputError(
            f"{shown(path.name)}: SimpleITK finds {size} voxels (Z Y X) where the header says {layout.size}; "
            "the header is ambiguous, save the image again"
        )
    check_right_angles(shown(path.name), image.GetDirection())


def _essence(message: str) -> str:
    """The sentence in a message of SimpleITK that says what is wrong."""
    _, marked, tail = message.rpartition("ERROR: ")
    lines = [line.strip() for line in re.sub(r"^\w+\(0x[0-9a-f]+\): ", "", tail).splitlines() if line.strip()]
    teem = [line for line in lines if line.startswith("[nrrd]")]
    return shown(
        teem[-1].rpartition(": ")[2] if teem else lines[0 if marked else -1] if lines else "no reason given"
    )
