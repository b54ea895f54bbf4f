"""From stored values to what a viewer shows: modality, VOI, MONOCHROME1, padding (PS3.4, N.2).

All of it is one function of the stored value, so that frames of 8 and 16 bits go through one table, exactly.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from itk_infer.volume.dicom.pixels import PixelForm
from itk_infer.volume.dicom.table import Table

Function = Literal["LINEAR", "LINEAR_EXACT", "SIGMOID"]
Floats = NDArray[np.float64]
WRAPPED_BY = 1000  # stored values of head CTs that were taken for HU and kept in 12 bits
AT_A_TIME = 1 << 17  # pixels


@dataclass(frozen=True, slots=True)
class Window:
    """Centre and width of what is shown, to [0, 1] (PS3.3, C.11.2)."""

    center: float
    width: float
    function: Function = "LINEAR"

    def __call__(self, values: Floats) -> Floats:
        """Values of the modality to [0, 1]."""
        if self.function == "SIGMOID":
            with np.errstate(over="ignore"):
                return 1.0 / (1.0 + np.exp(-4.0 * (values - self.center) / self.width))
        low, span = self.center - self.width / 2, self.width
        if self.function == "LINEAR":
            low, span = self.center - 0.5 - (self.width - 1) / 2, self.width - 1
        if span <= 0:
            return (values > low).astype(np.float64)
        return np.clip((values - low) / span, 0.0, 1.0)


@dataclass(frozen=True, slots=True)
class Look:
    """The conversion of stored values for display.

    Attributes:
        modality: From stored values to those of the modality: slope and intercept, or a table.
        voi: From those to [0, 1]: a window, a table, or the two ends of a range; None: they stay as they are.
        inverted: Whether the largest value is black (MONOCHROME1); of values in [0, 1].
        padding: Smallest and largest stored value that is no picture, and becomes black in [0, 1]; None: none.
        wrapped: Whether stored values of 12 bits are 1,000 too low and wrapped round, and are put right first.
    """

    modality: tuple[float, float] | Table
    voi: Window | Table | tuple[float, float] | None
    inverted: bool = False
    padding: tuple[int, int] | None = None
    wrapped: bool = False

    def __call__(self, stored: NDArray[np.int64]) -> NDArray[np.float32]:
        """Stored values to displayed ones."""
        values = self.of_modality(stored)
        if self.voi is None:
            return values.astype(np.float32)
        if isinstance(self.voi, Window):
            shown = self.voi(values)
        elif isinstance(self.voi, Table):
            shown = self.voi(values) / self.voi.top
        else:
            low, high = self.voi
            shown = np.clip((values - low) / (high - low), 0.0, 1.0) if high > low else np.zeros_like(values)
        if self.inverted:
            shown = 1.0 - shown
        if self.padding is not None:
            shown[(stored >= self.padding[0]) & (stored <= self.padding[1])] = 0.0
        return shown.astype(np.float32)

    def of_modality(self, stored: NDArray[np.int64]) -> Floats:
        """Stored values to those of the modality."""
        values = ((stored + WRAPPED_BY) % 4096 if self.wrapped else stored).astype(np.float64)
        if isinstance(self.modality, Table):
            return self.modality(values).astype(np.float64)
        slope, intercept = self.modality
        return values * slope + intercept


def looked_up(stored: NDArray[np.integer], form: PixelForm, look: Look) -> NDArray[np.float32]:
    """A frame through a table.

    Args:
        stored: Stored values (Y, X).
        form: Of its pixels.
        look: What they become.
    """
    if form.allocated > 16:
        return look(stored.astype(np.int64))
    unsigned = np.dtype(f"u{form.allocated // 8}")
    native = stored.astype(stored.dtype.newbyteorder("="), copy=False)
    table, places = _table(form.allocated, form.signed, look), native.view(unsigned).reshape(-1)
    found = np.empty(places.size, np.float32)
    for at in range(0, places.size, AT_A_TIME):  # NumPy makes 8 bytes of each, which are to stay in the cache
        part = slice(at, at + AT_A_TIME)
        np.take(table, places[part], out=found[part], mode="clip")  # no place is outside; others fill a copy first
    return found.reshape(stored.shape)


@lru_cache(maxsize=64)
def _table(bits: int, signed: bool, look: Look) -> NDArray[np.float32]:
    """The results for all values of so many bits, indexed by the bits as an unsigned number."""
    stored = np.arange(1 << bits, dtype=np.int64)
    if signed:
        stored[1 << (bits - 1) :] -= 1 << bits
    return look(stored)


def extremes(stored: NDArray[np.integer], look: Look) -> tuple[float, float]:
    """Smallest and largest value of the modality in a frame, without padding; (0, 0) where all is padding."""
    if look.padding is not None:
        stored = stored[(stored < look.padding[0]) | (stored > look.padding[1])]
        if not stored.size:
            return 0.0, 0.0
    if isinstance(look.modality, Table) or look.wrapped:  # which need not ascend
        values = look.of_modality(np.unique(stored).astype(np.int64))
    else:
        values = look.of_modality(np.array([stored.min(), stored.max()], np.int64))
    return float(values.min()), float(values.max())
