"""Decoding of stored values of frames: one decoder per transfer syntax.

Uncompressed and deflated pixels need no library. imagecodecs decodes the others; it releases the GIL, so threads
decode in parallel, and it rejects damaged streams that other decoders accept.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from itk_infer.errors import InputError
from itk_infer.volume.dicom import codestream
from itk_infer.volume.dicom.elements import BIG_ENDIAN, DEFLATED, EXPLICIT, IMPLICIT, PIXEL_DATA, Damaged
from itk_infer.volume.dicom.header import FileHeader

RLE = "1.2.840.10008.1.2.5"
NATIVE = frozenset((IMPLICIT, EXPLICIT, DEFLATED, BIG_ENDIAN))
JPEG_8, JPEG_12 = "1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51"
LOSSLESS, LOSSLESS_FIRST_ORDER = "1.2.840.10008.1.2.4.57", "1.2.840.10008.1.2.4.70"
JPEG_LS, JPEG_LS_LOSSY = "1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.81"
JPEG_2000_LOSSLESS, JPEG_2000 = "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.91"
HTJ2K_LOSSLESS, HTJ2K_RPCL, HTJ2K = (f"1.2.840.10008.1.2.4.{end}" for end in (201, 202, 203))
# OpenJPEG also decodes HTJ2K; imagecodecs' separate HTJ2K decoder returns partial data for damaged streams.
DECODERS = {  # functions of imagecodecs
    RLE: "dicomrle_decode",
    JPEG_8: "jpeg8_decode",
    JPEG_12: "jpeg8_decode",
    LOSSLESS: "jpegsof3_decode",
    LOSSLESS_FIRST_ORDER: "jpegsof3_decode",
    JPEG_LS: "jpegls_decode",
    JPEG_LS_LOSSY: "jpegls_decode",
    JPEG_2000_LOSSLESS: "jpeg2k_decode",
    JPEG_2000: "jpeg2k_decode",
    HTJ2K_LOSSLESS: "jpeg2k_decode",
    HTJ2K_RPCL: "jpeg2k_decode",
    HTJ2K: "jpeg2k_decode",
}
CONVERTED = frozenset(  # the decoder converts to RGB
    (JPEG_8, JPEG_12, JPEG_2000_LOSSLESS, JPEG_2000, HTJ2K_LOSSLESS, HTJ2K_RPCL, HTJ2K)
)
LOSSY = frozenset((JPEG_8, JPEG_12, JPEG_LS_LOSSY, JPEG_2000, HTJ2K))
COLOURS = frozenset(
    ((1, "PALETTE COLOR"), *((3, f"YBR_{kind}") for kind in ("FULL", "FULL_422", "ICT", "RCT")), (3, "RGB"))
)
ITEM, SEQUENCE_END = b"\xfe\xff\x00\xe0", b"\xfe\xff\xdd\xe0"


@dataclass(frozen=True, slots=True)
class PixelForm:
    """The storage form of a file's pixels.

    Attributes:
        rows: Rows of a frame.
        columns: Columns of a frame.
        allocated: Bits per pixel in the file, 8, 16 or 32.
        stored: Number of these bits that hold the value.
        high: Highest of these bits.
        signed: Whether values are in two's complement.
        frames: Number of frames.
        samples: Samples per pixel: 1, or 3 in colour.
        planar: Whether the samples are stored as separate planes.
        rgb: Whether colours are stored as RGB; otherwise as YBR.
    """

    rows: int
    columns: int
    allocated: int
    stored: int
    high: int
    signed: bool
    frames: int
    samples: int = 1
    planar: bool = False
    rgb: bool = True

    @property
    def frame_bytes(self) -> int:
        """Size of a decoded frame in bytes."""
        return self.rows * self.columns * self.samples * self.allocated // 8

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of a decoded frame: (Y, X), or (Y, X, 3) in colour."""
        return (self.rows, self.columns) if self.samples == 1 else (self.rows, self.columns, self.samples)

    @property
    def range(self) -> tuple[int, int]:
        """Smallest and largest value that can be stored."""
        top = 1 << (self.stored - self.signed)
        return (-top if self.signed else 0), top - 1


def pixel_form(file: FileHeader) -> PixelForm:
    """The storage form of grey pixels, from the file's header.

    Raises:
        InputError: there are no pixels, they are truncated, or their form is not supported.
    """
    name = file.name
    _check_integers(file)
    if file.integer("SamplesPerPixel", 1) != 1 or not file.text("PhotometricInterpretation").startswith(
        "MONOCHROME"
    ):
        raise InputError(f"{name}: its pixels are colours, not one number each; give another series")
    return picture_form(file)


