"""The frames of a DICOM file as pictures."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from itk_infer.errors import InputError
from itk_infer.spec.dicom_keywords import KEYWORDS
from itk_infer.volume.dicom.elements import Damaged, Incomplete
from itk_infer.volume.dicom.frames import frames_of
from itk_infer.volume.dicom.header import FIRST_BYTES, FileHeader, header_of
from itk_infer.volume.dicom.picture import TAGS, FrameLooks
from itk_infer.volume.dicom.pixels import LOSSY, check_decoder, picture_form, stored_frames
from itk_infer.volume.names import printable
from itk_infer.volume.picture_input.picture import NotAPicture, Picture, PictureFacts, Rows, pixels_sha256

if TYPE_CHECKING:
    from itk_infer.spec.classify_spec import PictureChannel, PictureInput, SelectRule

STORAGE = "1.2.840.10008.5.1.4.1.1."
NO_PICTURES = {  # by the rest of the UID after `STORAGE`; the longest match counts
    "9.": "a waveform",
    "11.": "a presentation state",
    "30": "a parametric map",
    "66": "raw data, a registration or a segmentation",
    "67": "a map of real-world values",
    "78.": "measurements of eyes",
    "88.": "a structured report",
    "104.": "a document",
    "481.": "a radiotherapy object",
    "481.1": "",  # an image
}
INDEX = "1.2.840.10008.1.3.10"


@dataclass(frozen=True, slots=True)
class DicomPicture:
    """One decoded frame of a DICOM file."""

    stored: NDArray[Any]
    frame: int
    looks: FrameLooks

    @property
    def sha256(self) -> str:
        """See `Picture.sha256`."""
        return pixels_sha256(self.stored)

    def rows(self, channel: PictureChannel, wanted: PictureInput) -> NDArray[np.float32] | Rows:
        """See `Picture.rows`."""
        return self.looks.rows(self.stored, self.frame, channel, wanted)


class DicomPictures:
    """The pictures of one file.

    Args:
        path: The file.
        data: Its content.

    Attributes:
        frame_bytes: Size of a decoded frame in bytes; 0 before `check` or `picture`.

    Raises:
        InputError: the header is damaged.
    """

    def __init__(self, path: Path, data: bytes) -> None:
        self._name = printable(path.name)
        self._data, self.frame_bytes = data, 0
        self.sha256 = hashlib.sha256(data).hexdigest()
        self._file = header_in(path, data)
        self.facts = facts_of(self._file)
        self._decode: Callable[[int], NDArray[Any]] | None = None
        self._looks: FrameLooks | None = None

    def check(self, select: Sequence[SelectRule] = ()) -> None:
        """See `Pictures.check`."""
        refuse_other_objects(self._file, select)
        if self._looks is not None:
            return
        if None in self.facts.positions:  # missing, or the groups of its frames contradict each other
            frames_of(self._file)
        form = picture_form(self._file)
        check_decoder(self._file)
        try:
            self._decode = stored_frames(self._file, form, memoryview(self._data))
        except Damaged as error:
            raise InputError(f"{self._name}: {error}; copy or send it again") from None
        self.frame_bytes = form.frame_bytes
        self._looks = FrameLooks(self._file, form)

    def picture(self, frame: int) -> Picture:
        """See `Pictures.picture`."""
        if self._decode is None or self._looks is None:
            self.check()
            return self.picture(frame)
        try:
            return DicomPicture(self._decode(frame), frame, self._looks)
        except Damaged as error:
            raise InputError(f"{self._name}: {error}; copy or send it again") from None


def header_in(path: Path, data: bytes, *, whole: bool = True) -> FileHeader:
    """The header of a file.

    Args:
        path: The file.
        data: Its content, or its beginning.
        whole: Whether `data` is the whole file.

    Raises:
        InputError: the header is damaged.
        Incomplete: the header continues after `data`.
    """
    size = len(data) if whole else path.stat().st_size
    try:
        if not whole:
            return header_of(path, data, size, TAGS)
        try:
            return header_of(path, data[:FIRST_BYTES], size, TAGS)
        except Incomplete:
            return header_of(path, data, size, TAGS)
    except Incomplete:
        raise
    except Damaged as error:
        raise InputError(f"{printable(path.name)}: {error}; copy or send it again") from None


def facts_of(file: FileHeader) -> PictureFacts:
    """Facts about the pictures from the header; never raises, so that even a damaged header gives the study."""
    try:
        frames = frames_of(file)
        positions = tuple(_along_normal(frame.position, frame.orientation) for frame in frames)
    except InputError:
        positions = (None,)
    return PictureFacts(
        len(positions),
        file.text("StudyInstanceUID"),
        file.text("SeriesInstanceUID"),
        file.text("SOPInstanceUID") or file.data.instance,
        file.text("PatientID"),
        file.data.syntax,
        file.text("PhotometricInterpretation"),
        positions,
        "; ".join(_notes(file)),
    )


def refuse_other_objects(file: FileHeader, select: Sequence[SelectRule]) -> None:
    """Refuse files whose SOP class has no pictures, and files that the model's rules exclude.

    Raises:
        NotAPicture: see `Pictures.check`.
    """
    kind = file.text("SOPClassUID")
    if kind == INDEX:
        raise NotAPicture("an index of other files (DICOMDIR)")
    if kind.startswith(STORAGE):
        rest = f"{kind.removeprefix(STORAGE)}"
        fitting = [key for key in NO_PICTURES if rest == key or f"{rest}.".startswith(f"{key.rstrip('.')}.")]
        if fitting and NO_PICTURES[max(fitting, key=len)]:
            raise NotAPicture(f"{NO_PICTURES[max(fitting, key=len)]}, and no picture")
    for rule in select:
        found = set(file.values(KEYWORDS[rule.keyword]))
        if bool(found & set(rule.values)) == rule.exclude:
            shown = " and ".join(rule.values)
            raise NotAPicture(
                f"its {rule.keyword} is {shown}, which the model is not for"
                if rule.exclude
                else f"its {rule.keyword} is not {shown}, which the model is for"
            )


def _notes(file: FileHeader) -> list[str]:
    notes = []
    if file.data.syntax in LOSSY or file.text("LossyImageCompression") == "01":
        notes.append("its pixels were compressed with losses")
    if file.text("PresentationIntentType") == "FOR PROCESSING":
        notes.append("is raw, not meant to be looked at (FOR PROCESSING)")
    if not file.text("StudyInstanceUID"):
        notes.append("has no StudyInstanceUID; its folder stands for the study")
    stored, intercept = file.data.elements.get(KEYWORDS["BitsStored"]), file.text("RescaleIntercept")
    if file.text("Modality") == "CT" and stored in (b"\x0c\0", b"\0\x0c") and intercept in ("0", "0.0"):
        notes.append("a CT of 12 bits with the intercept 0: its values may be wrapped around at 4096")
    return notes


def _along_normal(position: Sequence[float] | None, orientation: Sequence[float] | None) -> float | None:
    if position is None or orientation is None:
        return None
    (a, b, c), (d, e, f) = orientation[:3], orientation[3:]
    normal = (b * f - c * e, c * d - a * f, a * e - b * d)
    return sum(along * at for along, at in zip(normal, position, strict=True))
