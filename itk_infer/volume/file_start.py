"""The first bytes of a file, decompressed if they are gzip. Imports no NumPy: searching a folder uses it."""

from __future__ import annotations

import stat
import zlib
from pathlib import Path

GZIP_MAGIC = b"\x1f\x8b"
MAX_BYTES = 1 << 16


def file_start(path: Path) -> bytes:
    """Up to `MAX_BYTES` decompressed bytes; empty if the file is not regular or cannot be read.

    Only regular files are opened: a FIFO would block.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            return b""
        with path.open("rb") as file:
            start = file.read(MAX_BYTES)
        if not start.startswith(GZIP_MAGIC):
            return start
        return zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(start, MAX_BYTES)
    except (OSError, ValueError, zlib.error):
        return b""
