"""The first bytes of a file, unpacked if they are gzip. Loads no NumPy: a whole folder is searched with it."""

from __future__ import annotations

import stat
import zlib
from pathlib import Path

GZIP_MAGIC = b"\x1f\x8b"
MOST = 1 << 16  # bytes


def file_start(path: Path) -> bytes:
    """Up to `MOST` bytes; none where the file is not regular, or cannot be read.

    Nothing but a regular file is opened: a FIFO would block.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            return b""
        with path.open("rb") as file:
            start = file.read(MOST)
        if not start.startswith(GZIP_MAGIC):
            return start
        return zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(start, MOST)
    except (OSError, ValueError, zlib.error):
        return b""
