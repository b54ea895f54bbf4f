"""TIFF files, read by tifffile: pages, separate planes, OME axes, MINISWHITE, palettes, pyramids."""

from __future__ import annotations

import io
import logging
import math
import threading
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
    from tifffile import TiffPage, TiffPageSeries

CHANNELS = "SC"  # axes of tifffile that are channels: samples of a pixel, channels of a microscope
WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, YCBCR = 0, 1, 2, 3, 6
ORIENTATION = 274


def read_header(file: IO[bytes]) -> StoredHeader:
    """Size and type, from the header only.

    Raises:
        InputError: the header is damaged or not supported.
    """
    with _opened(file) as (series, page, _):
        pages, channels, rows, columns = _sizes(series)
        height, width = turned_size(rows, columns, _orientation(page))
        dtype = np.dtype(np.uint16) if page.photometric == PALETTE else _type_of(series)
        channels = 3 if page.photometric == PALETTE else channels - _alphas(series, page)
        return checked(StoredHeader(pages, height, width, channels, dtype))


def decode(data: bytes) -> Stored:
    """Decode a file.

    Raises:
        InputError: it is damaged or truncated, or its axes or colours are not supported.
    """
    with _opened(io.BytesIO(data)) as (series, page, notes):
        sizes = _sizes(series)
        checked(StoredHeader(*_in_order(sizes), _type_of(series)))
        _check_segments(series, len(data))
        array = np.asarray(series.asarray())
        axes = series.axes
        order = sorted(range(len(axes)), key=lambda i: (axes[i] in CHANNELS, axes[i] in "YX", i))
        # Pages first, then Y and X in their order, then channels.
        pages = array.transpose(order).reshape(sizes[0], sizes[2], sizes[3], sizes[1])
        pages = pages.astype(_type_of(series), copy=False)
        pages, more = _colours(pages, series, page)
    notes += more
    if sizes[0] > 1:
        notes.append(f"its {sizes[0]} pages are taken as planes along Z")
    orientation = _orientation(page)
    return Stored(np.ascontiguousarray(upright(pages, orientation)), (*notes, *turned_note(orientation)))


def _colours(pages: NDArray[Any], series: TiffPageSeries, page: TiffPage) -> tuple[NDArray[Any], list[str]]:
    """Pages as brightness: palettes are resolved, MINISWHITE is inverted, alpha is removed."""
    if page.photometric == PALETTE:
        if page.colormap is None:
            raise InputError("has a palette that is missing; export it again as RGB")
        return np.moveaxis(page.colormap[:, pages[..., 0]], 0, -1), []
    if page.photometric == WHITE_IS_ZERO:
        if pages.dtype == np.bool_:
            return ~pages, []
        if pages.dtype.kind != "u":
            raise InputError("stores white as 0 in numbers that have no largest one; export it again")
        return np.iinfo(pages.dtype).max - pages, []
    if _alphas(series, page):
        largest = np.iinfo(pages.dtype).max if pages.dtype.kind in "iu" else 1
        return without_alpha(pages, largest)
    return pages, []


def _sizes(series: TiffPageSeries) -> tuple[int, int, int, int]:
    """Pages, channels, rows and columns.

    Raises:
        InputError: it has further axes.
    """
    sizes = [1, 1, 1, 1]
    for axis, size in zip(series.axes, series.shape, strict=True):
        if axis == "Y":
            sizes[2] = size
        elif axis == "X":
            sizes[3] = size
        elif size > 1 and sizes[int(axis in CHANNELS)] > 1:
            raise InputError(
                f"has the axes {series.axes} of {' x '.join(map(str, series.shape))}; planes along one axis, and "
                "channels, are read: save the rest as files of their own"
            )
        else:
            sizes[int(axis in CHANNELS)] *= size
    if "Y" not in series.axes or "X" not in series.axes:
        raise InputError(f"has the axes {series.axes}, without Y and X; export it again")
    return sizes[0], sizes[1], sizes[2], sizes[3]


def _in_order(sizes: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
    pages, channels, rows, columns = sizes
    return pages, rows, columns, channels


def _type_of(series: TiffPageSeries) -> np.dtype[Any]:
    if series.dtype is None:
        raise InputError("its pixels are of a type that is not read; export it again")
    native = np.dtype(series.dtype).newbyteorder("=")
    return np.dtype(np.float32) if native == np.float16 else native


def _alphas(series: TiffPageSeries, page: TiffPage) -> int:
    """Number of channels after the colours."""
    colours = {RGB: 3, YCBCR: 3, BLACK_IS_ZERO: 1}.get(int(page.photometric), page.samplesperpixel)
    return int("S" in series.axes and page.samplesperpixel == colours + 1 and bool(page.extrasamples))


def _orientation(page: TiffPage) -> int:
    tag = page.tags.get(ORIENTATION)
    return int(tag.value) if tag is not None and isinstance(tag.value, int) else 1


def _check_segments(series: TiffPageSeries, size: int) -> None:
    """Check that all pixels lie within the file, because tifffile reads missing strips as zeros.

    Raises:
        InputError: they do not.
    """
    for page in series.pages:
        if page is None:
            raise InputError("lacks a page; copy or export it again")
        whole = page.aspage()
        ends = [start + count for start, count in zip(whole.dataoffsets, whole.databytecounts, strict=True)]
        if not ends or min(whole.databytecounts) < 1 or max(ends) > size:
            raise InputError("ends before its pixels do; the file is truncated, copy or export it again")
        needed = math.prod(whole.shaped[:5]) * whole.bitspersample // 8
        if whole.compression == 1 and sum(whole.databytecounts) < needed:
            raise InputError("holds fewer pixels than its header announces; copy or export it again")


@contextmanager
def _opened(file: IO[bytes]) -> Iterator[tuple[TiffPageSeries, TiffPage, list[str]]]:
    """The first series, its first page, and notes. Errors of tifffile become InputError."""
    try:
        import tifffile
    except ImportError:
        raise InputError("is a TIFF, which needs tifffile: pip install 'itk_infer[images]'") from None
    log = _Collected()
    logger = logging.getLogger("tifffile")
    logger.addHandler(log)
    try:
        with tifffile.TiffFile(file) as tiff:
            series = tiff.series[0]
            keyframe = series.keyframe
            if int(keyframe.photometric) not in (WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, YCBCR):
                raise InputError(f"its colours are {keyframe.photometric.name}; export it again as RGB")
            notes = []
            if len(tiff.series) > 1:
                notes.append(f"holds {len(tiff.series)} images of different sizes; the first is read")
            yield series, keyframe, notes
            if log.lines:
                raise InputError(f"is damaged ({printable(log.lines[0])[:80]}); copy or export it again")
    except InputError:
        raise
    except Exception as error:  # its decoders raise many classes of errors
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise InputError(
            f"the picture is damaged or truncated ({printable(reason)[:80]}); copy or export it again"
        ) from error
    finally:
        logger.removeHandler(log)


class _Collected(logging.Handler):
    """Collects tifffile's log lines of this thread; it logs damage, and returns the pages that it finds."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []
        self._thread = threading.get_ident()

    def emit(self, record: logging.LogRecord) -> None:
        damaged = record.levelno >= logging.ERROR or "invalid" in record.getMessage()
        if damaged and record.thread == self._thread:
            self.lines.append(record.getMessage())
