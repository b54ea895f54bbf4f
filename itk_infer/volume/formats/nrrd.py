"""NRRD files (``.nrrd``, ``.nhdr``): https://teem.sourceforge.net/nrrd/format.html."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Literal

import numpy as np

from itk_infer.errors import InputError
from itk_infer.volume.formats.layout import Layout, beside, check_spacing, checked_size, quoted, text_header
from itk_infer.volume.grid import Grid
from itk_infer.volume.names import printable

TYPE_NAMES = {
    "i1": "signed char|int8|int8_t",
    "u1": "uchar|unsigned char|uint8|uint8_t",
    "i2": "short|short int|signed short|signed short int|int16|int16_t",
    "u2": "ushort|unsigned short|unsigned short int|uint16|uint16_t",
    "i4": "int|signed int|int32|int32_t",
    "u4": "uint|unsigned int|uint32|uint32_t",
    "i8": "longlong|long long|long long int|signed long long|signed long long int|int64|int64_t",
    "u8": "ulonglong|unsigned long long|unsigned long long int|uint64|uint64_t",
    "f4": "float",
    "f8": "double",
}
TYPES = {name: code for code, names in TYPE_NAMES.items() for name in names.split("|")}
ENCODINGS: dict[str, Literal["raw", "deflate"]] = {"raw": "raw", "gzip": "deflate", "gz": "deflate"}
ALIASES = {"datafile": "data file", "byteskip": "byte skip", "lineskip": "line skip"}
VECTOR = re.compile(r"\(([^()]*)\)")
UNIT = re.compile(r'"([^"]*)"')
MILLIMETRES = {"mm", "millimeter", "millimeters", "millimetre", "millimetres", "", "???"}
# Names of a space (letters only), and the signs that convert x, y, z to LPS; other spaces are read as LPS.
SPACES = {("ras", "rightanteriorsuperior"): (-1, -1, 1), ("las", "leftanteriorsuperior"): (1, -1, 1)}
NO_ORIENTATION = "stores no orientation; its axes are taken as they are"


def check_header(path: Path) -> Layout:
    """The layout of a NRRD with its voxels in the same file or in one file beside it.

    Raises:
        InputError: the header is damaged, does not describe one 3D scalar volume, or names data in another
            folder.
    """
    name = printable(path.name)
    lines, end = text_header(path, lambda line: not line)
    if not re.fullmatch(r"NRRD\d{4}", lines[0]):
        raise InputError(f"{name}: has no NRRD header; the file is damaged or of another format")
    fields = _fields(name, lines[1:])
    attached = "data file" not in fields
    if attached and lines[-1]:
        raise InputError(f"{name}: its header does not end; the file is truncated")
    if fields.get("dimension") != "3":
        raise InputError(
            f"{name}: has the dimension {quoted(fields.get('dimension', ''))}; one 3D volume is needed"
        )
    code = TYPES.get(fields.get("type", "").lower())
    if code is None:
        raise InputError(
            f"{name}: its voxels are of the type {quoted(fields.get('type', ''))}; "
            "one plain number a voxel is needed"
        )
    x, y, z = (int(value) for value in _numbers(name, fields, "sizes", r"[+-]?\d+"))
    size = checked_size(path, (x, y, z))
    grid, warnings = _geometry(path, fields, size)
    dtype = np.dtype((">" if fields.get("endian", "").lower() == "big" else "<") + code)
    encoding: Literal["raw", "deflate", "other"] = ENCODINGS.get(fields.get("encoding", "").lower(), "other")
    (skip,) = _numbers(name, fields, "byte skip", r"-?\d+", 1) if "byte skip" in fields else (0,)
    if fields.get("line skip", "0") != "0" or skip < (-1 if encoding == "raw" else 0):
        raise InputError(
            f"{name}: skips lines or counts bytes from the end, which is not read; save the image again"
        )
    data_path, start = (path, end) if attached else (beside(path, fields["data file"]), 0)
    if encoding == "raw":
        from_end = data_path.stat().st_size - math.prod(size) * dtype.itemsize
        start, skip = max(0, from_end) if skip < 0 else start + int(skip), 0
    return Layout(
        size=size,
        dtype=dtype,
        data_path=data_path,
        encoding=encoding,
        start=start,
        skip=int(skip),
        grid=grid,
        warnings=warnings,
    )


def _fields(name: str, lines: list[str]) -> dict[str, str]:
    """The fields of a header, without comments and key/value pairs."""
    fields: dict[str, str] = {}
    for line in filter(None, lines):
        key, separator, value = line.partition(": ")
        if line.startswith("#") or ":=" in key:
            continue
        key = key.lower()
        key = ALIASES.get(key, key)
        if not separator:
            raise InputError(f"{name}: {quoted(line)} is no line of a NRRD header; the file is damaged")
        if key in fields:
            raise InputError(f"{name}: its header gives {quoted(key)} twice; remove one of them")
        fields[key] = value.strip()
    return fields


def _geometry(
    path: Path, fields: dict[str, str], size: tuple[int, int, int]
) -> tuple[Grid | None, tuple[str, ...]]:
    """The grid in LPS and millimetres, or None without space directions; and ambiguities as warnings."""
    name = printable(path.name)
    if "space directions" not in fields:
        x, y, z = _numbers(name, fields, "spacings", r"\S+") if "spacings" in fields else (1.0, 1.0, 1.0)
        check_spacing(path, (x, y, z))
        return None, (NO_ORIENTATION,)
    # Unknown names of spaces are refused by SimpleITK, which reads the header as well.
    letters = re.sub("[^a-z]", "", fields.get("space", "").lower())
    signs = next((signs for names, signs in SPACES.items() if letters in names), (1, 1, 1))
    axes = np.multiply(_vectors(name, fields, "space directions", 3), signs)
    x, y, z = (math.hypot(*axis) for axis in axes)
    check_spacing(path, (x, y, z))
    given = _vectors(name, fields, "space origin", 1) if "space origin" in fields else [[0.0, 0.0, 0.0]]
    ox, oy, oz = np.multiply(given[0], signs).tolist()
    direction = (axes / [[x], [y], [z]]).T + 0.0
    grid = Grid(size, (z, y, x), (ox, oy, oz), tuple(direction.ravel().tolist()))
    units = set(UNIT.findall(fields.get("space units", ""))) - MILLIMETRES
    warnings = [] if "space" in fields else [NO_ORIENTATION]
    if units:
        warnings.append(f"gives {quoted(', '.join(sorted(units)))} as space units; millimetres are taken")
    return grid, tuple(warnings)


def _vectors(name: str, fields: dict[str, str], key: str, count: int) -> list[list[float]]:
    """`count` vectors of three numbers from a field."""
    try:
        vectors = [[float(number) for number in vector.split(",")] for vector in VECTOR.findall(fields[key])]
    except ValueError:
        vectors = []
    if [len(vector) for vector in vectors] != [3] * count:
        what = "three vectors" if count == 3 else "one vector"
        raise InputError(f"{name}: its '{key}' are not {what} of numbers; correct the header")
    return vectors


def _numbers(name: str, fields: dict[str, str], key: str, pattern: str, count: int = 3) -> list[float]:
    words = fields.get(key, "").split()
    try:
        if len(words) == count and all(re.fullmatch(pattern, word) for word in words):
            return [float(word) for word in words]
    except ValueError:
        pass
    raise InputError(
        f"{name}: the field '{key}' of its header, {quoted(fields.get(key, ''))}, is not {count} numbers"
    )
