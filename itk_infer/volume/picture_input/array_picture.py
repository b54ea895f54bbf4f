"""Pictures from arrays: photos, and slices of volumes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from itk_infer.errors import InputError
from itk_infer.volume.dicom.lookup import Window
from itk_infer.volume.dicom.picture import plane_of
from itk_infer.volume.picture_input.picture import Picture, PictureFacts, pixels_sha256

if TYPE_CHECKING:
    from itk_infer.spec.classify_spec import PictureChannel, PictureInput, SelectRule


@dataclass(frozen=True, slots=True)
class ArrayPicture:
    """One picture.

    Attributes:
        values: (Y, X), or (Y, X, 3) in colour.
        photo: Whether integers are brightness, from 0 to the largest value of their type.
        name: Name for messages.
    """

    values: NDArray[Any]
    photo: bool
    name: str

    @property
    def sha256(self) -> str:
        """See `Picture.sha256`."""
        return pixels_sha256(self.values)

    def rows(self, channel: PictureChannel, wanted: PictureInput) -> NDArray[np.float32]:
        """See `Picture.rows`; an array has no window of its own."""
        if self.values.ndim == 2 and channel.plane != "grey":
            raise InputError(f"{self.name}: is grey, and the model wants colours; give another picture")
        values = plane_of(self.values, channel)
        if channel.window is not None:
            return Window(*channel.window, "LINEAR_EXACT")(values.astype(np.float64)).astype(np.float32)
        if wanted.values != "voi":
            return values
        kind = self.values.dtype
        if self.photo and kind.kind in "ub":
            return values / np.float32(1 if kind.kind == "b" else np.iinfo(kind).max)
        if self.photo and kind.kind == "f" and values.min() >= 0 and values.max() <= 1:
            return values
        if wanted.missing_voi == "refuse":
            raise InputError(f"{self.name}: has no window, and the model spec wants one")
        if wanted.missing_voi == "range" and kind.kind in "iu":
            low, high = float(np.iinfo(kind).min), float(np.iinfo(kind).max)
        else:
            low, high = float(values.min()), float(values.max())
        return (values - np.float32(low)) / np.float32(high - low) if high > low else np.zeros_like(values)


@dataclass(frozen=True, slots=True)
class ArrayPictures:
    """The pictures of one file.

    Attributes:
        values: (frames, Y, X), or (frames, Y, X, 3).
        facts: See `Pictures.facts`.
        sha256: See `Pictures.sha256`.
        photo: See `ArrayPicture`.
        name: Name for messages.
    """

    values: NDArray[Any]
    facts: PictureFacts
    sha256: str
    photo: bool
    name: str

    def check(self, select: Sequence[SelectRule] = ()) -> None:
        """See `Pictures.check`; arrays are checked when they are read, and no rule is for them."""

    def picture(self, frame: int) -> Picture:
        """See `Pictures.picture`."""
        return ArrayPicture(self.values[frame], self.photo, self.name)
