"""One pass over the stored bytes of an image, for their digest, their checks and the voxels."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from itk_infer.errors import InputError
from itk_infer.volume.formats.layout import Layout
from itk_infer.volume.names import printable

try:  # about twice as fast, with the same checksums verified; wheels exist for most platforms only
    from isal import isal_zlib as inflater
except ImportError:
    inflater = zlib  # type: ignore[misc]
ERRORS: tuple[type[Exception], ...] = (zlib.error, getattr(inflater, "error", zlib.error))

BLOCK = 1 << 16  # bytes; they stay in the cache while they are decoded, verified and stored
SURPLUS_LIMIT = 64 << 20  # largest number of decoded bytes beyond the header's size
GZIP_MAGIC = b"\x1f\x8b"


def stored_digest(path: Path, layout: Layout) -> str:
    """SHA-256 of the image's stored bytes: the file, then its detached data file if it has one."""
    digest = hashlib.sha256()
    for part in dict.fromkeys((path, layout.data_path)):
        for _ in _stored(part, digest):
            pass
    return digest.hexdigest()


def verified_digest(path: Path, layout: Layout, voxels: bytearray | None = None) -> str:
    """The same digest, computed while every stored voxel is checked.

    Args:
        path: The image.
        layout: Its layout.
        voxels: The decoded bytes of the voxels are appended to it. It grows with the existing data,
            because the sizes in a damaged header can be arbitrarily large. Not used if None, or if the
            encoding is ``other``.

    Raises:
        InputError: the data end early, a checksum differs, or voxels are NaN or infinite.
    """
    check_raw_length(path, layout)
    name = printable(layout.data_path.name)
    digest = hashlib.sha256()
    if layout.data_path != path:
        for _ in _stored(path, digest):
            pass
    blocks = _between(_stored(layout.data_path, digest), layout.start, layout.stop)
    if layout.encoding == "deflate":
        blocks = _inflated(blocks, layout, name)
    count = _VoxelCount(layout.dtype, layout.voxel_bytes)
    for block in _between(blocks, layout.skip, None):
        if voxels is not None and layout.encoding != "other":
            voxels += block[: max(0, layout.voxel_bytes - count.seen)]
        count.add(block)
    if layout.encoding == "other":
        return digest.hexdigest()
    if count.seen < layout.voxel_bytes or (layout.exact and count.seen > layout.voxel_bytes):
        raise InputError(
            f"{name}: holds {count.seen:,} bytes of voxels where the header announces {layout.voxel_bytes:,}; "
            "the file is truncated or damaged, copy or export it again"
        )
    if count.non_finite:
        raise InputError(
            f"{name}: holds {count.non_finite:,} voxels that are NaN or infinite; replace them with real values"
        )
    return digest.hexdigest()


def check_raw_length(path: Path, layout: Layout) -> None:
    """Raise InputError if a file is shorter than its header states; the data are not read."""
    if layout.encoding == "other":
        return
    stored = layout.data_path.stat().st_size - layout.start
    needed = layout.voxel_bytes if layout.encoding == "raw" else (layout.stop or 0) - layout.start
    if stored < needed:
        header = "its header" if layout.data_path == path else f"the header {printable(path.name)}"
        raise InputError(
            f"{printable(layout.data_path.name)}: holds {max(0, stored):,} bytes of voxels where {header} "
            f"announces {needed:,}; the file is truncated, copy or export it again"
        )


def _stored(path: Path, digest: hashlib._Hash) -> Iterator[memoryview]:
    """The file in blocks; each updates the digest."""
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
            yield memoryview(block)


def _between(blocks: Iterator[memoryview], start: int, stop: int | None) -> Iterator[memoryview]:
    """The bytes from `start` to `stop` of a stream; others are discarded."""
    position = 0
    for block in blocks:
        end = len(block) if stop is None else max(0, stop - position)
        if part := block[max(0, start - position) : end]:
            yield part
        position += len(block)


def _inflated(blocks: Iterator[memoryview], layout: Layout, name: str) -> Iterator[memoryview]:
    """Decompress a zlib stream or the members of a gzip stream; bytes after the stream are ignored.

    Args:
        blocks: The compressed bytes.
        layout: States the decoded size; a stream that is much larger is refused.
        name: Name of the file in messages.
    """
    announced = layout.skip + layout.voxel_bytes
    stream, pending, decoded, ended = inflater.decompressobj(zlib.MAX_WBITS | 32), b"", 0, False
    for block in blocks:
        pending += block
        full = False  # the last part had the maximum size, so the stream may hold more decoded bytes
        while (pending or full) and not ended:
            if stream.eof:
                if len(pending) < len(GZIP_MAGIC):
                    break
                if ended := layout.exact or not pending.startswith(GZIP_MAGIC):
                    break
                stream = inflater.decompressobj(zlib.MAX_WBITS | 32)
            part = _inflate(stream, pending, name)
            pending = stream.unused_data if stream.eof else stream.unconsumed_tail
            full = len(part) == BLOCK and not stream.eof
            decoded += len(part)
            if decoded > announced + SURPLUS_LIMIT:
                raise InputError(
                    f"{name}: unpacks to far more than the {announced:,} bytes its header announces; "
                    "the header or the file is damaged, export it again"
                )
            yield memoryview(part)
        if ended:
            pending = b""
    if not stream.eof:
        raise InputError(
            f"{name}: the compressed data end too early; the file is truncated, copy or export it again"
        )


def _inflate(stream: Any, packed: bytes, name: str) -> bytes:
    try:
        part: bytes = stream.decompress(packed, BLOCK)
    except ERRORS as error:
        raise InputError(
            f"{name}: the compressed data are damaged ({_reason(error)}); copy or export it again"
        ) from error
    return part


def _reason(error: Exception) -> str:
    """The library's message without its error numbers."""
    return str(error).rpartition(": ")[2].removeprefix("Error ").lstrip("-0123456789 ").lower()


class _VoxelCount:
    """Counts bytes of voxels, and voxels that are NaN or infinite.

    Attributes:
        seen: Bytes so far, including those after the last voxel.
        non_finite: Voxels that are NaN or infinite.
    """

    def __init__(self, dtype: np.dtype[Any], voxel_bytes: int) -> None:
        self.seen = 0
        self.non_finite = 0
        self._dtype = dtype
        self._voxel_bytes = voxel_bytes
        self._rest = b""

    def add(self, block: memoryview) -> None:
        left = max(0, self._voxel_bytes - self.seen)
        self.seen += len(block)
        if self._dtype.kind != "f":
            return
        data = self._rest + block[:left]
        whole = len(data) - len(data) % self._dtype.itemsize
        values = np.frombuffer(data, self._dtype, whole // self._dtype.itemsize)
        self.non_finite += values.size - int(np.count_nonzero(np.isfinite(values)))
        self._rest = data[whole:]
