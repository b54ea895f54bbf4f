"""The grayscale pipeline from stored values to display: modality LUT, VOI LUT, MONOCHROME1, padding (PS3.4, N.2).

The pipeline is a function of the stored value alone, so frames of 8 and 16 bits are mapped exactly by one table,
or by a faster formula that gives the number in the table for every stored value.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from itk_infer.volume.dicom.pixels import PixelForm
from itk_infer.volume.dicom.table import Table

Function = Literal["LINEAR", "LINEAR_EXACT", "SIGMOID"]
Floats = NDArray[np.float64]
Convert = Callable[[NDArray[np.integer], NDArray[np.float32]], object]  # stored values, and where results go
WRAPPED_BY = 1000  # offset of head CTs whose HU were stored in 12 bits without an intercept
AT_A_TIME = 1 << 16  # pixels per step


@dataclass(frozen=True, slots=True)
class Window:
    """A window, center and width, that maps values to [0, 1] (PS3.3, C.11.2)."""

    center: float
    width: float
    function: Function = "LINEAR"

    def __call__(self, values: Floats) -> Floats:
        """Map values of the modality to [0, 1]."""
        if self.function == "SIGMOID":
            with np.errstate(over="ignore"):
                return 1.0 / (1.0 + np.exp(-4.0 * (values - self.center) / self.width))
        low, span = self.low_and_span
        if span <= 0:
            return (values > low).astype(np.float64)
        return np.clip((values - low) / span, 0.0, 1.0)

    @property
    def low_and_span(self) -> tuple[float, float]:
        """The value that becomes 0, and the distance to the one that becomes 1; not of a sigmoid."""
        if self.function == "LINEAR":
            return self.center - 0.5 - (self.width - 1) / 2, self.width - 1
        return self.center - self.width / 2, self.width


@dataclass(frozen=True, slots=True)
class Look:
    """The conversion of stored values for display.

    Attributes:
        modality: Conversion of stored values to those of the modality: slope and intercept, or a table.
        voi: Conversion of those to [0, 1]: a window, a table, or both ends of a range; None: unchanged.
        inverted: Whether the largest value is black (MONOCHROME1); applies to values in [0, 1].
        padding: Smallest and largest stored value of padding, which becomes black in [0, 1]; None: no padding.
        wrapped: Whether to correct 12-bit stored values that are 1,000 too low, modulo 4,096.
    """

    modality: tuple[float, float] | Table
    voi: Window | Table | tuple[float, float] | None
    inverted: bool = False
    padding: tuple[int, int] | None = None
    wrapped: bool = False

    def __call__(self, stored: NDArray[np.int64]) -> NDArray[np.float32]:
        """Convert stored values to displayed ones."""
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
        """Convert stored values to those of the modality."""
        values = ((stored + WRAPPED_BY) % 4096 if self.wrapped else stored).astype(np.float64)
        if isinstance(self.modality, Table):
            return self.modality(values).astype(np.float64)
        slope, intercept = self.modality
        return values * slope + intercept


class LookedUp:
    """A frame that is converted when rows of it are asked for.

    A whole converted frame is larger than the caches, and new memory for it takes as long as the conversion.

    Args:
        stored: Stored values (Y, X).
        form: Form of its pixels.
        look: The conversion.
    """

    def __init__(self, stored: NDArray[np.integer], form: PixelForm, look: Look) -> None:
        self.shape, self._look = stored.shape, look
        self._stored = stored.astype(stored.dtype.newbyteorder("="), copy=False)
        self._convert: Convert | None = None
        if form.allocated <= 16:  # the unused bits of unsigned values are 0
            self._convert = _conversion(form.allocated if form.signed else form.stored, form.signed, look)

    def __getitem__(self, rows: slice) -> NDArray[np.float32]:
        """Converted rows, (rows, X) float32."""
        found = np.empty(self._stored[rows].shape, np.float32)
        self.write(rows, found)
        return found

    def write(self, rows: slice, out: NDArray[np.float32]) -> None:
        """Write converted rows to `out`, (rows, X), contiguous."""
        stored = self._stored[rows]
        if self._convert is None:
            out[...] = self._look(stored.astype(np.int64))
            return
        values, found = np.ascontiguousarray(stored).reshape(-1), out.reshape(-1)
        for at in range(0, values.size, AT_A_TIME):  # what is computed for them should stay in the cache
            part = slice(at, at + AT_A_TIME)
            self._convert(values[part], found[part])


@lru_cache(maxsize=64)
def _conversion(bits: int, signed: bool, look: Look) -> Convert:
    """The fastest conversion that gives exactly `look`'s results for all stored values of `bits` bits."""
    stored = np.arange(1 << bits, dtype=np.int64)
    if signed:
        stored[1 << (bits - 1) :] -= 1 << bits
    table = look(stored)
    line, found = _line(look), np.empty(table.size, np.float32)
    try:
        with np.errstate(over="raise", invalid="raise"):
            if line is not None:
                line(stored.astype(f"{'i' if signed else 'u'}{1 if bits <= 8 else 2}"), found)
    except FloatingPointError:
        line = None
    return line if line is not None and found.tobytes() == table.tobytes() else _Lookup(table)


@dataclass(frozen=True, slots=True, eq=False)
class _Lookup:
    """Takes results from a table that is indexed by the bits of stored values as unsigned numbers."""

    table: NDArray[np.float32]

    def __call__(self, stored: NDArray[np.integer], out: NDArray[np.float32]) -> None:
        places = stored.view(f"u{stored.itemsize}")
        np.take(self.table, places, out=out, mode="clip")  # all are valid; other modes copy first


@dataclass(frozen=True, slots=True)
class _Line:
    """A linear window in single precision, in about half of the time of a table."""

    low: np.float32
    span: np.float32

    def __call__(self, stored: NDArray[np.integer], out: NDArray[np.float32]) -> None:
        np.copyto(out, stored)
        np.subtract(out, self.low, out=out)
        np.divide(out, self.span, out=out)
        np.clip(out, 0.0, 1.0, out=out)


def _line(look: Look) -> _Line | None:
    """A look's window for stored values, if it has a linear one; it may differ by rounding, and in padding."""
    if isinstance(look.modality, Table) or not isinstance(look.voi, Window) or look.voi.function == "SIGMOID":
        return None
    (slope, intercept), (low, span) = look.modality, look.voi.low_and_span
    with np.errstate(all="ignore"):
        start, length = (np.array([low - intercept, span]) / slope).astype(np.float32)
    return _Line(start, length) if np.isfinite(start) and np.isfinite(length) and length != 0 else None


def extremes(stored: NDArray[np.integer], look: Look) -> tuple[float, float]:
    """Smallest and largest modality value of a frame without padding; (0, 0) if all pixels are padding."""
    if look.padding is not None:
        stored = stored[(stored < look.padding[0]) | (stored > look.padding[1])]
        if not stored.size:
            return 0.0, 0.0
    if isinstance(look.modality, Table) or look.wrapped:  # which need not be increasing
        values = look.of_modality(np.unique(stored).astype(np.int64))
    else:
        values = look.of_modality(np.array([stored.min(), stored.max()], np.int64))
    return float(values.min()), float(values.max())
