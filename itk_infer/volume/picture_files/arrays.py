"""NumPy files: ``.npy``, and ``.npz`` with one array. Pickles in them are never loaded."""

from __future__ import annotations

import io
import math
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

import numpy as np

from itk_infer.errors import InputError
from itk_infer.volume.names import printable
from itk_infer.volume.picture_files.stored import Stored, StoredHeader, checked

COLOURS = (1, 3, 4)  # axis lengths that are interpreted as channels
ZIP = b"PK"


def read_header(file: IO[bytes]) -> StoredHeader:
    """Size and type, from the header only.

    Raises:
        InputError: the header is damaged or not supported.
    """
    with _errors(), _array(file) as inside:
        return _header(*_shape(inside))


def decode(data: bytes) -> Stored:
    """Decode a file.

    Raises:
        InputError: it is damaged, or does not hold exactly one picture.
    """
    with _errors(), _array(io.BytesIO(data)) as inside:
        shape, dtype = _shape(inside)
        header = _header(shape, dtype)
        pixels = inside.read(math.prod(shape) * dtype.itemsize + 1)
    if len(pixels) != math.prod(shape) * dtype.itemsize:
        raise InputError(
            f"holds {len(pixels):,} bytes where its header announces {math.prod(shape) * dtype.itemsize:,}; "
            "copy or save it again"
        )
    with _errors(), _array(io.BytesIO(data)) as inside:
        array = np.lib.format.read_array(inside, allow_pickle=False)
    axes = _axes(shape)
    order = [axes.index(axis) for axis in "zyxc" if axis in axes]
    pages = array.transpose(order).reshape(header.pages, header.height, header.width, header.channels)
    notes = [f"its {header.pages} pages are taken as planes along Z"] if header.pages > 1 else []
    if axes == "cyx" and shape[-1] in COLOURS:
        notes.append("its first axis is taken for its channels, and the last could be")
    return Stored(np.ascontiguousarray(pages, header.dtype), tuple(notes))


@contextmanager
def _array(file: IO[bytes]) -> Iterator[IO[bytes]]:
    """The ``.npy`` stream of a file, at its beginning."""
    start = file.read(2)
    file.seek(0)
    if start != ZIP:
        yield file
        return
    with zipfile.ZipFile(file) as packed:
        names = packed.namelist()
        if len(names) != 1:
            listed = ", ".join(printable(name.removesuffix(".npy")) for name in names[:4])
            raise InputError(f"holds {len(names)} arrays ({listed}); save the one that is the picture")
        with packed.open(names[0]) as inside:
            yield inside


def _shape(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Shape and type of a stream, from its header."""
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(file)
    if dtype.hasobject:
        raise InputError("holds Python objects, which are never loaded; save an array of numbers")
    return shape, dtype


def _header(shape: tuple[int, ...], dtype: np.dtype[Any]) -> StoredHeader:
    sizes = dict(zip(_axes(shape), shape, strict=True))
    kept = np.dtype(np.float32) if dtype == np.float16 else dtype.newbyteorder("=")
    return checked(StoredHeader(sizes.get("z", 1), sizes["y"], sizes["x"], sizes.get("c", 1), kept))


def _axes(shape: tuple[int, ...]) -> str:
    """Meaning of an array's axes, in letters: z, y, x, c."""
    if len(shape) == 2:
        return "yx"
    if len(shape) == 3:
        return "cyx" if shape[0] in COLOURS else "yxc" if shape[2] in COLOURS else "zyx"
    if len(shape) == 4 and (shape[3] in COLOURS or shape[1] in COLOURS):
        return "zyxc" if shape[3] in COLOURS else "zcyx"
    raise InputError(f"holds an array of the shape {shape}; (Y, X), (Y, X, 3), (3, Y, X) or (Z, Y, X) is needed")


@contextmanager
def _errors() -> Iterator[None]:
    errors = (ValueError, OSError, EOFError, KeyError, zipfile.BadZipFile, zlib.error, RuntimeError, SyntaxError)
    try:
        yield
    except InputError:
        raise
    except (*errors, NotImplementedError, TypeError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise InputError(f"the array is damaged or truncated ({printable(reason)[:80]}); save it again") from error
