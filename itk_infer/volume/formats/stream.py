"""One pass over the stored bytes: their digest, their checks, and the voxels."""

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

try:  # about twice as fast, and it checks the same checksums; there are no wheels for every platform
    from isal import isal_zlib as inflater
except ImportError:
    inflater = zlib  # type: ignore[misc]
ERRORS: tuple[type[Exception], ...] = (zlib.error, getattr(inflater, "error", zlib.error))

BLOCK = 4 << 20
SURPLUS_LIMIT = 64 << 20  # decoded bytes beyond what the header announces
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
        voxels: Takes the decoded bytes of the voxels; it grows with what is really there, because a damaged
            header can announce anything. None, and always where the encoding is ``other``: they are not kept.

    Raises:
        InputError: the data end early, a checksum does not fit, or voxels are NaN or infinite.
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
    """Refuse, without reading it, a file too short for the voxels it should hold uncompressed."""
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
    """The file in blocks, each of them digested."""
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
            yield memoryview(block)


def _between(blocks: Iterator[memoryview], start: int, stop: int | None) -> Iterator[memoryview]:
    """The bytes from `start` to `stop` of a stream; what surrounds them is read all the same."""
    position = 0
    for block in blocks:
        end = len(block) if stop is None else max(0, stop - position)
        if part := block[max(0, start - position) : end]:
            yield part
        position += len(block)


def _inflated(blocks: Iterator[memoryview], layout: Layout, name: str) -> Iterator[memoryview]:
    """A zlib stream, or the members of a gzip stream, decoded; whatever follows it is ignored.

    Args:
        blocks: The packed bytes.
        layout: Says how much to expect; a stream of very much more is refused.
        name: What messages call the file.
    """
    announced = layout.skip + layout.voxel_bytes
    stream, pending, decoded, ended = inflater.decompressobj(zlib.MAX_WBITS | 32), b"", 0, False
    for block in blocks:
        pending += block
        full = False  # the last part was as long as it may be, and more may wait inside the stream
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
    """What the library said, without its numbers."""
    return str(error).rpartition(": ")[2].removeprefix("Error ").lstrip("-0123456789 ").lower()


class _VoxelCount:
    """Counts the bytes of voxels that pass, and the voxels that are no number.

    Attributes:
        seen: Bytes so far, those after the last voxel included.
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
