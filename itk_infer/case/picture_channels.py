"""Channels of a picture as a model expects them: colours in its order, grey from colours, colours from grey."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from itk_infer.errors import InputError
from itk_infer.spec import InputSpec
from itk_infer.volume.volume import Volume

COLOURS = ("red", "green", "blue")
LUMA = (0.299, 0.587, 0.114)  # of red, green and blue: ITU-R BT.601, as Pillow and OpenCV have it
SHORT = {"r": "red", "g": "green", "b": "blue"}


def with_channels(volume: Volume, wanted: InputSpec) -> tuple[Volume, list[str]]:
    """Return a picture with the channels that a model takes; an image with patient coordinates is not changed.

    Args:
        volume: (C, Z, Y, X); three channels of one file are red, green and blue.
        wanted: The model's input.

    Returns:
        The picture, and a sentence for each conversion of its colours.

    Raises:
        InputError: the number of channels is not the model's, and cannot be converted.
    """
    if volume.grid.oriented:
        return volume, []
    has, takes = len(volume.array), len(wanted.channels)
    order = colour_order(wanted.channels)
    if has == 3 and takes == 3:
        same = order in (None, (0, 1, 2))
        return (volume, []) if same else (replace(volume, array=volume.array[list(order or ())]), [])
    if has == 1 and order is not None:
        return replace(volume, array=np.repeat(volume.array, 3, axis=0)), []
    if has == 1 and takes == 3 and wanted.dimensions == 2 and not any(wanted.channels):
        return replace(volume, array=np.repeat(volume.array, 3, axis=0)), []
    if has == 3 and takes == 1:
        return _grey(volume)
    if has != takes:
        raise InputError(
            f"{volume.name}: has {has} channel{'s' if has > 1 else ''}, and the model takes {takes}"
            f"{_named(wanted.channels)}; give it pictures like those that it was trained on"
        )
    return volume, []


def colour_order(names: Sequence[str]) -> tuple[int, ...] | None:
    """For each channel of a model the index of its colour in red, green, blue; None if they are not colours."""
    plain = [SHORT.get(name.strip().lower(), name.strip().lower()) for name in names]
    return tuple(COLOURS.index(name) for name in plain) if sorted(plain) == sorted(COLOURS) else None


def _grey(volume: Volume) -> tuple[Volume, list[str]]:
    red, green, blue = volume.array
    if np.array_equal(red, green) and np.array_equal(red, blue):
        return replace(volume, array=volume.array[:1]), []
    luma = sum(np.float32(share) * channel for share, channel in zip(LUMA, volume.array, strict=True))
    dtype = volume.array.dtype
    grey = np.asarray(np.rint(luma) if dtype.kind in "iu" else luma).astype(dtype)
    return replace(volume, array=grey[None]), ["its colours were made grey (luma), as the model takes one channel"]


def _named(names: Sequence[str]) -> str:
    return f" ({', '.join(names)})" if all(names) else ""
