"""Checks of compressed frames before decoding: their stated size, and their end marker.

Decoders accept truncated streams and fill the rest arbitrarily, and they allocate the size that a stream states.
"""

from __future__ import annotations

from itk_infer.volume.dicom.elements import Damaged

# JPEG, JPEG-LS: ISO 10918-1 table B.1 and ISO 14495-1 table C.1. Frame headers carry height and width.
FRAME_HEADERS = frozenset((*range(0xC0, 0xD0), 0xF7)) - {0xC4, 0xC8, 0xCC}
WITHOUT_LENGTH = frozenset((*range(0xD0, 0xD9), 0x01))


def check_jpeg(stream: bytes, rows: int, columns: int, samples: int = 1) -> int:
    """Check a JPEG or JPEG-LS stream.

    Returns:
        Bits per sample.

    Raises:
        Damaged: it is truncated, or its size is not the expected one.
    """
    if stream[:2] != b"\xff\xd8":
        raise Damaged("its compressed pixels do not begin as JPEG does")
    _check_end(stream)
    at = 2
    while at + 9 < len(stream):
        if stream[at] != 0xFF:
            break
        marker = stream[at + 1]
        if marker == 0xFF:
            at += 1
            continue
        if marker in WITHOUT_LENGTH:
            at += 2
            continue
        if marker in FRAME_HEADERS:
            height = int.from_bytes(stream[at + 5 : at + 7], "big")
            width = int.from_bytes(stream[at + 7 : at + 9], "big")
            if (height, width) != (rows, columns) or stream[at + 9] != samples:
                raise Damaged("its compressed pixels have another size than its header says")
            return stream[at + 4]
        at += 2 + int.from_bytes(stream[at + 2 : at + 4], "big")
    raise Damaged("its compressed pixels have no frame header")


def check_jpeg_2000(stream: bytes, rows: int, columns: int, samples: int = 1) -> None:
    """Check a JPEG 2000 codestream, or a JP2 file around one (ISO 15444-1, annex A.5.1).

    Raises:
        Damaged: it is truncated, or its size is not the expected one.
    """
    start = 0 if stream[:4] == b"\xff\x4f\xff\x51" else stream.find(b"\xff\x4f\xff\x51", 0, 4096)
    if start < 0 or len(stream) < start + 50:
        raise Damaged("its compressed pixels do not begin as JPEG 2000 does")
    _check_end(stream)
    sizes = [int.from_bytes(stream[start + at : start + at + 4], "big") for at in range(8, 40, 4)]
    width, height, left, top, tile_width, tile_height = sizes[:6]
    components = int.from_bytes(stream[start + 40 : start + 42], "big")
    if (height - top, width - left) != (rows, columns) or components != samples:
        raise Damaged("its compressed pixels have another size than its header says")
    if not tile_width or not tile_height or rows * columns > 65535 * tile_width * tile_height:
        raise Damaged("its compressed pixels are divided into more tiles than there can be")


def check_rle(stream: bytes, bytes_per_pixel: int) -> None:
    """Check the segments of an RLE frame (PS3.5, annex G).

    Raises:
        Damaged: they lie outside of the frame, or their number is not that of the bytes per pixel.
    """
    words = [int.from_bytes(stream[at : at + 4], "little") for at in range(0, 64, 4)]
    count, offsets = words[0], words[1 : 1 + bytes_per_pixel]
    if len(stream) < 64 or count != bytes_per_pixel:
        raise Damaged("its RLE segments are not as many as a pixel has bytes")
    if offsets[0] != 64 or offsets != sorted(set(offsets)) or offsets[-1] >= len(stream):
        raise Damaged("its RLE data are cut short")


def _check_end(stream: bytes) -> None:
    if not stream.rstrip(b"\0").endswith(b"\xff\xd9"):
        raise Damaged("its compressed pixels are cut short: the end marker is missing")
