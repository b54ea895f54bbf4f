"""NRRD headers: attached and detached, packed and not."""

from __future__ import annotations

import bz2
import gzip
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from itk_infer.errors import InputError
from itk_infer.volume.formats.nrrd import TYPES
from itk_infer.volume.read import read_header, read_image

ARRAY = np.arange(60, dtype=np.int16).reshape(3, 4, 5)
HEADER = """NRRD0004
type: short
dimension: 3
space: left-posterior-superior
sizes: 5 4 3
space directions: (1,0,0) (0,2,0) (0,0,3)
kinds: domain domain domain
endian: little
encoding: raw
space origin: (0,0,0)
"""
PLAIN = HEADER.replace("space: left-posterior-superior\n", "").replace("space origin: (0,0,0)\n", "")
DIRECTIONS = "space directions: (1,0,0) (0,2,0) (0,0,3)\n"


def write(path: Path, *changes: tuple[str, str], data: bytes = ARRAY.tobytes(), header: str = HEADER) -> Path:
    for old, new in changes:
        assert old in header
        header = header.replace(old, new)
    path.write_bytes(header.encode("utf-8", "surrogateescape") + b"\n" + data)
    return path


def assert_reads(path: Path, expected: np.ndarray = ARRAY) -> None:
    np.testing.assert_array_equal(sitk.GetArrayFromImage(read_image(path).image), expected)
    assert read_header(path).size == expected.shape


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("NRRD0004", "NRRD", "has no NRRD header"),
        ("NRRD0004", "NRRD0009", "SimpleITK cannot read it: couldn't parse .NRRD0009. as magic"),
        ("dimension: 3", "dimension: 4", "has the dimension '4'; one 3D volume"),
        ("dimension: 3", "dimension: 2", "has the dimension '2'"),
        ("dimension: 3\n", "", "has the dimension ''"),
        ("short", "block", "of the type 'block'"),
        ("type: short\n", "", "of the type ''"),
        ("5 4 3", "5 0 3", "every size must be positive"),
        ("5 4 3", "5 -4 3", "every size must be positive"),
        ("5 4 3", "5 4", "is not 3 numbers"),
        ("5 4 3", "5 4 3.5", "is not 3 numbers"),
        ("5 4 3", "30000 30000 30000", "more than the 2,147,483,648"),
        ("5 4 3", "5 4 4", "holds 120 bytes of voxels where its header announces 160"),
        ("(0,2,0)", "(0,0,0)", "spacing of 1 x 0 x 3"),
        ("(0,2,0)", "none", "not three vectors"),
        ("(0,2,0)", "(0,two,0)", "not three vectors"),
        ("(0,2,0)", "(0,nan,0)", "spacing of 1 x nan x 3"),
        (DIRECTIONS, "spacings: 1 0 3\n", "spacing of 1 x 0 x 3"),
        (DIRECTIONS, "spacings: 1 -2 3\n", "spacing of 1 x -2 x 3"),
        (DIRECTIONS, "spacings: 1 nan 3\n", "spacing of 1 x nan x 3"),
        (DIRECTIONS, "spacings: 1 2\n", "is not 3 numbers"),
        ("endian: little\n", "", "SimpleITK cannot read it: type .short. and encoding .raw. require endian info"),
        ("encoding: raw", "encoding: raw\nline skip: 2", "skips lines or counts bytes from the end"),
        ("encoding: raw", "encoding: raw\nbyte skip: -2", "skips lines or counts bytes from the end"),
        ("encoding: raw", "encoding: gzip\nbyte skip: -1", "skips lines or counts bytes from the end"),
        ("encoding: raw", "encoding: gzip", r"the compressed data are damaged"),
        ("encoding: raw", "encoding: raw\nbyteskip: x", "'byte skip' of its header, 'x', is not 1 numbers"),
        ("type: short", "type: short\nType: uchar", "gives 'type' twice"),
        ("type: short", "type: short\nnonsense", "'nonsense' is no line of a NRRD header"),
        ("type: short", "type: short\ncontent: x\rdata file: /etc/passwd", "line 3 is no header text"),
        ("kinds: domain", "kinds: list", "SimpleITK cannot read it: .*(domain|independent) axes"),
    ],
)
def test_a_header_that_cannot_be_trusted(tmp_path: Path, old: str, new: str, reason: str) -> None:
    path = write(tmp_path / "a.nrrd", (old, new))
    with pytest.raises(InputError, match=rf"^a\.nrrd: .*{reason}"):
        read_image(path)


