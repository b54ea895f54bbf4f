"""MetaImage files (``.mha``, ``.mhd``): https://itk.org/Wiki/ITK/MetaIO/Documentation."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn, TypeVar

import numpy as np

from itk_infer.errors import InputError
from itk_infer.volume.formats.layout import Layout, beside, check_spacing, checked_size, quoted, text_header
from itk_infer.volume.grid import Grid
from itk_infer.volume.names import printable

TYPES = {
    "MET_CHAR": "i1", "MET_UCHAR": "u1", "MET_SHORT": "i2", "MET_USHORT": "u2", "MET_INT": "i4", "MET_UINT": "u4",
    "MET_LONG": "i4", "MET_ULONG": "u4", "MET_LONG_LONG": "i8", "MET_ULONG_LONG": "u8", "MET_FLOAT": "f4",
    "MET_DOUBLE": "f8",
}  # fmt: skip
LAST_KEY = "ElementDataFile"
# Synonyms; where a header has several of them, MetaIO takes the first in this order.
DIRECTIONS = ("TransformMatrix", "Rotation", "Orientation")
POSITIONS = ("ImagePosition", "Origin", "Offset", "Position")
KEYS = {
    "NDims", "DimSize", "ElementSpacing", "ElementSize", "ElementType", "ElementNumberOfChannels", "BinaryData",
    "BinaryDataByteOrderMSB", "ElementByteOrderMSB", "CompressedData", "CompressedDataSize", "HeaderSize",
    "ElementToIntensityFunctionSlope", "ElementToIntensityFunctionOffset", *DIRECTIONS, *POSITIONS, LAST_KEY,
}  # fmt: skip
FIELD = re.compile(r"\s*([^=:]*[^=:\s])\s*[=:]\s*(.*?)\s*")
LINE_LIMIT = 499  # characters; MetaIO cuts longer ones
Number = TypeVar("Number", int, float)


def check_header(path: Path) -> Layout:
    """The layout of a MetaImage with its voxels in the same file (LOCAL) or in one file beside it.

    Raises:
        InputError: the header is damaged, does not describe one 3D scalar volume, or names data in another
            folder.
    """
    name = printable(path.name)
    header = _Header(name)
    _, end = text_header(path, header.take)
    if header.numbers("NDims", int, 1) != [3]:
        raise InputError(f"{name}: has NDims = {quoted(header.text('NDims', ''))}; one 3D volume is needed")
    if header.numbers("ElementNumberOfChannels", int, 1, "1") != [1] or header.text("ElementType") not in TYPES:
        raise InputError(
            f"{name}: its voxels are {header.text('ElementNumberOfChannels', '1')} x "
            f"{quoted(header.text('ElementType'))}; one plain number a voxel is needed"
        )
    if not header.flag("BinaryData", "True"):
        raise InputError(
            f"{name}: stores its voxels as text, which SimpleITK does not read; save it as binary data"
        )
    size = checked_size(path, header.numbers("DimSize", int, 3))
    x, y, z = header.numbers("ElementSpacing", float, 3, header.text("ElementSize", "1 1 1"))
    check_spacing(path, (x, y, z))
    origin = header.one_of(POSITIONS, "0 0 0")
    axes = np.reshape(header.one_of(DIRECTIONS, "1 0 0 0 1 0 0 0 1"), (3, 3))  # one row per axis
    grid = Grid(size, (z, y, x), (origin[0], origin[1], origin[2]), tuple(axes.T.ravel().tolist()))
    swapped = header.text("BinaryDataByteOrderMSB", header.text("ElementByteOrderMSB", "False"))
    dtype = np.dtype((">" if _is_true(swapped) else "<") + TYPES[header.text("ElementType")])
    source = header.text(LAST_KEY)
    local = source in ("LOCAL", "Local", "local")
    data_path, start, stop = path if local else beside(path, source), end if local else 0, None
    packed = header.flag("CompressedData", "False")
    (header_bytes,) = header.numbers("HeaderSize", int, 1, "0")
    (packed_bytes,) = header.numbers("CompressedDataSize", int, 1, "0")
    if header_bytes and (local or packed or header_bytes < -1):
        raise InputError(
            f"{name}: HeaderSize = {header_bytes} is only read for uncompressed data in a file of their own"
        )
    if packed and (packed_bytes > 0 or local):
        # Without the size, or with a wrong one, MetaIO fills the image with uninitialised memory.
        if packed_bytes <= 0:
            raise InputError(f"{name}: gives no CompressedDataSize for its compressed data; save the image again")
        stop = start + packed_bytes
    elif header_bytes == -1:
        start = max(0, data_path.stat().st_size - math.prod(size) * dtype.itemsize)
    else:
        start += header_bytes
    return Layout(
        size=size,
        dtype=dtype,
        data_path=data_path,
        encoding="deflate" if packed else "raw",
        start=start,
        stop=stop,
        exact=packed,
        grid=grid,
        warnings=header.warnings(),
    )


class _Header:
    """The fields of a header that affect the image, parsed as MetaIO parses them.

    In MetaIO a line without a separator (such as the second line of an address copied from DICOM) hides the
    key of the next line that has one, and of two equal keys the last is used. Where that would change the
    image, the header is refused.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._fields: dict[str, str] = {}
        self._stray = ""

    def take(self, line: str) -> bool:
        """Parse one more line; returns whether it is the last one."""
        match = FIELD.fullmatch(line)
        if not match:
            if len(line) > LINE_LIMIT or line.lstrip()[:1] in ("=", ":"):
                self._refuse(f"{quoted(line)} is no line of a MetaImage header; the file is damaged")
            self._stray = self._stray or line.strip()
            return False
        stray, self._stray, key = self._stray, "", match[1]
        if key not in KEYS:
            return False
        if stray:
            self._refuse(f"the line {quoted(stray)} hides the {key} that follows it; remove that line")
        if key in self._fields:
            self._refuse(f"its header gives {key} twice; remove one of them")
        if len(line) > LINE_LIMIT:
            self._refuse(f"{key} is too long to be read")
        self._fields[key] = match[2]
        return key == LAST_KEY

    def _refuse(self, reason: str) -> NoReturn:
        raise InputError(f"{self._name}: {reason}")

    def text(self, key: str, default: str | None = None) -> str:
        value = self._fields.get(key, default)
        if value is None:
            self._refuse(f"its header has no {key}; the file is damaged or of another format")
        return value

    def flag(self, key: str, default: str) -> bool:
        return _is_true(self.text(key, default))

    def numbers(
        self, key: str, kind: Callable[[str], Number], count: int, default: str | None = None
    ) -> list[Number]:
        text = self.text(key, default)
        try:
            values = [kind(word) for word in text.split()]
        except ValueError:
            values = []
        if len(values) != count:
            self._refuse(f"{key} = {quoted(text)} in its header is not {count} numbers")
        return values

    def one_of(self, keys: tuple[str, ...], default: str) -> list[float]:
        """The numbers under the first of several synonyms; the others must hold the same numbers."""
        count = len(default.split())
        # All are parsed, because MetaIO takes missing numbers from the next line.
        given = {key: self.numbers(key, float, count) for key in keys if key in self._fields}
        values = next(iter(given.values()), [float(word) for word in default.split()])
        if any(other != values for other in given.values()):
            self._refuse(f"its header gives different numbers as {' and '.join(given)}; remove the wrong ones")
        if not all(map(math.isfinite, values)):
            self._refuse(f"{next(iter(given))} in its header holds NaN or infinity; correct the header")
        return values

    def warnings(self) -> tuple[str, ...]:
        """Ambiguities in the header, and fields that SimpleITK does not apply."""
        warnings = []
        if not self._fields.keys() & DIRECTIONS:
            warnings.append("stores no orientation; its axes are taken as they are")
        slope = self.numbers("ElementToIntensityFunctionSlope", float, 1, "1")
        offset = self.numbers("ElementToIntensityFunctionOffset", float, 1, "0")
        if (slope, offset) != ([1.0], [0.0]):
            warnings.append("stores an ElementToIntensityFunction, which is not applied")
        return tuple(warnings)


def _is_true(text: str) -> bool:
    return text[:1] in ("T", "t", "1")
