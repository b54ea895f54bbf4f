"""Read a zip file that torch.save wrote, without torch: tensors become NumPy arrays over the mapped file."""

from __future__ import annotations

import mmap
import re
import struct
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from itk_infer.files.zip_archive import ZipArchive
from itk_infer.model.kinds.torch_pickle import StorageId, read_pickle

_LOCAL_HEADER = struct.Struct("<4s22xHH")  # signature, lengths of name and extra field
_LARGEST_PICKLE = 1 << 30
# Types of values by the names of storages; bfloat16, which NumPy lacks, is widened.
_TYPES = {
    **{f"{name}Storage": np.dtype(kind) for name, kind in (("Double", "f8"), ("Float", "f4"), ("Half", "f2"))},
    **{f"{name}Storage": np.dtype(kind) for name, kind in (("Long", "i8"), ("Int", "i4"), ("Short", "i2"))},
    **{f"{name}Storage": np.dtype(kind) for name, kind in (("Char", "i1"), ("Byte", "u1"), ("Bool", "?"))},
    "BFloat16Storage": np.dtype("u2"),
}
_TENSOR = "torch._utils._rebuild_tensor_v2"
_PARAMETER = "torch._utils._rebuild_parameter"
# Types, settings, and tensors of kinds that no network has; an object of them is replaced by one without effect.
_OF_TORCH = re.compile(
    r"torch\.(device|Size|Tensor|q?u?int\d+|float\d\w*|bfloat16|complex\d+|bool|\w+Storage|storage\.\w+Storage)"
    r"|torch\.nn\.parameter\.Parameter|torch\.serialization\._get_layout|torch\._utils\._rebuild_\w+"
    r"|torch\._tensor\._rebuild_from_type_v2|builtins\.(bytearray|complex)"
)


class Damaged(Exception):
    """The file is damaged; the message says how."""


@dataclass(frozen=True, slots=True)
class TorchZip:
    """The content of a file.

    Attributes:
        content: What was saved, with arrays in place of tensors.
        release: Returns resident pages of the file to the system; arrays stay valid, and are read again when used.
    """

    content: Any
    release: Callable[[], None]


def is_torch_zip(path: Path) -> bool:
    """Whether a file begins as a zip file does; one that was cut short does, too."""
    with path.open("rb") as file:
        return file.read(4) == b"PK\x03\x04"


def read_torch_zip(path: Path, ignored: Callable[[str], bool]) -> TorchZip:
    """Read a file. Nothing in it is run; storages are not read before their arrays are used.

    Args:
        path: The file. It must not be written while its arrays are used.
        ignored: See `read_pickle`.

    Raises:
        Refused: the file names something that weights do not need.
        Exception: the file is damaged: `Damaged`, or an error of `zipfile` or `pickle`.
    """
    with ZipArchive(path) as archive, path.open("rb") as file:
        root = _root(archive)
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
        places = _places(archive, mapped)
        order = archive.read(f"{root}/byteorder").decode() if f"{root}/byteorder" in places else "little"
        if archive.getinfo(f"{root}/data.pkl").file_size > _LARGEST_PICKLE:
            raise Damaged("data.pkl is larger than 1 GiB")
        pickled = archive.read(f"{root}/data.pkl")
    tensors = _Tensors(mapped, {name.removeprefix(f"{root}/data/"): at for name, at in places.items()}, order)
    makers = {_TENSOR: tensors.tensor, _PARAMETER: lambda tensor, *_: tensor}
    content = read_pickle(pickled, makers, lambda name: ignored(name) or _OF_TORCH.fullmatch(name) is not None)
    return TorchZip(content, lambda: _release(mapped))


def _root(archive: zipfile.ZipFile) -> str:
    """The only folder of the archive."""
    roots = [name[: -len("/data.pkl")] for name in archive.namelist() if name.endswith("/data.pkl")]
    if len(roots) != 1:
        raise Damaged("it has no data.pkl" if not roots else "it has several data.pkl")
    return roots[0]


def _places(archive: zipfile.ZipFile, mapped: mmap.mmap) -> dict[str, tuple[int, int]]:
    """First byte and number of bytes of each member, which must lie apart, in the file, and not be compressed."""
    found: dict[str, tuple[int, int]] = {}
    end = 0
    for entry in sorted(archive.infolist(), key=lambda entry: entry.header_offset):
        if entry.filename in found:
            raise Damaged(f"it has {entry.filename} twice")
        if entry.header_offset < end:
            raise Damaged(f"{entry.filename} overlaps another member")
        signature, name, extra = _LOCAL_HEADER.unpack_from(mapped, entry.header_offset)
        start = entry.header_offset + _LOCAL_HEADER.size + name + extra
        end = start + entry.file_size
        if signature != b"PK\x03\x04" or end > archive.start_dir:
            raise Damaged(f"{entry.filename} is not where the archive's directory says")
        found[entry.filename] = start, entry.file_size
    return found


class _Tensors:
    """Makes arrays over the mapped file."""

    def __init__(self, mapped: mmap.mmap, places: dict[str, tuple[int, int]], order: str) -> None:
        self._mapped, self._places, self._swapped = mapped, places, order != sys.byteorder
        self._storages: dict[StorageId, NDArray[Any]] = {}

    def tensor(self, storage: StorageId, offset: int, size: Any, stride: Any, *_: Any) -> NDArray[Any]:
        """A tensor: a view of its storage; offset and strides are numbers of values."""
        numbers = (offset, *size, *stride)
        if any(type(number) is not int or number < 0 for number in numbers) or len(size) != len(stride):
            raise Damaged("a tensor has a size that is none")
        values = self._storage(storage)
        if prod(size) and offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True)) >= len(
            values
        ):
            raise Damaged(f"a tensor reaches beyond its storage {storage.key}")
        steps = tuple(step * values.itemsize for step in stride)
        return np.lib.stride_tricks.as_strided(values[offset:] if prod(size) else values[:0], tuple(size), steps)

    def _storage(self, storage: StorageId) -> NDArray[Any]:
        if storage not in self._storages:
            self._storages[storage] = self._read(storage)
        return self._storages[storage]

    def _read(self, storage: StorageId) -> NDArray[Any]:
        name = storage.type_name.rpartition(".")[2]
        if name not in _TYPES:
            raise Damaged(f"{storage.type_name} is not read")
        start, size = self._places.get(storage.key, (0, -1))
        if storage.count < 0 or storage.count * _TYPES[name].itemsize > size:
            raise Damaged(f"storage {storage.key} is smaller than it should be, or missing")
        values = np.frombuffer(self._mapped, _TYPES[name], storage.count, start)
        values = values.byteswap() if self._swapped else values
        if name == "BFloat16Storage":
            return (values.astype(np.uint32) << 16).view(np.float32)
        return values


def _release(mapped: mmap.mmap) -> None:
    if hasattr(mapped, "madvise"):  # not on Windows
        mapped.madvise(mmap.MADV_DONTNEED)