def test_a_vector_axis_that_only_simpleitk_sees_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.nrrd", (DIRECTIONS, ""), ("kinds: domain", "kinds: list"), header=PLAIN)
    for function in (read_header, read_image):
        with pytest.raises(
            InputError, match=r"SimpleITK finds \(3, 4\) voxels .* where the header says \(3, 4, 5\)"
        ):
            function(path)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("type: short", "Type: SHORT"),
        ("type: short", "type: short\n# data file: x.raw\nkey:=value: x\ndata file:=x.raw\ncontent: a:=b"),
        ("\n", "\r\n"),
        ("left-posterior-superior", "RAS"),
        ("(0,2,0)", "(0.0, 2.0, 0.0)"),
        ("NRRD0004", "NRRD0005"),
    ],
)
def test_odd_but_clear_headers_are_read(tmp_path: Path, old: str, new: str) -> None:
    assert_reads(write(tmp_path / "a.nrrd", (old, new)))


@pytest.mark.parametrize("order", ["little", "big"])
@pytest.mark.parametrize("name", TYPES)
def test_every_type_name_in_both_byte_orders(tmp_path: Path, name: str, order: str) -> None:
    code = TYPES[name]
    data = ARRAY.astype({"little": "<", "big": ">"}[order] + code).tobytes()
    path = write(tmp_path / "a.nrrd", ("short", name), ("little", order), data=data)
    assert_reads(path)  # SimpleITK agrees that the name means this type
    assert read_header(path).dtype == np.dtype(code)