def picture_form(file: FileHeader) -> PixelForm:
    """As `pixel_form`, but also for colours.

    Raises:
        InputError: as for `pixel_form`.
    """
    name = file.name
    _check_integers(file)
    samples, kind = file.integer("SamplesPerPixel", 1), file.text("PhotometricInterpretation")
    if (samples, kind) not in COLOURS and not (samples == 1 and kind.startswith("MONOCHROME")):
        raise InputError(f"{name}: its pixels have {samples} samples of a kind that is not read; convert it")
    if kind == "YBR_FULL_422" and file.data.syntax in NATIVE:
        raise InputError(f"{name}: its colours are stored at half the resolution without compression; convert it")
    allocated = file.integer("BitsAllocated")
    stored = file.integer("BitsStored", allocated)
    high = file.integer("HighBit", stored - 1)
    form = PixelForm(
        file.integer("Rows"),
        file.integer("Columns"),
        allocated,
        stored,
        high,
        file.integer("PixelRepresentation", 0) == 1,
        file.frames,
        samples,
        samples > 1 and file.integer("PlanarConfiguration", 0) == 1,
        not kind.startswith("YBR"),
    )
    if allocated not in (8, 16, 32) or not 0 < stored <= high + 1 <= allocated:
        raise InputError(
            f"{name}: stores {stored} of {allocated} bits up to bit {high}; 8, 16 or 32 bits are read, export the "
            "series again"
        )
    if min(form.rows, form.columns) < 1:
        raise InputError(f"{name}: has {form.rows} rows and {form.columns} columns; export the series again")
    _check_length(file, form)
    return form


def _check_integers(file: FileHeader) -> None:
    if file.pixels is None:
        raise InputError(f"{file.name}: has no pixels; send the series again")
    if file.pixels.tag != PIXEL_DATA:
        raise InputError(
            f"{file.name}: its pixels are floating point numbers, which are not read; convert the series"
        )


def _check_length(file: FileHeader, form: PixelForm) -> None:
    """Compare the number of bytes in the file with the header, before memory is allocated."""
    syntax, pixels = file.data.syntax, file.pixels
    if syntax in NATIVE and pixels is not None:
        needed = form.frame_bytes * form.frames
        there = (file.data.inflated_bytes if syntax == DEFLATED else file.size) - pixels.start
        announced = needed if pixels.length is None else pixels.length
        if min(there, announced) < needed:
            raise InputError(
                f"{file.name}: is cut short: {max(0, min(there, announced)):,} bytes of pixels where its header "
                f"announces {needed:,}; copy or send it again"
            )
    elif syntax not in DECODERS and syntax not in NATIVE:
        shown = syntax if len(syntax) <= 64 and syntax.replace(".", "").isdigit() else "of an unknown kind"
        raise InputError(
            f"{file.name}: its pixels are compressed by the transfer syntax {shown}, which is not read; export "
            "the series uncompressed"
        )


def check_decoder(file: FileHeader) -> None:
    """Check that the decoder of a file's pixels is installed.

    Raises:
        InputError: it is not installed.
    """
    if file.data.syntax in NATIVE:
        return
    try:
        import_module("imagecodecs")
    except ImportError:
        raise InputError(
            f"{file.name}: its pixels are compressed, and the decoders are not installed; "
            "pip install 'itk_infer[dicom]'"
        ) from None


def stored_frames(file: FileHeader, form: PixelForm, data: memoryview) -> Callable[[int], NDArray[Any]]:
    """Make a function that decodes one frame of a file; it may be called in any thread.

    Args:
        file: Header of the file.
        form: Form of its pixels.
        data: All bytes of the file.

    Returns:
        The function takes a frame number, from 0, and returns stored values (Y, X), or RGB values (Y, X, 3) in
        colour; it raises Damaged.

    Raises:
        Damaged: the pixels are damaged.
    """
    pixels = file.pixels
    if pixels is None:
        raise Damaged("has no pixels")
    if file.data.syntax in NATIVE:
        source: Any = file.data.inflated if file.data.inflated is not None else data

        def native(index: int) -> NDArray[Any]:
            order = "<" if file.data.little else ">"
            kind = np.dtype(f"{order}{'i' if form.signed else 'u'}{form.allocated // 8}")
            start = pixels.start + index * form.frame_bytes
            values = np.frombuffer(source, kind, form.rows * form.columns * form.samples, start)
            return _coloured(_significant(_in_pixels(values, form, form.planar), form), form)

        return native
    streams = list(_streams(bytes(data), pixels.start, form.frames))

    def compressed(index: int) -> NDArray[Any]:
        syntax = file.data.syntax
        values = _significant(_decoded(streams[index], syntax, form), form)
        return values if syntax in CONVERTED else _coloured(values, form)

    return compressed


