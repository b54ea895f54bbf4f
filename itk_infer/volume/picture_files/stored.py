"""Pictures as stored in their files, and the checks that all formats share."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from itk_infer.errors import InputError

PIXEL_LIMIT = 178_956_970  # pixels per page; the largest number that Pillow accepts
MOST_CHANNELS = 64


@dataclass(frozen=True, slots=True)
class StoredHeader:
    """Size and type of a picture.

    Attributes:
        pages: Number of pages.
        height: Rows of the upright picture.
        width: Columns of the upright picture.
        channels: Numbers per pixel, not counting alpha.
        dtype: Type of a number in memory.
    """

    pages: int
    height: int
    width: int
    channels: int
    dtype: np.dtype[Any]


@dataclass(frozen=True, slots=True)
class Stored:
    """A decoded picture.

    Attributes:
        pages: (Z, Y, X, C), upright, colours as RGB, without alpha, in native byte order.
        notes: Changes and omissions, as sentences without the file's name.
    """

    pages: NDArray[Any]
    notes: tuple[str, ...] = ()


def checked(header: StoredHeader) -> StoredHeader:
    """Return the header if its size is acceptable.

    Raises:
        InputError: a size is below 1 or above the limit.
    """
    if min(header.pages, header.height, header.width, header.channels) < 1:
        raise InputError("holds no pixels; write or export it again")
    if header.height * header.width > PIXEL_LIMIT:
        raise InputError(
            f"its header gives {header.width} x {header.height} pixels, more than the {PIXEL_LIMIT:,} that are "
            "read; if that is no error, cut it into tiles"
        )
    if header.channels > MOST_CHANNELS:
        raise InputError(
            f"holds {header.channels} channels, and at most {MOST_CHANNELS} are read; save those that the model "
            "takes"
        )
    if math.prod((header.pages, header.height, header.width, header.channels)) > 2**31:
        raise InputError("holds more than 2,147,483,648 numbers; save its pages as files of their own")
    if header.dtype.kind not in "buif":
        raise InputError(f"its pixels are of the type {header.dtype}; plain numbers are needed")
    return header


def upright(pages: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Turn pages (Z, Y, X, C) by an EXIF or TIFF orientation (1 to 8); other numbers have no effect."""
    turns = {
        2: lambda a: a[:, :, ::-1],
        3: lambda a: a[:, ::-1, ::-1],
        4: lambda a: a[:, ::-1],
        5: lambda a: a.swapaxes(1, 2),
        6: lambda a: a.swapaxes(1, 2)[:, :, ::-1],
        7: lambda a: a.swapaxes(1, 2)[:, ::-1, ::-1],
        8: lambda a: a.swapaxes(1, 2)[:, ::-1],
    }
    turn = turns.get(orientation)
    return pages if turn is None else turn(pages)


def turned_size(height: int, width: int, orientation: int) -> tuple[int, int]:
    """Height and width of the upright picture."""
    return (width, height) if 5 <= orientation <= 8 else (height, width)


def turned_note(orientation: int) -> list[str]:
    """A sentence about a picture that was turned; empty list if it was not."""
    if not 2 <= orientation <= 8:
        return []
    return [f"was turned upright, as its orientation tag ({orientation}) asks; results lie on the upright picture"]


def without_alpha(pages: NDArray[Any], opaque: float) -> tuple[NDArray[Any], list[str]]:
    """Pages without their last channel, and a sentence if that channel was not opaque everywhere."""
    alpha = pages[..., -1]
    note = "is transparent in places; the colours count, and the alpha channel is left out"
    return pages[..., :-1], [] if (alpha == opaque).all() else [note]
