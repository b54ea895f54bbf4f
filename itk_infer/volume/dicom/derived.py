"""Attributes of patient and study that derived objects copy from a series: cleaned, and never invented.

Text is copied as bytes, so that names and IDs are preserved in any character set. Invalid values, such as an
impossible date, become empty.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

from itk_infer.errors import InputError
from itk_infer.spec.dicom_keywords import KEYWORDS

if TYPE_CHECKING:
    from itk_infer.volume.dicom.geometry import Stack
    from itk_infer.volume.dicom.header import FileHeader

ALWAYS = {  # empty if the series has none (type 2)
    0x00080020: "DA",  # StudyDate
    0x00080030: "TM",  # StudyTime
    0x00080050: "SH",  # AccessionNumber
    0x00080090: "PN",  # ReferringPhysicianName
    0x00100010: "PN",  # PatientName
    0x00100020: "LO",  # PatientID
    0x00100030: "DA",  # PatientBirthDate
    0x00100040: "CS",  # PatientSex
    0x00200010: "SH",  # StudyID
}
IDENTITY_REMOVED, REMOVED_HOW = 0x00120062, 0x00120063
OPTIONAL = {
    0x00080201: "SH",  # TimezoneOffsetFromUTC
    0x00081030: "LO",  # StudyDescription
    0x00100021: "LO",  # IssuerOfPatientID
    0x00101010: "AS",  # PatientAge
    0x00101020: "DS",  # PatientSize
    0x00101030: "DS",  # PatientWeight
    0x00120010: "LO",  # ClinicalTrialSponsorName
    0x00120020: "LO",  # ClinicalTrialProtocolID
    0x00120021: "LO",  # ClinicalTrialProtocolName
    0x00120030: "LO",  # ClinicalTrialSiteID
    0x00120031: "LO",  # ClinicalTrialSiteName
    0x00120040: "LO",  # ClinicalTrialSubjectID
    0x00120042: "LO",  # ClinicalTrialSubjectReadingID
    0x00120050: "LO",  # ClinicalTrialTimePointID
    0x00120051: "ST",  # ClinicalTrialTimePointDescription
    IDENTITY_REMOVED: "CS",
    REMOVED_HOW: "LO",
}
COPIED = {**ALWAYS, **OPTIONAL}
LOSSY_RATIO, LOSSY_METHOD = 0x00282112, 0x00282114
READ = frozenset((*COPIED, LOSSY_RATIO, LOSSY_METHOD))
WORDS = {0x00100040: (b"M", b"F", b"O"), IDENTITY_REMOVED: (b"YES", b"NO")}
TEXTS = ("LO", "PN", "SH", "ST")  # their bytes depend on the character set
UTF_8, LATIN_1 = "ISO_IR 192", "ISO_IR 100"
ENCODINGS = {  # for character sets without escape sequences (PS3.3, C.12.1.1.2)
    LATIN_1: "latin-1",
    UTF_8: "utf-8",
    "ISO_IR 101": "iso8859_2",
    "ISO_IR 109": "iso8859_3",
    "ISO_IR 110": "iso8859_4",
    "ISO_IR 144": "iso8859_5",
    "ISO_IR 127": "iso8859_6",
    "ISO_IR 126": "iso8859_7",
    "ISO_IR 138": "iso8859_8",
    "ISO_IR 148": "iso8859_9",
    "ISO_IR 203": "iso8859_15",
    "ISO_IR 13": "shift_jis",
    "ISO_IR 166": "iso8859_11",
    "GB18030": "gb18030",
    "GBK": "gbk",
}
ESCAPED = re.compile(r"(ISO 2022 IR \d+)?(\\ISO 2022 IR \d+)*")
FORMS = {
    "AS": re.compile(rb"\d{3}[DWMY]"),
    "DS": re.compile(rb"[+-]?\d+(\.\d*)?([Ee][+-]?\d+)?"),
    "TM": re.compile(rb"([01]\d|2[0-3])([0-5]\d([0-5]\d(\.\d{1,6})?)?)?"),
}


@dataclass(frozen=True, slots=True)
class Identity:
    """Patient and study of a series, for an object that is derived from it.

    Attributes:
        charset: Its SpecificCharacterSet; empty if none is needed.
        encoding: Python's name for it; added text must fit in it, see `fitted`.
        values: Value representation and bytes, by tag.
    """

    charset: str
    encoding: str
    values: dict[int, tuple[str, bytes]]

    def fitted(self, text: str, length: int = 64) -> str:
        """Added text on one line, cut to `length`, with question marks for other characters than the set's."""
        line = " ".join(text.replace("\\", "/").split())[:length].strip()
        return line.encode(self.encoding, "replace").decode(self.encoding)


