"""The Modality LUT: a table from stored values to values, in place of slope and intercept (PS3.3, C.11.1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from itk_infer.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from itk_infer.volume.dicom.header import FileHeader

SEQUENCE, DESCRIPTOR, DATA = 0x00283000, 0x00283002, 0x00283006
SLOPE, INTERCEPT = 0x00281053, 0x00281052


@dataclass(frozen=True, slots=True)
class LookupTable:
    """Values by stored value.

    Attributes:
        first: Stored value that the first entry belongs to; smaller ones get that entry, larger ones the last.
        entries: Little-endian, of `itemsize` bytes each.
        itemsize: 1 or 2.
    """

    first: int
    entries: bytes
    itemsize: int

    def apply(self, stored: NDArray[Any]) -> NDArray[Any]:
        """The values of stored values."""
        import numpy as np

        table = np.frombuffer(self.entries, f"<u{self.itemsize}")
        found: NDArray[Any] = table[np.clip(stored.astype(np.int64) - self.first, 0, len(table) - 1)]
        return found


def lookup_table(file: FileHeader) -> LookupTable | None:
    """The table of a file; None: it has none.

    Raises:
        InputError: the table is damaged, or there is a slope, too.
    """
    items = file.data.elements.get(SEQUENCE)
    if not isinstance(items, list) or not items:
        return None
    where = f"{file.name}: its Modality LUT"
    if SLOPE in file.data.elements or INTERCEPT in file.data.elements:
        raise InputError(
            f"{where} stands beside a slope or intercept, and only one of them can hold; correct the header"
        )
    descriptor, data = items[0].get(DESCRIPTOR, b""), items[0].get(DATA, b"")
    order = "little" if file.data.little else "big"
    if not isinstance(descriptor, bytes) or not isinstance(data, bytes) or len(descriptor) != 6:
        raise InputError(f"{where} is damaged; export the series again")
    signed = file.integer("PixelRepresentation", 0) == 1
    count = int.from_bytes(descriptor[:2], order) or 1 << 16  # type: ignore[arg-type]
    first = int.from_bytes(descriptor[2:4], order, signed=signed)  # type: ignore[arg-type]
    if len(data) == 2 * count:
        words = data if file.data.little else b"".join(data[at : at + 2][::-1] for at in range(0, len(data), 2))
        return LookupTable(first, words, 2)
    if len(data) == count + count % 2:
        return LookupTable(first, data[:count], 1)
    raise InputError(
        f"{where} has {len(data):,} bytes where {count:,} entries of one or two bytes are announced; export the "
        "series again"
    )