@pytest.mark.parametrize(
    ("encoding", "data"),
    [
        ("raw", ARRAY.tobytes()),
        ("raw\nbyte skip: 4", b"1234" + ARRAY.tobytes()),
        ("raw\nbyteskip: -1", b"12345" + ARRAY.tobytes()),
        ("gzip", gzip.compress(ARRAY.tobytes(), mtime=0)),
        ("gz\nbyte skip: 4", gzip.compress(b"1234" + ARRAY.tobytes(), mtime=0)),
        ("ascii", " ".join(map(str, ARRAY.ravel())).encode()),
        ("hex", ARRAY.tobytes().hex().encode()),
    ],
    ids=["raw", "raw, skipped from the start", "raw, counted from the end", "gzip", "gz, skipped", "ascii", "hex"],
)
def test_encodings(tmp_path: Path, encoding: str, data: bytes) -> None:
    assert_reads(write(tmp_path / "a.nrrd", ("encoding: raw", f"encoding: {encoding}"), data=data))
    detached = HEADER.replace("encoding: raw", f"encoding: {encoding}\ndata file: d.bin")
    (tmp_path / "a.nhdr").write_text(detached)  # without the blank line, which such a file may lack
    (tmp_path / "d.bin").write_bytes(data)
    assert_reads(tmp_path / "a.nhdr")
    (tmp_path / "d.bin").write_bytes(data[: len(data) * 9 // 10])
    with pytest.raises(InputError, match=r"^(d\.bin|a\.nhdr): "):
        read_image(tmp_path / "a.nhdr")


def test_what_simpleitk_says_about_an_encoding_it_lacks(tmp_path: Path) -> None:
    path = write(tmp_path / "a.nrrd", ("raw", "bzip2"), data=bz2.compress(ARRAY.tobytes()))
    with pytest.raises(InputError, match=r"^a\.nrrd: SimpleITK cannot read it: .*bzip2 encoding not available"):
        read_image(path)


@pytest.mark.parametrize("cut", [30, 120, len(HEADER) - 1, len(HEADER)])
def test_a_header_cut_short(tmp_path: Path, cut: int) -> None:
    (tmp_path / "a.nrrd").write_text(HEADER[:cut])
    with pytest.raises(InputError, match=r"^a\.nrrd: .*(truncated|damaged)"):
        read_header(tmp_path / "a.nrrd")


@pytest.mark.parametrize("key", ["data file", "datafile", "Data File"])
@pytest.mark.parametrize(
    "name", ["/etc/passwd", "../d.raw", "sub/d.raw", "-", "x:d.raw", "LIST", "LIST 2", "d%d.raw 1 3 1"]
)
def test_no_way_out_of_the_folder(tmp_path: Path, key: str, name: str) -> None:
    for suffix in (".nrrd", ".nhdr"):
        path = write(tmp_path / f"a{suffix}", ("encoding: raw", f"encoding: raw\n{key}: {name}"))
        with pytest.raises(InputError, match=r"names '.*' as its data file; "):
            read_image(path)


def test_a_relative_name_in_the_old_style(tmp_path: Path) -> None:
    (tmp_path / "d.raw").write_bytes(ARRAY.tobytes())
    assert_reads(write(tmp_path / "a.nhdr", ("encoding: raw", "encoding: raw\ndata file: ./d.raw"), data=b""))


@pytest.mark.parametrize("extra", ["", "spacings: 1 2 3\n"])
def test_no_orientation_is_a_warning(tmp_path: Path, extra: str) -> None:
    path = write(tmp_path / "a.nrrd", (DIRECTIONS, extra), header=PLAIN)
    assert read_image(path).warnings == ("a.nrrd: stores no orientation; its axes are taken as they are",)
    assert read_header(path).spacing == ((3, 2, 1) if extra else (1, 1, 1))


def test_voxels_that_are_no_number_are_counted(tmp_path: Path) -> None:
    array = ARRAY.astype("<f8")
    array[0, 1, :2] = np.nan
    path = write(tmp_path / "a.nrrd", ("short", "double"), data=array.tobytes())
    with pytest.raises(InputError, match="holds 2 voxels that are NaN"):
        read_image(path)


@pytest.mark.parametrize(
    "space",
    ["left-posterior-superior", "right-anterior-superior", "left anterior superior", "RAS", "Lps", "scanner-xyz"],
)
def test_the_geometry_is_that_of_itk(tmp_path: Path, space: str) -> None:
    directions = (DIRECTIONS, "space directions: (0.6,0.8,0) (-1.6,1.2,0) (0,0,3)\n")
    origin, name = ("(0,0,0)\n", "(1.5,-2,30)\n"), ("left-posterior-superior", space)
    path = write(tmp_path / "a.nrrd", directions, origin, name)
    found, expected, header = read_image(path).image, sitk.ReadImage(str(path)), read_header(path)
    np.testing.assert_allclose(found.GetDirection(), expected.GetDirection(), atol=1e-15)
    np.testing.assert_allclose(found.GetOrigin(), expected.GetOrigin())
    np.testing.assert_allclose(found.GetSpacing(), expected.GetSpacing())
    assert (header.spacing[::-1], header.direction_xyz) == (found.GetSpacing(), found.GetDirection())


def test_axis_minima_are_left_to_itk(tmp_path: Path) -> None:
    path = write(tmp_path / "a.nrrd", (DIRECTIONS, "spacings: 1 2 3\naxis mins: 1 2 3\n"), header=PLAIN)
    assert read_image(path).image.GetOrigin() == sitk.ReadImage(str(path)).GetOrigin() == (1.5, 3, 4.5)


@pytest.mark.parametrize(("units", "told"), [('"mm" "mm" "mm"', False), ('"microns" "microns" "mm"', True)])
def test_units_that_are_not_applied_are_told(tmp_path: Path, units: str, told: bool) -> None:
    path = write(tmp_path / "a.nrrd", (DIRECTIONS, f"{DIRECTIONS}space units: {units}\n"))
    assert ["'microns' as space units" in warning for warning in read_image(path).warnings] == [True] * told
