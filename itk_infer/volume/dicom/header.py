"""The header of one DICOM file, with its values converted."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from pathlib import Path

from itk_infer.errors import InputError
from itk_infer.spec.dicom_keywords import KEYWORDS
from itk_infer.volume.dicom.derived import READ
from itk_infer.volume.dicom.elements import DataSet, Elements, Incomplete, Pixels, parse
from itk_infer.volume.names import printable

FIRST_BYTES = 1 << 15
SHARED, PER_FRAME = 0x52009229, 0x52009230
SUV_TAGS = frozenset((0x00280051, 0x00541006, 0x00541102, 0x70531000))  # used in uptake.py
TAGS = frozenset(KEYWORDS.values()) | READ | SUV_TAGS
MEASURES, POSITION, ORIENTATION, TRANSFORMATION = 0x00289110, 0x00209113, 0x00209116, 0x00289145
UID = re.compile(r"[0-9]+(\.[0-9]+)*")


@dataclass(frozen=True, slots=True)
class FileHeader:
    """The header of one file.

    Attributes:
        path: The file.
        size: Size of the file in bytes.
        data: Its data elements.
    """

    path: Path
    size: int
    data: DataSet

    @property
    def name(self) -> str:
        """Name of the file for messages."""
        return printable(self.path.name)

    @property
    def pixels(self) -> Pixels | None:
        """Position of the pixels; None if there are none."""
        return self.data.pixels

    def text(self, keyword: str) -> str:
        """An attribute as text; empty if it is absent."""
        return text_of(self.data.elements, KEYWORDS[keyword], self._charset)

    def values(self, tag: int) -> list[str]:
        """The values of an attribute as text, for any value representation."""
        text = text_of(self.data.elements, tag, self._charset)
        return [part.strip() for part in text.split("\\")] if text else []

    def integer(self, keyword: str, default: int | None = None) -> int:
        """An integer of two bytes, such as Rows.

        Raises:
            InputError: it is absent, or not a number.
        """
        raw = self.data.elements.get(KEYWORDS[keyword], b"")
        if isinstance(raw, bytes) and len(raw) == 2:
            return int.from_bytes(raw, "little" if self.data.little else "big")
        if default is not None and not raw:
            return default
        raise InputError(f"{self.name}: {keyword} is missing or no number; export the series again")

    @property
    def frames(self) -> int:
        """Number of frames; 1 if the attribute is absent.

        Raises:
            InputError: the attribute is not a number.
        """
        text = self.text("NumberOfFrames") or "1"
        if not re.fullmatch(r"[+]?\d{1,7}", text) or int(text) < 1:
            raise InputError(f"{self.name}: NumberOfFrames is no number; export the series again")
        return int(text)

    @property
    def is_enhanced(self) -> bool:
        """Whether the file has per-frame functional groups."""
        return isinstance(self.data.elements.get(PER_FRAME), list)

    def groups(self, frame: int) -> tuple[Elements, ...]:
        """Attribute groups that apply to a frame, most specific first: its own, the shared ones, the top level."""
        found: list[Elements] = []
        for tag, index in ((PER_FRAME, frame), (SHARED, 0)):
            items = self.data.elements.get(tag)
            if isinstance(items, list) and index < len(items):
                found.append(items[index])
        return (*found, self.data.elements)

    @property
    def _charset(self) -> str:
        return text_of(self.data.elements, KEYWORDS["SpecificCharacterSet"], "")


def read_file_header(path: Path, extra: frozenset[int] = frozenset()) -> FileHeader:
    """Read the header of a file.

    Args:
        path: The file.
        extra: Tags to keep in addition to those of `KEYWORDS`.

    Raises:
        Damaged: the file is not DICOM, or its header is damaged.
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        start = file.read(FIRST_BYTES)
        size = path.stat().st_size
        try:
            return header_of(path, start, size, extra)
        except Incomplete:
            return header_of(path, start + file.read(), size, extra)


def without_voxels(file: FileHeader) -> FileHeader:
    """The same header without an inflated data set, for keeping many of them."""
    return replace(file, data=replace(file.data, inflated=None))


def header_of(path: Path, data: bytes, size: int, extra: frozenset[int] = frozenset()) -> FileHeader:
    """As `read_file_header`, from the first bytes, or all bytes, of a file of `size` bytes."""
    return FileHeader(path, size, parse(data, TAGS | extra, whole=len(data) >= size))


def text_of(elements: Elements, tag: int, charset: str) -> str:
    """An attribute as text without padding; empty if it is absent.

    Text that is invalid in the file's character set is decoded as Latin-1; no decision depends on it.
    """
    raw = elements.get(tag, b"")
    if not isinstance(raw, bytes):
        return ""
    raw = raw.strip(b"\0 ")
    encoding = "utf-8" if charset.endswith("192") or not charset else "latin-1"
    try:
        return raw.decode(encoding)
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def numbers_of(elements: Elements, tag: int, count: int) -> tuple[float, ...] | None:
    """`count` finite numbers of an attribute that stores them as text; None if it has not exactly these."""
    parts = text_of(elements, tag, "").split("\\")
    try:
        numbers = tuple(float(part) for part in parts)
    except ValueError:
        return None
    return numbers if len(numbers) == count and all(map(math.isfinite, numbers)) else None


def is_uid(text: str) -> bool:
    """Whether text is a UID: digits and dots, at most 64 characters."""
    return len(text) <= 64 and bool(UID.fullmatch(text))
