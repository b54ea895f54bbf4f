"""A limit for the number of operations in a pickle: a small crafted one can take hours and all memory."""

from __future__ import annotations

from io import BytesIO
from typing import IO

MAX_OPERATIONS = 2_000_000  # a tensor takes about 30, with its names


class TooLong(Exception):
    """A pickle has more than `MAX_OPERATIONS` operations; the message is the end of a sentence."""

    def __init__(self) -> None:
        super().__init__(f"it has more than {MAX_OPERATIONS:,} operations, and weights need about 30 per tensor")


class CountedBytes(BytesIO):
    """A pickle in memory, for an unpickler that reads each operation's code as one byte.

    Raises:
        TooLong: in `read`, once there were too many.
    """

    def __init__(self, content: bytes) -> None:
        super().__init__(content)
        self._left = MAX_OPERATIONS

    def read(self, size: int | None = -1, /) -> bytes:
        """Read bytes, see `BytesIO.read`."""
        if size == 1:
            self._left -= 1
            if self._left < 0:
                raise TooLong
        return super().read(size)


def refuse_long(file: IO[bytes], pickles: int = 1) -> None:
    """Count the operations of pickles that another library will read; damaged ones are left to it.

    Args:
        file: The pickles, one after the other, from its position on.
        pickles: Number of pickles.

    Raises:
        TooLong: there are too many.
    """
    import pickletools

    count = 0
    try:
        for _ in range(pickles):
            for _ in pickletools.genops(file):
                count += 1
                if count > MAX_OPERATIONS:
                    raise TooLong
    except (ValueError, IndexError, OverflowError):
        return
