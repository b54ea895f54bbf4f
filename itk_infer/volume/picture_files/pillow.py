"""PNG, JPEG, BMP and WebP files, by Pillow; 16-bit colour PNG by imagecodecs, because Pillow drops bits."""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from itk_infer.errors import InputError
from itk_infer.volume.names import printable
from itk_infer.volume.picture_files.stored import (
    Stored,
    StoredHeader,
    checked,
    turned_note,
    turned_size,
    upright,
    without_alpha,
)

if TYPE_CHECKING:
    from PIL.Image import Image as Opened

FORMATS = ("PNG", "JPEG", "BMP", "WEBP")
ORIENTATION = 0x0112  # tag of EXIF
PNG, HEADER = b"\x89PNG", 26  # header bytes up to the colour type
GREY = {"1": np.bool_, "L": np.uint8, "I": np.int32, "F": np.float32}
GREY |= dict.fromkeys(("I;16", "I;16L", "I;16B", "I;16N"), np.uint16)


def read_header(file: IO[bytes]) -> StoredHeader:
    """Size and type, from the header only.

    Raises:
        InputError: the header is damaged or not supported.
    """
    start = file.read(HEADER)
    file.seek(0)
    with _opened(file) as picture:
        grey = picture.mode in GREY or picture.mode == "LA" or (start.startswith(PNG) and start[25:26] == b"\x04")
        dtype = _type_of(picture) if picture.mode in GREY else np.uint16 if _is_deep(start) else np.uint8
        size = turned_size(picture.height, picture.width, _orientation(picture))
        return checked(StoredHeader(1, *size, 1 if grey else 3, np.dtype(dtype)))


def decode(data: bytes) -> Stored:
    """Decode a file.

    Raises:
        InputError: it is damaged, truncated or animated.
    """
    with _opened(io.BytesIO(data)) as picture:
        orientation = _orientation(picture)
        if _is_deep(data[:HEADER]):
            pages, notes = _deep_pixels(data)
        else:
            pages, notes = _pixels(picture)
    return Stored(upright(pages, orientation), (*notes, *turned_note(orientation)))


def palette_indices(data: bytes) -> NDArray[Any] | None:
    """Palette indices of a picture, (Y, X) uint8, which are the values of a label map; None without a palette."""
    with _opened(io.BytesIO(data)) as picture:
        return np.array(picture) if picture.mode == "P" else None


@contextmanager
def _opened(file: IO[bytes]) -> Iterator[Opened]:
    from PIL import Image

    errors = (
        OSError,
        SyntaxError,
        ValueError,
        EOFError,
        struct.error,
        zlib.error,
        OverflowError,
        TypeError,
        Warning,
    )
    # Pillow warns from half of the pixel limit on. The filter is not limited to this block, because filters are
    # global and several threads read.
    warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
    try:
        with Image.open(file, formats=FORMATS) as picture:
            frames = getattr(picture, "n_frames", 1)
            if frames > 1 and picture.format != "MPO":
                raise InputError(f"is animated, {frames} frames; save the frames as pictures of their own")
            yield picture
    except Image.DecompressionBombError:
        raise InputError(
            "its header gives more pixels than are read (178,956,970); if that is no error, cut it into tiles"
        ) from None
    except InputError:
        raise
    except errors as error:
        text = printable((str(error) or type(error).__name__).splitlines()[0])[:80]
        reason = "its header is damaged" if "cannot identify" in text else text
        raise InputError(f"the picture is damaged or truncated ({reason}); copy or export it again") from error


def _orientation(picture: Opened) -> int:
    value = picture.getexif().get(ORIENTATION, 1)
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _type_of(picture: Opened) -> type[np.generic]:
    """Type of a grey picture; older versions of Pillow open 16-bit PNG files as 32-bit ones."""
    return np.uint16 if picture.mode == "I" and picture.format == "PNG" else GREY[picture.mode]


def _is_deep(start: bytes) -> bool:
    """Whether the first bytes are those of a PNG of 16-bit colours, or of 16-bit grey with alpha."""
    return start.startswith(PNG) and start[24:25] == b"\x10" and start[25:26] in (b"\x02", b"\x04", b"\x06")


def _pixels(picture: Opened) -> tuple[NDArray[Any], list[str]]:
    """Pages as in `Stored`, but not turned upright, and notes."""
    notes = ["holds several pictures; the first is read"] if picture.format == "MPO" else []
    if picture.mode in GREY:
        return np.array(picture).astype(_type_of(picture), copy=False)[None, ..., None], notes
    if picture.mode == "LA":
        pages, more = without_alpha(np.array(picture)[None], 255)
        return pages, notes + more
    if picture.mode == "P" and "transparency" in picture.info:
        picture.load()
        pages, more = without_alpha(np.array(picture.convert("RGBA"))[None], 255)
        return pages, notes + more
    if picture.mode == "RGBA":
        pages, more = without_alpha(np.array(picture)[None], 255)
        return pages, notes + more
    return np.array(picture.convert("RGB"))[None], notes


def _deep_pixels(data: bytes) -> tuple[NDArray[Any], list[str]]:
    try:
        from imagecodecs import PngError, png_decode
    except ImportError:
        raise InputError(
            "is a PNG of 16-bit colours, which needs imagecodecs: pip install 'itk_infer[images]'"
        ) from None
    try:
        pages = np.asarray(png_decode(data))[None]
    except (PngError, ValueError) as error:
        raise InputError(f"the picture is damaged or truncated ({error}); copy or export it again") from error
    return without_alpha(pages, 65535) if pages.shape[-1] in (2, 4) else (pages, [])
