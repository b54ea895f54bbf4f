"""Pictures: PNG, JPEG, BMP, WebP, TIFF and NumPy files as arrays, upright, in their stored depth.

picture = read_picture(Path("cells.png"))
picture.pixels     # (Y, X), or (Y, X, 3) of a colour picture
picture.notes      # what was changed or left out
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from itk_infer.errors import InputError
from itk_infer.volume.formats.layout import check_regular_file
from itk_infer.volume.names import printable, split_suffix
from itk_infer.volume.picture_files.stored import StoredHeader
from itk_infer.volume.unit_values import unit_of

TIFF = (".tif", ".tiff")


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of picture file, recognised by its first bytes.

    Attributes:
        what: Name of the kind for messages.
        module: Module in `itk_infer.volume.picture_files` with functions ``read_header`` and ``decode``.
        endings: Usual endings of its files.
    """

    what: str
    module: str
    endings: tuple[str, ...]


KINDS = {
    b"\x89PNG\r\n\x1a\n": Kind("a PNG", "pillow", (".png",)),
    b"\xff\xd8\xff": Kind("a JPEG", "pillow", (".jpg", ".jpeg")),
    b"BM": Kind("a BMP", "pillow", (".bmp",)),
    b"RIFF": Kind("a WebP", "pillow", (".webp",)),
    **dict.fromkeys((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"), Kind("a TIFF", "tiff", TIFF)),
    b"\x93NUMPY": Kind("a NumPy array", "arrays", (".npy",)),
    b"PK": Kind("a packed NumPy array", "arrays", (".npz",)),
}
LONGEST_MAGIC = 8
MOST_IN_MEMORY = 4  # most channels of an array; a longer last axis is the X axis of a volume
CHANNEL_NUMBER = 5  # length of a channel number such as ``_0000``
NO_SPACING = (1.0, 1.0, 1.0)


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture that was verified while it was read.

    Attributes:
        pages: (Z, Y, X, C): pages, and one channel if grey or red, green and blue in colour.
            Stored type (bool of one bit), native byte order, upright, without alpha.
        spacing: Millimetres along Z, Y, X, from a JSON file beside the picture; otherwise 1.
        sha256: Digest of the stored bytes.
        notes: Changes and omissions, as sentences that begin with the file's name.
    """

    pages: NDArray[Any]
    spacing: tuple[float, float, float]
    sha256: str
    notes: tuple[str, ...] = ()

    @property
    def pixels(self) -> NDArray[Any]:
        """The only page, (Y, X) or (Y, X, C).

        Raises:
            InputError: there are several pages.
        """
        if len(self.pages) > 1:
            raise InputError(f"holds {len(self.pages)} pages, and one picture is needed; save them as files")
        page: NDArray[Any] = self.pages[0]
        return page[..., 0] if page.shape[-1] == 1 else page

    @property
    def unit(self) -> float:
        """The stored value of white (1.0), see `unit_of`."""
        return unit_of(self.pages.dtype)


def read_picture(path: Path) -> Picture:
    """Read a picture; its kind is determined from its content, not from its ending.

    Raises:
        InputError: the file is missing, damaged or truncated, animated, too large, or holds NaN or infinity.
    """
    name = printable(path.name)
    data = _read(path)
    module, notes = _codec(path, data[:LONGEST_MAGIC])
    try:
        stored = module.decode(data)
        bad = int(np.count_nonzero(~np.isfinite(stored.pages))) if stored.pages.dtype.kind == "f" else 0
        if bad:
            raise InputError(f"holds {bad:,} pixels that are NaN or infinite; replace them with real values")
    except InputError as error:
        raise InputError(f"{name}: {error}") from error.__cause__
    digest = hashlib.sha256(data)
    beside = spacing_file(path)
    if beside is not None:
        digest.update(_read(beside))
    every = tuple(f"{name}: {note}" for note in (*notes, *stored.notes))
    return Picture(stored.pages, _spacing(beside), digest.hexdigest(), every)


def picture_of(pixels: NDArray[Any]) -> Picture:
    """Make a picture from an array.

    Args:
        pixels: (Y, X) or (Y, X, C) with at most four channels; three are red, green and blue.

    Raises:
        InputError: the shape is not supported, or values are not finite numbers.
    """
    flat = pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[2] <= MOST_IN_MEMORY)
    if not flat or 0 in pixels.shape or pixels.dtype.kind not in "buif":
        raise InputError(
            f"an array of the shape {pixels.shape} and the type {pixels.dtype} is no picture: give (Y, X) or "
            "(Y, X, C) of numbers, or a volume as a SimpleITK image"
        )
    if pixels.dtype.kind == "f" and not np.isfinite(pixels).all():
        raise InputError("the array holds NaN or infinity; replace them with real values")
    return Picture(
        np.ascontiguousarray(pixels[None] if pixels.ndim == 3 else pixels[None, ..., None]), NO_SPACING, ""
    )


def picture_header(path: Path) -> tuple[StoredHeader, tuple[float, float, float]]:
    """Size and type of a picture, and its spacing, without decoding it.

    Raises:
        InputError: the header is damaged or not supported.
    """
    check_regular_file(path)
    with path.open("rb") as file:
        start = file.read(LONGEST_MAGIC)
        file.seek(0)
        module, _ = _codec(path, start)
        try:
            return module.read_header(file), _spacing(spacing_file(path))
        except InputError as error:
            raise InputError(f"{printable(path.name)}: {error}") from error.__cause__


def read_label_picture(path: Path) -> NDArray[Any]:
    """Read a picture as a label map: pages (Z, Y, X) of its only channel, or palette indices.

    Raises:
        InputError: the file cannot be read, or has several channels.
    """
    data = _read(path)
    module, _ = _codec(path, data[:LONGEST_MAGIC])
    if hasattr(module, "palette_indices"):
        indices = module.palette_indices(data)
        if indices is not None:
            return np.asarray(indices)[None]
    pages = read_picture(path).pages
    if pages.shape[-1] != 1:
        raise InputError(
            f"{printable(path.name)}: has {pages.shape[-1]} channels; "
            "one number per pixel is needed, as in a label map"
        )
    return pages[..., 0]


def spacing_file(path: Path) -> Path | None:
    """The JSON file with the spacing of a TIFF, as in nnU-Net: the same name without the channel number."""
    stem, suffix = split_suffix(path.name)
    if suffix not in TIFF:
        return None
    names = [stem, stem[:-CHANNEL_NUMBER]] if stem[-4:].isdecimal() and stem[-5:-4] == "_" else [stem]
    return next((file for name in names if name and (file := path.with_name(f"{name}.json")).is_file()), None)


def _spacing(beside: Path | None) -> tuple[float, float, float]:
    if beside is None:
        return NO_SPACING
    try:
        document = json.loads(beside.read_text("utf-8"))
        if not isinstance(document, dict) or "spacing" not in document:
            return NO_SPACING  # belongs to another program
        z, y, x = (float(value) for value in document["spacing"])
    except (OSError, ValueError, TypeError) as error:
        raise InputError(
            f"{printable(beside.name)}: gives no spacing for the picture beside it; write "
            '{"spacing": [z, y, x]} in millimetres, or remove it'
        ) from error
    return z, y, x


def _read(path: Path) -> bytes:
    check_regular_file(path)
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(
            f"{printable(path)}: cannot be read ({error.strerror or error}); check the file and its permissions"
        ) from error


def _codec(path: Path, start: bytes) -> tuple[ModuleType, list[str]]:
    """The module that reads a file, and a note if its ending is that of another kind."""
    found = next((kind for magic, kind in KINDS.items() if start.startswith(magic)), None)
    if found is None:
        raise InputError(
            f"{printable(path.name)}: its content is no PNG, JPEG, BMP, WebP, TIFF or NumPy file; the file is "
            "damaged or of another format"
        )
    fits = split_suffix(path.name)[1] in found.endings
    notes = [] if fits else [f"is {found.what} by its content, whatever its ending says"]
    return import_module(f"itk_infer.volume.picture_files.{found.module}"), notes
