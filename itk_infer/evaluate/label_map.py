"""Label maps in memory."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from itk_infer.errors import InputError
from itk_infer.volume.grid import Grid
from itk_infer.volume.read import read_image
from itk_infer.volume.volume import volume_of_channels

Labels = NDArray[np.unsignedinteger[Any]]


@dataclass(frozen=True, slots=True)
class LabelMap:
    """A label map in memory.

    Attributes:
        array: Values, (Z, Y, X), uint8 or uint16.
        grid: Its grid.
        warnings: Warnings from reading it.
    """

    array: Labels
    grid: Grid
    warnings: tuple[str, ...] = ()


def read_labels(path: Path) -> LabelMap:
    """Read a label map.

    Raises:
        InputError: the file cannot be read, or holds values other than whole numbers from 0 to 65,535.
    """
    read = read_image(path)
    volume = volume_of_channels([read.channel], path.name)
    array = volume.array[0]
    low, high = array.min(initial=0), array.max(initial=0)
    if low < 0 or high > 65535:
        raise InputError(f"{path.name}: holds values from {low:g} to {high:g}; labels lie between 0 and 65535")
    whole = array.astype(np.uint8 if high <= 255 else np.uint16)
    if array.dtype.kind == "f" and not np.array_equal(whole, array):
        raise InputError(f"{path.name}: holds fractions; a label map has whole numbers only")
    return LabelMap(whole, volume.grid, (*read.warnings, *volume.warnings))
