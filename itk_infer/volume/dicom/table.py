"""Look-up tables: Modality LUT and VOI LUT (PS3.3, C.11.1 and C.11.2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from itk_infer.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from itk_infer.volume.dicom.elements import Elements
    from itk_infer.volume.dicom.header import FileHeader

MODALITY_TABLES, DESCRIPTOR, DATA = 0x00283000, 0x00283002, 0x00283006
SLOPE, INTERCEPT = 0x00281053, 0x00281052


@dataclass(frozen=True, slots=True)
class Table:
    """A look-up table; values below its range get the first entry, values above it the last.

    Attributes:
        first: Input value of the first entry.
        bits: Bits per entry.
        entries: Entries as 16-bit unsigned integers, in native byte order.
    """

    first: int
    bits: int
    entries: bytes

    def __call__(self, values: NDArray[Any]) -> NDArray[np.uint16]:
        """Map values to entries."""
        table = np.frombuffer(self.entries, np.uint16)
        return table[np.clip(values.astype(np.int64) - self.first, 0, len(table) - 1)]

    @property
    def top(self) -> int:
        """Largest value of an entry of so many bits; `bits` is corrected, as some manufacturers state too few."""
        largest = int(np.frombuffer(self.entries, np.uint16).max())
        return (1 << max(self.bits, largest.bit_length())) - 1

    @property
    def itemsize(self) -> int:
        """Bytes needed per entry: 1 or 2."""
        return 1 if self.top < 256 else 2


def read_table(file: FileHeader, item: Elements, *, signed: bool) -> Table:
    """Read the table in an item of a sequence.

    Args:
        file: The file of the table.
        item: Item with the descriptor and the entries.
        signed: Whether input values may be negative.

    Raises:
        InputError: the table is damaged.
    """
    count, first, bits = read_descriptor(file, item.get(DESCRIPTOR), signed=signed)
    data, order = item.get(DATA, b""), "<" if file.data.little else ">"
    if not isinstance(data, bytes):
        raise InputError(f"{file.name}: a table of its values is damaged; export it again")
    if len(data) == 2 * count:
        return Table(first, bits, np.frombuffer(data, f"{order}u2").astype(np.uint16).tobytes())
    if len(data) == count + count % 2:
        return Table(first, bits, np.frombuffer(data[:count], np.uint8).astype(np.uint16).tobytes())
    raise InputError(
        f"{file.name}: a table of its values has {len(data):,} bytes where {count:,} entries of one or two bytes "
        "are announced; export it again"
    )


def read_descriptor(file: FileHeader, raw: object, *, signed: bool) -> tuple[int, int, int]:
    """Number of entries, input value of the first entry, and bits per entry.

    Args:
        file: The file of the table.
        raw: Bytes of the descriptor.
        signed: Whether the first input value may be negative.

    Raises:
        InputError: the descriptor is not three 16-bit numbers.
    """
    if not isinstance(raw, bytes) or len(raw) != 6:
        raise InputError(f"{file.name}: a table of its values is damaged; export it again")
    count, first, bits = np.frombuffer(raw, "<u2" if file.data.little else ">u2").tolist()
    return count or 1 << 16, first - (1 << 16) if signed and first >= 1 << 15 else first, bits


def modality_table(file: FileHeader) -> Table | None:
    """The Modality LUT of a file, which replaces slope and intercept; None if it has none.

    Raises:
        InputError: the table is damaged, or there is a slope, too.
    """
    items = file.data.elements.get(MODALITY_TABLES)
    if not isinstance(items, list) or not items:
        return None
    if SLOPE in file.data.elements or INTERCEPT in file.data.elements:
        raise InputError(
            f"{file.name}: its Modality LUT stands beside a slope or intercept, and only one of them can hold; "
            "correct the header"
        )
    return read_table(file, items[0], signed=file.integer("PixelRepresentation", 0) == 1)
