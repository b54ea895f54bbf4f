"""The slices of a series, from single-frame or multi-frame files."""

from __future__ import annotations

from dataclasses import dataclass

from itk_infer.errors import InputError
from itk_infer.spec.dicom_keywords import KEYWORDS, tag_of
from itk_infer.volume.dicom.elements import Elements
from itk_infer.volume.dicom.header import (
    MEASURES,
    ORIENTATION,
    POSITION,
    TRANSFORMATION,
    FileHeader,
    numbers_of,
    text_of,
)
from itk_infer.volume.dicom.table import Table, modality_table

Vector = tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Frame:
    """One slice.

    Attributes:
        file: The file that holds it.
        index: Frame number in the file, from 0.
        position: Centre of its first pixel in patient coordinates (LPS, mm); None if absent.
        orientation: Direction cosines of rows and columns, six numbers; None if absent.
        spacing: Millimetres between rows and between columns; None if absent.
        slope: Value = stored * slope + intercept.
        intercept: Added after multiplication with `slope`.
        table: Modality LUT, which replaces slope and intercept; None: these apply.
    """

    file: FileHeader
    index: int
    position: Vector | None
    orientation: Vector | None
    spacing: Vector | None
    slope: float
    intercept: float
    table: Table | None = None

    @property
    def name(self) -> str:
        """Its name in messages."""
        return f"{self.file.name}, frame {self.index + 1}" if self.file.frames > 1 else self.file.name

    @property
    def is_localizer(self) -> bool:
        """Whether it is a scout image."""
        return "LOCALIZER" in self.file.values(KEYWORDS["ImageType"])

    def values(self, keyword: str) -> list[str]:
        """The values of an attribute: of the frame's functional groups if present, otherwise of the file."""
        tag = tag_of(keyword) or 0
        for group in self.file.groups(self.index)[:-1]:
            for item in _items(group):
                if text := text_of(item, tag, ""):
                    return [part.strip() for part in text.split("\\")]
        return self.file.values(tag)


def frames_of(file: FileHeader) -> list[Frame]:
    """The frames of one file.

    Raises:
        InputError: the header contradicts itself.
    """
    count = file.frames
    per_frame = file.data.elements.get(0x52009230)
    if isinstance(per_frame, list) and len(per_frame) != count:
        raise InputError(
            f"{file.name}: has {count} frames by NumberOfFrames and {len(per_frame)} by its groups per frame; "
            "export it again"
        )
    return [_frame(file, index) for index in range(count)]


def _frame(file: FileHeader, index: int) -> Frame:
    groups = file.groups(index)

    def numbers(sequence: int, keyword: str, count: int) -> Vector | None:
        tag = KEYWORDS[keyword]
        for group in groups[:-1]:
            items = group.get(sequence)
            if isinstance(items, list) and items and (found := numbers_of(items[0], tag, count)):
                return found
        # Attributes at the top level of a multi-frame file cannot be valid for each frame.
        if sequence == POSITION and file.frames > 1:
            return None
        return numbers_of(groups[-1], tag, count)

    slope = numbers(TRANSFORMATION, "RescaleSlope", 1)
    intercept = numbers(TRANSFORMATION, "RescaleIntercept", 1)
    if slope == (0.0,):
        raise InputError(f"{file.name}: its RescaleSlope is 0, which leaves no image; export the series again")
    return Frame(
        file,
        index,
        numbers(POSITION, "ImagePositionPatient", 3),
        numbers(ORIENTATION, "ImageOrientationPatient", 6),
        numbers(MEASURES, "PixelSpacing", 2),
        (slope or (1.0,))[0],
        (intercept or (0.0,))[0],
        modality_table(file),
    )


def _items(group: Elements) -> list[Elements]:
    return [item for value in group.values() if isinstance(value, list) for item in value]
