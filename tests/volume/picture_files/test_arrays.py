"""Axes of arrays, their headers, and what is never loaded."""

from __future__ import annotations

import io
import zipfile

import numpy as np
import pytest

from itk_infer.errors import InputError
from itk_infer.volume.picture_files.arrays import decode, read_header


def saved(array, **options):
    stream = io.BytesIO()
    np.save(stream, array, **options)
    return stream.getvalue()


def packed(**arrays):
    stream = io.BytesIO()
    np.savez_compressed(stream, **arrays)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("shape", "order"),
    [
        ((5, 6), "yx"),
        ((5, 6, 3), "yxc"),
        ((3, 5, 6), "cyx"),
        ((4, 5, 6), "cyx"),
        ((7, 5, 6), "zyx"),
        ((7, 5, 6, 3), "zyxc"),
        ((7, 3, 5, 6), "zcyx"),
    ],
)
@pytest.mark.parametrize("kind", ["<u2", ">u2", "<f4", "<f2"])
def test_axes(shape, order, kind):
    array = np.arange(np.prod(shape)).reshape(shape).astype(kind)
    stored, header = decode(saved(array)), read_header(io.BytesIO(saved(array)))
    assert (header.pages, header.height, header.width, header.channels) == stored.pages.shape
    assert (
        stored.pages.dtype == header.dtype == (np.float32 if kind == "<f2" else np.dtype(kind).newbyteorder("="))
    )
    for index in np.ndindex(shape):
        place = dict(zip(order, index))
        assert stored.pages[tuple(place.get(axis, 0) for axis in "zyxc")] == array[index]


@pytest.mark.parametrize("shape", [(5,), (1, 2, 3, 4, 5), (7, 5, 6, 9)], ids=str)
def test_other_shapes_are_refused(shape):
    with pytest.raises(InputError, match="shape"):
        decode(saved(np.zeros(shape)))


def test_an_ambiguous_shape_is_told():
    assert "could be" in decode(saved(np.zeros((3, 9, 3)))).notes[0]
    assert decode(saved(np.zeros((3, 9, 9)))).notes == ()


def test_one_array_in_a_packed_file():
    array = np.arange(30).reshape(5, 6)
    np.testing.assert_array_equal(decode(packed(a=array)).pages[0, ..., 0], array)
    with pytest.raises(InputError, match=r"2 arrays \(a, b\)"):
        decode(packed(a=array, b=array))


def test_pickles_are_never_loaded():
    array = np.empty((2, 2), object)
    array[...] = {"a": 1}
    for function in (decode, lambda data: read_header(io.BytesIO(data))):
        with pytest.raises(InputError, match="never loaded"):
            function(saved(array, allow_pickle=True))


def test_records_are_refused():
    with pytest.raises(InputError, match="of the type"):
        decode(saved(np.zeros((2, 2), "f4,f4")))


@pytest.mark.parametrize("cut", [5, 40, 100, -1])
def test_truncated(cut):
    with pytest.raises(InputError):
        decode(saved(np.zeros((9, 9)))[:cut])


def test_a_header_that_announces_too_much():
    """The data are not even looked at."""
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": "|u1", "fortran_order": False, "shape": (60000, 60000)})
    with pytest.raises(InputError, match="60000 x 60000 pixels"):
        decode(stream.getvalue())
    with pytest.raises(InputError, match="60000 x 60000 pixels"):
        read_header(io.BytesIO(stream.getvalue()))


def test_another_packed_file():
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as file:
        file.writestr("a.txt", "text")
    with pytest.raises(InputError, match="damaged or truncated"):
        decode(stream.getvalue())
