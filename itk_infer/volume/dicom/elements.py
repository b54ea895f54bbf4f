"""The data elements of a DICOM file, as bytes (PS3.5, chapter 7; PS3.10 for the file meta information).

A parser of its own, because headers of thousands of files are read repeatedly, some of them damaged. It keeps only
the requested attributes, converts nothing, and compares every length with the bytes that exist.
"""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass
from typing import Literal, TypeAlias

Value: TypeAlias = "bytes | list[Elements]"
Elements: TypeAlias = "dict[int, Value]"

IMPLICIT, EXPLICIT = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"
DEFLATED, BIG_ENDIAN = "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2"
LONG = frozenset((b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"))
VR = re.compile(rb"[A-Z]{2}")
UNDEFINED = 0xFFFFFFFF
ITEM, ITEM_END, SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
PIXEL_DATA = 0x7FE00010
PIXEL_TAGS = frozenset((0x7FE00008, 0x7FE00009, PIXEL_DATA))
# Sequences whose items are kept: functional groups of frames, positions, slopes and windows, look-up tables, and
# the dose of a tracer.
KEPT_SEQUENCES = frozenset(
    (
        *(0x52009229, 0x52009230, 0x00289110, 0x00209113, 0x00209116, 0x00289145, 0x00209111, 0x00189114),
        *(0x00283000, 0x00283010, 0x00289132, 0x00540016),
    )
)
MAX_DEPTH = 20
MAX_INFLATED = 1 << 28  # largest size of a deflated data set, in bytes, decompressed


class Damaged(Exception):
    """The bytes are not DICOM, or are truncated; the message is a phrase without values from the file."""


class Incomplete(Damaged):
    """The header continues after the given bytes."""


@dataclass(frozen=True, slots=True)
class Pixels:
    """Position of the pixels in a file.

    Attributes:
        tag: Tag of the element: integers (`PIXEL_DATA`) or floating point numbers.
        start: First byte of the element's value; in the inflated data set if it is deflated.
        length: Bytes of the value; None: fragments, up to a delimiter.
    """

    tag: int
    start: int
    length: int | None


@dataclass(frozen=True, slots=True)
class DataSet:
    """The header of a file.

    Attributes:
        syntax: UID of the transfer syntax.
        elements: Kept attributes by tag: bytes, or the items of a sequence.
        pixels: Position of the pixels; None if there are none.
        little: Whether numbers and pixels are little-endian.
        inflated: The decompressed data set, if it is deflated.
        inflated_bytes: Size of `inflated`.
        instance: SOP instance UID of the file meta information; empty if absent.
    """

    syntax: str
    elements: Elements
    pixels: Pixels | None
    little: bool
    inflated: bytes | None = None
    inflated_bytes: int = 0
    instance: str = ""


def looks_like_dicom(start: bytes) -> bool:
    """Whether the first bytes of a file are DICOM, with or without a preamble."""
    if start[128:132] == b"DICM":
        return True
    # Without a preamble: group 8 first, and a class of SOP instances early.
    return start[:2] in (b"\x08\0", b"\x02\0") and b"1.2.840.10008.5.1.4.1.1." in start[:1024]


def parse(data: bytes, wanted: frozenset[int], *, whole: bool) -> DataSet:
    """Read the elements before the pixels.

    Args:
        data: The file, or its beginning.
        wanted: Tags of the attributes to keep.
        whole: Whether `data` is the whole file.

    Raises:
        Incomplete: `data` is not the whole file, and the header is longer.
        Damaged: it is not DICOM, or ends within an element.
    """
    if not looks_like_dicom(data):
        raise Damaged("holds no DICOM header")
    start = 132 if data[128:132] == b"DICM" else 0
    try:
        syntax, instance, start = _file_meta(data, start)
        inflated = None
        if syntax == DEFLATED:
            if not whole:
                raise _TooShort
            inflated = zlib.decompressobj(-zlib.MAX_WBITS).decompress(data[start:], MAX_INFLATED)
            data, start = inflated, 0
        little = syntax != BIG_ENDIAN
        # If the transfer syntax is missing or wrong, it is determined from the first element.
        explicit = bool(VR.fullmatch(data[start + 4 : start + 6])) if little else True
        parser = _Parser(data, wanted, little, explicit)
        elements, _, pixels = parser.elements(start, len(data), 0, True)
    except _TooShort:
        raise (Damaged if whole else Incomplete)("ends within its header") from None
    except zlib.error:
        raise Damaged("its deflated data set is damaged") from None
    syntax = syntax or (EXPLICIT if explicit else IMPLICIT)
    return DataSet(syntax, elements, pixels, little, inflated, len(inflated or b""), instance)


class _TooShort(Exception):
    """An element continues after the last byte."""


def _file_meta(data: bytes, start: int) -> tuple[str, str, int]:
    """Transfer syntax and SOP instance UID, empty if absent, and the position after the file meta information."""
    syntax = instance = ""
    while data[start : start + 2] == b"\x02\0":
        vr = data[start + 4 : start + 6]
        size = 12 if vr in LONG else 8
        length = int.from_bytes(data[start + size - (4 if vr in LONG else 2) : start + size], "little")
        value = data[start + size : start + size + length]
        if len(value) < length or start + size > len(data):
            raise _TooShort
        if data[start + 2 : start + 4] == b"\x10\0":
            syntax = value.rstrip(b"\0 ").decode("ascii", "replace")
        elif data[start + 2 : start + 4] == b"\x03\0":
            instance = value.rstrip(b"\0 ").decode("ascii", "replace")
        start += size + length
    return syntax, instance, start


class _Parser:
    def __init__(self, data: bytes, wanted: frozenset[int], little: bool, explicit: bool) -> None:
        self.data = data
        self.wanted = wanted
        self.order: Literal["little", "big"] = "little" if little else "big"
        self.little = little
        self.explicit = explicit

    def head(self, at: int, explicit: bool) -> tuple[int, bytes, int, int]:
        """Tag, value representation, length, and position of the value of the element at a position."""
        data, order = self.data, self.order
        if at + 8 > len(data):
            raise _TooShort
        if self.little:
            tag = data[at + 1] << 24 | data[at] << 16 | data[at + 3] << 8 | data[at + 2]
        else:
            tag = int.from_bytes(data[at : at + 4], "big")
        if not explicit or tag >> 16 == 0xFFFE:
            return tag, b"", int.from_bytes(data[at + 4 : at + 8], order), at + 8
        vr = data[at + 4 : at + 6]
        if vr in LONG:
            if at + 12 > len(data):
                raise _TooShort
            return tag, vr, int.from_bytes(data[at + 8 : at + 12], order), at + 12
        return tag, vr, int.from_bytes(data[at + 6 : at + 8], order), at + 8

    def elements(
        self, at: int, end: int, depth: int, keep: bool, explicit: bool | None = None
    ) -> tuple[Elements, int, Pixels | None]:
        """The elements from a position up to `end`, a delimiter, or the pixels."""
        if depth > MAX_DEPTH:
            raise Damaged("its sequences are nested too deeply")
        explicit = self.explicit if explicit is None else explicit
        found: Elements = {}
        while at < end:
            tag, vr, length, start = self.head(at, explicit)
            if tag in PIXEL_TAGS and depth == 0:
                return found, start, Pixels(tag, start, None if length == UNDEFINED else length)
            if tag in (ITEM_END, SEQUENCE_END):
                return found, start, None
            if tag > 0xFFFC0000 and depth == 0:  # data set trailing padding
                break
            kept = keep and (tag in self.wanted or depth > 0)
            if vr == b"SQ" or length == UNDEFINED or (tag in KEPT_SEQUENCES):
                deeper = keep and (tag in KEPT_SEQUENCES or depth > 0)
                # A sequence of unknown representation is encoded implicitly (PS3.5, 6.2.2, note 2).
                items, at = self.items(start, length, depth, deeper, explicit and vr != b"UN")
                if at > end:
                    raise Damaged("a sequence is longer than the item that holds it")
                if deeper:
                    found[tag] = items
                continue
            at = start + length
            if at > len(self.data):
                raise _TooShort
            if at > end:
                raise Damaged("an element is longer than the item that holds it")
            if kept:
                found[tag] = self.data[start:at]
        return found, at, None

    def items(self, at: int, length: int, depth: int, keep: bool, explicit: bool) -> tuple[list[Elements], int]:
        """The items of a sequence, and the position after it."""
        end = len(self.data) if length == UNDEFINED else at + length
        if end > len(self.data):
            raise _TooShort
        found: list[Elements] = []
        if not keep and length != UNDEFINED:
            return found, end
        while at < end:
            tag, _, size, start = self.head(at, explicit)
            if tag == SEQUENCE_END:
                return found, start
            if tag != ITEM:
                raise Damaged("a sequence holds something else than items")
            stop = len(self.data) if size == UNDEFINED else start + size
            if stop > len(self.data):
                raise _TooShort
            if not keep and size != UNDEFINED:
                at = stop
                continue
            elements, at, _ = self.elements(start, stop, depth + 1, keep, explicit)
            if keep:
                found.append(elements)
        if length == UNDEFINED:
            raise _TooShort
        return found, at