def _decoded(stream: bytes, syntax: str, form: PixelForm) -> NDArray[Any]:
    codecs = sys.modules.get("imagecodecs") or import_module("imagecodecs")
    kind = np.dtype(f"{'i' if form.signed else 'u'}{form.allocated // 8}")
    decode = getattr(codecs, DECODERS[syntax])
    try:
        if syntax == RLE:
            codestream.check_rle(stream, kind.itemsize * form.samples)
            planes = decode(stream, kind.newbyteorder("<"))
            found = np.frombuffer(planes, kind.newbyteorder("<"))
            if found.size != form.rows * form.columns * form.samples:
                raise Damaged("its RLE data are cut short")
            return _in_pixels(found, form, planar=True)
        if DECODERS[syntax] == "jpeg2k_decode":
            codestream.check_jpeg_2000(stream, form.rows, form.columns, form.samples)
        else:
            codestream.check_jpeg(stream, form.rows, form.columns, form.samples)
        if form.samples > 1 and syntax in (JPEG_8, JPEG_12):  # the decoder would guess the colour space
            found = decode(stream, colorspace="RGB" if form.rgb else "YCBCR", outcolorspace="RGB")
        else:
            found = decode(stream)
    except Damaged:
        raise
    except Exception as error:  # decoders raise different classes of errors
        raise Damaged(f"its compressed pixels are damaged ({type(error).__name__})") from None
    if found.shape != form.shape or found.dtype.kind not in "iu" or found.itemsize > kind.itemsize:
        raise Damaged("its compressed pixels have another size or type than its header says")
    if found.dtype == kind:
        return found  # type: ignore[no-any-return]
    return found.view(kind) if found.itemsize == kind.itemsize else found.astype(kind)  # type: ignore[no-any-return]


def _in_pixels(values: NDArray[Any], form: PixelForm, planar: bool) -> NDArray[Any]:
    """Decoded samples, reshaped to a frame."""
    if form.samples > 1 and planar:
        return np.moveaxis(values.reshape(form.samples, form.rows, form.columns), 0, -1)
    return values.reshape(form.shape)


def _coloured(values: NDArray[Any], form: PixelForm) -> NDArray[Any]:
    """RGB from YBR (PS3.3, C.7.6.3.1.2); other values unchanged."""
    if form.samples == 1 or form.rgb:
        return values
    middle, top = float(1 << (form.stored - 1)), float((1 << form.stored) - 1)
    luma, blue, red = (values[..., k].astype(np.float32) for k in range(3))
    blue, red = blue - middle, red - middle
    planes = (luma + 1.402 * red, luma - 0.344136 * blue - 0.714136 * red, luma + 1.772 * blue)
    return np.stack([np.rint(np.clip(plane, 0.0, top)) for plane in planes], axis=-1).astype(values.dtype)


def _significant(values: NDArray[Any], form: PixelForm) -> NDArray[Any]:
    """Stored values without unused bits, which may hold an overlay; the same array where these say nothing."""
    if form.stored == form.allocated:
        return values
    values = values.astype(values.dtype.newbyteorder("="), copy=False)
    if form.high == form.stored - 1 and values.size:
        first, last = form.range
        if values.max() <= last and (not form.signed or values.min() >= first):
            return values
    if not form.signed:
        low = form.high + 1 - form.stored
        lowest: NDArray[Any] = values >> low if low else values
        kept: NDArray[Any] = lowest & values.dtype.type((1 << form.stored) - 1)
        return kept
    above = form.allocated - 1 - form.high
    return (values << above) >> (form.allocated - form.stored)


def _streams(data: bytes, start: int, frames: int) -> Iterator[bytes]:
    """Yield the compressed stream of each frame (PS3.5, annex A.4)."""
    items: list[tuple[int, bytes]] = []
    at, first = start, None
    while True:
        head, length = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        if head == SEQUENCE_END:
            break
        if head != ITEM or at + 8 + length > len(data):
            raise Damaged("its compressed pixels are cut short")
        value = data[at + 8 : at + 8 + length]
        if first is None:
            first = value  # the basic offset table
            base = at + 8 + length
        else:
            items.append((at - base, value))
        at += 8 + length
    if frames == 1:
        yield b"".join(value for _, value in items)
    elif len(items) == frames:
        yield from (value for _, value in items)
    else:
        offsets = [int.from_bytes((first or b"")[at : at + 4], "little") for at in range(0, len(first or b""), 4)]
        if len(offsets) != frames or offsets != sorted(offsets):
            raise Damaged("its compressed pixels cannot be divided into its frames")
        for begin, end in zip(offsets, [*offsets[1:], 1 << 62], strict=True):
            yield b"".join(value for place, value in items if begin <= place < end)
