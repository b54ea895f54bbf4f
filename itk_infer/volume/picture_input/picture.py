"""Files of pictures: the interface between formats and models that classify."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from itk_infer.spec.classify_spec import PictureChannel, PictureInput


class NotAPicture(Exception):
    """A file that holds no picture by its nature, such as a report; the message says what it is."""


@dataclass(frozen=True, slots=True)
class PictureFacts:
    """Facts from the header of a file of pictures.

    Attributes:
        frames: Number of pictures.
        study: StudyInstanceUID; empty: none.
        series: SeriesInstanceUID; empty: none.
        sop: SOPInstanceUID; empty: none.
        patient: PatientID; empty: none.
        transfer_syntax: UID; empty of files that are not DICOM.
        photometric: Photometric interpretation, such as MONOCHROME2; empty of files that are not DICOM.
        positions: Of each picture along the normal of the slices, mm; None where unknown.
        note: A warning; empty: none.
    """

    frames: int = 1
    study: str = ""
    series: str = ""
    sop: str = ""
    patient: str = ""
    transfer_syntax: str = ""
    photometric: str = ""
    positions: tuple[float | None, ...] = (None,)
    note: str = ""


class Picture(Protocol):
    """One decoded picture."""

    @property
    def sha256(self) -> str:
        """Of its decoded values, shape and type."""
        ...

    def plane(self, channel: PictureChannel, wanted: PictureInput) -> NDArray[np.float32]:
        """The values of one channel, (Y, X), before resizing.

        Raises:
            InputError: the picture has no such values.
        """
        ...


class Pictures(Protocol):
    """The pictures of one file."""

    @property
    def facts(self) -> PictureFacts:
        """Facts from its header."""
        ...

    @property
    def sha256(self) -> str:
        """Digest of the file's content."""
        ...

    def check(self) -> None:
        """Refuse a file whose pictures cannot be decoded, before one of them is.

        Raises:
            NotAPicture: it holds none by its nature, or a rule of the model leaves it out.
            InputError: its header contradicts itself or its length.
        """
        ...

    def picture(self, frame: int) -> Picture:
        """Decode one picture, from 0; in any thread.

        Raises:
            InputError: it is damaged.
        """
        ...


def pixels_sha256(values: NDArray[Any]) -> str:
    """Digest of decoded values: equal for equal pictures, however they were compressed."""
    native = values.astype(values.dtype.newbyteorder("<"), copy=False)
    digest = hashlib.sha256(f"{native.dtype.kind}{native.dtype.itemsize}{native.shape}".encode())
    digest.update(np.ascontiguousarray(native).data)
    return digest.hexdigest()
