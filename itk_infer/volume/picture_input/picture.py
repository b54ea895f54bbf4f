"""Files of pictures: the interface between formats and classifying models."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from itk_infer.spec.classify_spec import PictureChannel, PictureInput, SelectRule


class NotAPicture(Exception):
    """A file that is not a picture by its nature, such as a report; the message states what it is."""


@dataclass(frozen=True, slots=True)
class PictureFacts:
    """Facts from the header of a file of pictures.

    Attributes:
        frames: Number of pictures.
        study: StudyInstanceUID; empty if absent.
        series: SeriesInstanceUID; empty if absent.
        sop: SOPInstanceUID; empty if absent.
        patient: PatientID; empty if absent.
        transfer_syntax: Transfer syntax UID; empty for files that are not DICOM.
        photometric: Photometric interpretation, such as MONOCHROME2; empty for files that are not DICOM.
        positions: Position of each picture along the slice normal, mm; None if unknown.
        note: A warning; empty if there is none.
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


class Rows(Protocol):
    """A plane (Y, X) whose rows are computed when they are asked for."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Rows and columns."""
        ...

    def __getitem__(self, rows: slice) -> NDArray[np.float32]:
        """Some rows, (rows, X)."""
        ...

    def write(self, rows: slice, out: NDArray[np.float32]) -> None:
        """Write some rows to `out`, (rows, X), contiguous."""
        ...


class Picture(Protocol):
    """One decoded picture."""

    @property
    def sha256(self) -> str:
        """SHA-256 of its decoded values, shape and type."""
        ...

    def rows(self, channel: PictureChannel, wanted: PictureInput) -> NDArray[np.float32] | Rows:
        """The values of one channel before resizing.

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

    def check(self, select: Sequence[SelectRule] = ()) -> None:
        """Refuse a file whose pictures cannot be decoded, before any is decoded.

        Args:
            select: Rules of the model that select DICOM files.

        Raises:
            NotAPicture: it is not a picture by its nature, or a rule of the model excludes it.
            InputError: its header is inconsistent, or does not match its length.
        """
        ...

    def picture(self, frame: int) -> Picture:
        """Decode one picture, numbered from 0; thread-safe.

        Raises:
            InputError: the picture is damaged.
        """
        ...


def pixels_sha256(values: NDArray[Any]) -> str:
    """Digest of decoded values, the same for equal pictures with different compression."""
    native = values.astype(values.dtype.newbyteorder("<"), copy=False)
    digest = hashlib.sha256(f"{native.dtype.kind}{native.dtype.itemsize}{native.shape}".encode())
    digest.update(np.ascontiguousarray(native).data)
    return digest.hexdigest()
