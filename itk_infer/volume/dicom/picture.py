"""Pictures of a DICOM file: each of its frames as input of a classifying model."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from itk_infer.errors import InputError
from itk_infer.volume.dicom.elements import Elements
from itk_infer.volume.dicom.header import TRANSFORMATION, FileHeader, numbers_of, text_of
from itk_infer.volume.dicom.lookup import WRAPPED_BY, Function, Look, LookedUp, Window, extremes
from itk_infer.volume.dicom.pixels import PixelForm
from itk_infer.volume.dicom.table import MODALITY_TABLES, Table, read_descriptor, read_table

if TYPE_CHECKING:
    from itk_infer.spec.classify_spec import PictureChannel, PictureInput

CENTER, WIDTH, FUNCTION = 0x00281050, 0x00281051, 0x00281056
PADDING, PADDING_LIMIT = 0x00280120, 0x00280121
VOI_TABLES, FRAME_VOI = 0x00283010, 0x00289132
PALETTES = ((0x00281101, 0x00281201), (0x00281102, 0x00281202), (0x00281103, 0x00281203))
TAGS = frozenset((CENTER, WIDTH, FUNCTION, PADDING, PADDING_LIMIT, *(tag for pair in PALETTES for tag in pair)))
FUNCTIONS: dict[str, Function] = {"LINEAR_EXACT": "LINEAR_EXACT", "SIGMOID": "SIGMOID"}
LUMA = np.array([0.299, 0.587, 0.114], np.float32)
PLANES = ("red", "green", "blue")


class FrameLooks:
    """Converts the stored values of a file's frames.

    Args:
        file: The header, read with `TAGS`.
        form: Form of its pixels.
    """

    def __init__(self, file: FileHeader, form: PixelForm) -> None:
        self._file, self._form = file, form
        self._order = "little" if file.data.little else "big"
        self._palette = self._colours() if file.text("PhotometricInterpretation") == "PALETTE COLOR" else None
        self._inverted = file.text("PhotometricInterpretation") == "MONOCHROME1"
        self._padding = self._padded()

    def rows(
        self, stored: NDArray[Any], frame: int, channel: PictureChannel, wanted: PictureInput
    ) -> NDArray[np.float32] | LookedUp:
        """One channel of a frame, before it is resized.

        Args:
            stored: (Y, X), or (Y, X, 3) in colour.
            frame: Frame number in the file, from 0.
            channel: Plane and window of the channel.
            wanted: Input spec, which selects the kind of values.

        Returns:
            The plane (Y, X); rows of grey values are looked up when they are asked for.

        Raises:
            InputError: the file has no such values.
        """
        if self._palette is not None:
            colours, top = self._palette
            stored = colours[np.clip(stored.astype(np.int64) - self._first, 0, len(colours) - 1)]
            return plane_of(stored / np.float32(top), channel)
        if self._form.samples > 1:
            top = 1 if wanted.values == "stored" else (1 << self._form.stored) - 1
            return plane_of(stored.astype(np.float32) / np.float32(top), channel)
        if channel.plane != "grey":
            raise InputError(f"{self._file.name}: is grey, and the model wants colours; give another picture")
        return LookedUp(stored, self._form, self._look(stored, frame, channel, wanted))

    def _look(self, stored: NDArray[Any], frame: int, channel: PictureChannel, wanted: PictureInput) -> Look:
        if wanted.values == "stored":
            return Look((1.0, 0.0), None)
        modality, wrapped = self._modality(frame), False
        if wanted.repair == "wrapped_12_bit" and self._is_wrapped(modality):
            modality, wrapped = (1.0, -float(WRAPPED_BY)), True
        plain = Look(modality, None, self._inverted, self._padding, wrapped)
        if channel.window is not None:
            voi: Any = Window(*channel.window, "LINEAR_EXACT")
        elif wanted.values == "modality":
            return plain
        else:
            voi = self._voi(frame, wanted.view)
            if voi is None and wanted.missing_voi == "refuse":
                raise InputError(f"{self._file.name}: has no window and no table, and the model spec wants one")
            if voi is None and wanted.missing_voi == "range":
                first, last = self._form.range
                ends = plain.of_modality(
                    np.arange(first, last + 1) if wrapped else np.array([first, last], np.int64)
                )
                voi = (float(ends.min()), float(ends.max()))
            elif voi is None:
                voi = extremes(stored, plain)
        return dataclasses.replace(plain, voi=voi)

    def _is_wrapped(self, modality: tuple[float, float] | Table) -> bool:
        """Whether the header matches head CTs whose stored values are 1,000 too low, modulo 4,096.

        Unsigned 12-bit values cannot represent air, -1,000 HU, without an intercept of about that.
        """
        return (
            not isinstance(modality, Table)
            and modality[0] == 1.0
            and modality[1] > -100
            and self._form.stored == 12
            and not self._form.signed
        )

    def _modality(self, frame: int) -> tuple[float, float] | Table:
        tables = self._file.data.elements.get(MODALITY_TABLES)
        if isinstance(tables, list) and tables:
            return read_table(self._file, tables[0], signed=self._form.signed)
        group = self._nearest(frame, TRANSFORMATION)
        slope, intercept = (numbers_of(group, tag, 1) for tag in (0x00281053, 0x00281052))
        if slope == (0.0,):
            raise InputError(
                f"{self._file.name}: its RescaleSlope is 0, which makes every pixel alike; export it again"
            )
        return (1.0, 0.0) if slope is None or intercept is None else (slope[0], intercept[0])

    def _voi(self, frame: int, view: int) -> Window | Table | None:
        group = self._nearest(frame, FRAME_VOI)
        tables = group.get(VOI_TABLES)
        if isinstance(tables, list) and tables:
            if view >= len(tables):
                raise InputError(f"{self._file.name}: has {len(tables)} tables, and view {view} is wanted")
            signed = self._form.signed or self._below_zero(frame)
            return read_table(self._file, tables[view], signed=signed)
        centers, widths = (_floats(group, tag) for tag in (CENTER, WIDTH))
        pairs = list(zip(centers, widths, strict=False))
        if not pairs:
            return None
        if view >= len(pairs):
            raise InputError(f"{self._file.name}: has {len(pairs)} windows, and view {view} is wanted")
        (center, width), function = pairs[view], text_of(group, FUNCTION, "").upper()
        if width <= 0 or (width < 1 and function in ("", "LINEAR")):
            return None
        return Window(center, width, FUNCTIONS.get(function, "LINEAR"))

    def _below_zero(self, frame: int) -> bool:
        modality = self._modality(frame)
        return (
            not isinstance(modality, Table)
            and modality[1] + min(modality[0] * end for end in self._form.range) < 0
        )

    def _nearest(self, frame: int, sequence: int) -> Elements:
        """The attributes that apply to a frame: from its own group, from the shared one, or from the top level."""
        for group in self._file.groups(frame)[:-1]:
            items = group.get(sequence)
            if isinstance(items, list) and items:
                return items[0]
        return self._file.data.elements

    @property
    def _byte_order(self) -> Any:
        return "<" if self._file.data.little else ">"

    def _padded(self) -> tuple[int, int] | None:
        ends = []
        for tag in (PADDING, PADDING_LIMIT):
            raw = self._file.data.elements.get(tag)
            if isinstance(raw, bytes) and len(raw) in (2, 4):
                order: Any = self._order
                ends.append(int.from_bytes(raw, order, signed=self._form.signed))
        if not ends or self._file.data.elements.get(PADDING) is None:
            return None
        return min(ends), max(ends)

    def _colours(self) -> tuple[NDArray[np.float32], float]:
        """Colours of a palette, (entries, 3), and their largest possible value."""
        elements, planes, top = self._file.data.elements, [], 8
        for descriptor, data in PALETTES:
            count, self._first, bits = read_descriptor(
                self._file, elements.get(descriptor), signed=self._form.signed
            )
            raw, top = elements.get(data, b""), max(top, bits)
            if not isinstance(raw, bytes) or len(raw) < count * (1 if bits == 8 and len(raw) < 2 * count else 2):
                raise InputError(f"{self._file.name}: its palette is not readable; convert it")
            kind = (
                np.dtype(np.uint8) if len(raw) < 2 * count else np.dtype(np.uint16).newbyteorder(self._byte_order)
            )
            planes.append(np.frombuffer(raw, kind, count).astype(np.float32))
        return np.stack(planes, axis=-1), float((1 << top) - 1)


def plane_of(colours: NDArray[Any], channel: PictureChannel) -> NDArray[np.float32]:
    """One plane of a decoded picture.

    Args:
        colours: (Y, X, 3), or (Y, X) for grey.
        channel: Channel to extract; ``grey`` of a colour picture is its luma (ITU-R BT.601).

    Returns:
        (Y, X) float32.
    """
    if colours.ndim == 2:
        return colours.astype(np.float32, copy=False)
    if channel.plane == "grey":
        return colours.astype(np.float32, copy=False) @ LUMA
    return np.ascontiguousarray(colours[..., PLANES.index(channel.plane)], np.float32)


def _floats(group: Elements, tag: int) -> list[float]:
    """The numbers of an attribute that stores them as text; empty if one of them is not finite."""
    text = text_of(group, tag, "")
    found = numbers_of(group, tag, len(text.split("\\"))) if text else None
    return list(found or ())