def check_referable(stack: Stack) -> None:
    """Check that derived objects can refer to slices.

    Raises:
        InputError: they cannot; the message does not begin with a name.
    """
    from itk_infer.volume.dicom.header import is_uid

    for frame in stack.frames:
        if not is_uid(frame.file.text("FrameOfReferenceUID")):
            raise InputError(
                f"the FrameOfReferenceUID of {frame.name} is missing or no UID, and DICOM objects of a result "
                "need it; export the series again, or leave `dicom` out"
            )


def identity_of(file: FileHeader, own: Iterable[str] = ()) -> Identity:
    """Patient and study of a file.

    Args:
        file: A file of the series.
        own: Added texts, which the same character set must be able to represent.
    """
    found: dict[int, tuple[str, bytes]] = {}
    for tag, kind in COPIED.items():
        value = _valid(file.data.elements.get(tag), tag, kind)
        if value or tag in ALWAYS:
            found[tag] = kind, value
    if found.get(IDENTITY_REMOVED, ("", b""))[1] == b"YES":
        found.setdefault(REMOVED_HOW, ("LO", b"see the source images"))
    charset, encoding = _charset(file.text("SpecificCharacterSet"), found, own)
    if charset == UTF_8:
        former = ENCODINGS.get(file.text("SpecificCharacterSet"), "ascii")
        found = {
            tag: (kind, value.decode(former).encode() if kind in TEXTS else value)
            for tag, (kind, value) in found.items()
        }
    return Identity(charset, encoding, found)


def _valid(raw: object, tag: int, kind: str) -> bytes:
    """A value without padding; empty if it is missing or invalid for its representation."""
    value = raw.strip(b"\0 ") if isinstance(raw, bytes) else b""
    if tag in WORDS:
        return value if value in WORDS[tag] else b""
    if kind == "DA":
        try:
            date.fromisoformat(value.decode("ascii")) if len(value) == 8 else date.fromisoformat("")
        except ValueError:
            return b""
        return value
    form = FORMS.get(kind)
    return value if form is None or form.fullmatch(value) else b""


def _charset(given: str, found: dict[int, tuple[str, bytes]], own: Iterable[str]) -> tuple[str, str]:
    """A character set that represents the copied values and added texts unchanged, and its Python name."""
    texts = [value for kind, value in found.values() if kind in TEXTS]
    words = "".join(own)
    if all(text.isascii() and b"\x1b" not in text for text in texts):
        return ("", "ascii") if words.isascii() else (UTF_8, "utf-8")
    encoding = ENCODINGS.get(given)
    if encoding is not None and all(_decodes(text, encoding) for text in texts):
        try:
            words.encode(encoding)
        except UnicodeEncodeError:
            return UTF_8, "utf-8"
        return given, encoding
    if given and ESCAPED.fullmatch(given):
        return given, "ascii"
    return LATIN_1, "latin-1"  # it defines a character for every byte


def _decodes(text: bytes, encoding: str) -> bool:
    try:
        text.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True


def moment_of(file: FileHeader) -> tuple[str, str]:
    """Date and time of a series: of its content, or else of acquisition, series or study.

    Derived objects take their dates from the source, so that repeated runs give the same bytes.
    """
    for what in ("Content", "Acquisition", "Series", "Study"):
        day = _valid(file.data.elements.get(KEYWORDS[f"{what}Date"]), 0, "DA").decode()
        if day:
            return day, _valid(file.data.elements.get(KEYWORDS[f"{what}Time"]), 0, "TM").decode() or "000000"
    return "19700101", "000000"
