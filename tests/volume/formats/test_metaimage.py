"""MetaImage headers: only those that MetaIO and this package must understand alike are accepted."""

from __future__ import annotations

import gzip
import zlib
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from itk_infer.errors import InputError
from itk_infer.volume.read import read_header, read_image

ARRAY = np.arange(60, dtype=np.int16).reshape(3, 4, 5)
FIELDS = {
    "ObjectType": "Image",
    "NDims": "3",
    "BinaryData": "True",
    "BinaryDataByteOrderMSB": "False",
    "CompressedData": "False",
    "TransformMatrix": "1 0 0 0 1 0 0 0 1",
    "Offset": "0 0 0",
    "ElementSpacing": "1 2 3",
    "DimSize": "5 4 3",
    "ElementType": "MET_SHORT",
    "ElementDataFile": "LOCAL",
}


def write(path: Path, data: bytes = ARRAY.tobytes(), *, before: str = "", **fields: str | None) -> Path:
    """A file with some fields replaced, added before ElementType, or removed (None)."""
    known = {key: fields.get(key, value) for key, value in FIELDS.items()}
    added = {key: value for key, value in fields.items() if key not in FIELDS}
    text = ""
    for key, value in known.items():
        if key == "ElementType":
            text += before + "".join(f"{name} = {other}\n" for name, other in added.items())
        if value is not None:
            text += f"{key} = {value}\n"
    path.write_bytes(text.encode("utf-8", "surrogateescape") + data)
    return path


def assert_reads(path: Path, expected: np.ndarray = ARRAY) -> None:
    np.testing.assert_array_equal(sitk.GetArrayFromImage(read_image(path).image), expected)
    assert read_header(path).size == expected.shape


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"NDims": "2"}, "has NDims = '2'"),
        ({"NDims": "4", "DimSize": "5 4 3 1"}, "has NDims = '4'"),
        ({"NDims": "three"}, "NDims = 'three' in its header is not 1 numbers"),
        ({"NDims": None}, "has no NDims"),
        ({"ElementNumberOfChannels": "3"}, "3 x 'MET_SHORT'; one plain number"),
        ({"ElementType": "MET_OTHER"}, "1 x 'MET_OTHER'"),
        ({"ElementType": "MET_SHORT_ARRAY"}, "MET_SHORT_ARRAY"),
        ({"BinaryData": "False"}, "as text"),
        ({"DimSize": "5 0 3"}, "5 x 0 x 3 voxels; every size must be positive"),
        ({"DimSize": "5 -4 3"}, "every size must be positive"),
        ({"DimSize": "5 4"}, "DimSize = '5 4' in its header is not 3 numbers"),
        ({"DimSize": "5 4 3 2"}, "is not 3 numbers"),
        ({"DimSize": "30000 30000 30000"}, "more than the 2,147,483,648"),
        ({"DimSize": "5 4 4"}, "holds 120 bytes of voxels where its header announces 160"),
        ({"ElementSpacing": "1 0 3"}, "spacing of 1 x 0 x 3"),
        ({"ElementSpacing": "1 -2 3"}, "spacing of 1 x -2 x 3"),
        ({"ElementSpacing": "1 nan 3"}, "spacing of 1 x nan x 3"),
        ({"ElementSpacing": "1 2"}, "is not 3 numbers"),
        ({"ElementSpacing": None, "ElementSize": "0 1 1"}, "spacing of 0 x 1 x 1"),
        ({"TransformMatrix": "1 0 0 0 1 0"}, "is not 9 numbers"),
        ({"TransformMatrix": "0 0 0 0 0 0 0 0 0"}, "lengths of 0 x 0 x 0 instead of 1"),
        ({"TransformMatrix": "1 0 0 0 nan 0 0 0 1"}, "TransformMatrix in its header holds NaN"),
        ({"Rotation": "0 1 0 1 0 0 0 0 1"}, "different numbers as TransformMatrix and Rotation"),
        ({"Offset": "1 2"}, "is not 3 numbers"),
        ({"Offset": "1 2 inf"}, "Offset in its header holds NaN"),
        ({"Position": "1 2 3"}, "different numbers as Offset and Position"),
        ({"ElementSpacing": "1 1e-7 3"}, "spacing of 1 x 1e-07 x 3 mm, which no image has"),
        ({"CompressedData": "True"}, "gives no CompressedDataSize"),
        ({"CompressedData": "True", "CompressedDataSize": "500"}, "holds 120 bytes of voxels where its header"),
        ({"HeaderSize": "10"}, "HeaderSize = 10 is only read"),
        ({"ElementDataFile": None}, "line 11 is no header text"),
        ({"before": "DimSize = 2 2 2\n"}, "gives DimSize twice"),
        ({"before": "# a comment\n"}, "the line '# a comment' hides the ElementType"),
        ({"before": "0008|0081 = Main Street\r\nBasel\r\n\r\n"}, "the line 'Basel' hides the ElementType"),
        ({"before": "= 3\n"}, "is no line of a MetaImage header"),
        ({"before": "x" * 600 + "\n"}, "is no line of a MetaImage header"),
        ({"before": "Comment = x\rElementDataFile = /etc/passwd\n"}, "line 10 is no header text"),
    ],
)
def test_a_header_that_cannot_be_trusted(tmp_path: Path, fields: dict[str, str], reason: str) -> None:
    path = write(tmp_path / "a.mha", **fields)
    for function in (read_header, read_image):
        with pytest.raises(InputError, match=rf"^a\.mha: .*{reason}") as caught:
            function(path)
        assert len(str(caught.value)) < 250


@pytest.mark.parametrize(
    "fields",
    [
        {"ElementDataFile": "local"},
        {"BinaryData": None},
        {"ElementNumberOfChannels": "1"},
        {"before": "0008|0081 = Main Street\r\nBasel\r\n0008|0090 = Dr. X\r\n"},
        {"before": "\n\n"},
        {"before": "Comment = ElementDataFile = x.raw\n"},
        {"before": "ITK_notes = \n"},
    ],
)
def test_odd_but_clear_headers_are_read(tmp_path: Path, fields: dict[str, str]) -> None:
    for suffix in (".mha", ".mhd"):
        assert_reads(write(tmp_path / f"a{suffix}", **fields))


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(
    ("name", "code"),
    [("MET_CHAR", "i1"), ("MET_UCHAR", "u1"), ("MET_USHORT", "u2"), ("MET_INT", "i4"), ("MET_UINT", "u4"),
     ("MET_LONG", "i4"), ("MET_ULONG", "u4"), ("MET_LONG_LONG", "i8"), ("MET_ULONG_LONG", "u8"),
     ("MET_FLOAT", "f4"), ("MET_DOUBLE", "f8")],
)  # fmt: skip
def test_every_type_in_both_byte_orders(tmp_path: Path, name: str, code: str, order: str) -> None:
    data = ARRAY.astype(order + code).tobytes()
    path = write(tmp_path / "a.mha", data, ElementType=name, BinaryDataByteOrderMSB=str(order == ">"))
    assert_reads(path)
    assert read_header(path).dtype == np.dtype(code)
    if code[0] == "f":
        bad = ARRAY.astype(order + code)
        bad[1, 2, 3] = np.inf
        path = write(path, bad.tobytes(), ElementType=name, BinaryDataByteOrderMSB=str(order == ">"))
        with pytest.raises(InputError, match="holds 1 voxels that are NaN"):
            read_image(path)


@pytest.mark.parametrize("wrap", [zlib.compress, partial(gzip.compress, mtime=0)], ids=["zlib", "gzip"])
def test_compressed_data_end_where_the_header_says(tmp_path: Path, wrap: object) -> None:
    packed = wrap(ARRAY.tobytes())  # type: ignore[operator]
    size = len(packed)
    assert_reads(write(tmp_path / "a.mha", packed + b"more", CompressedData="True", CompressedDataSize=str(size)))
    # MetaIO alone accepts the next two: it neither misses the end of a stream nor looks for a second one.
    path = write(tmp_path / "b.mha", packed, CompressedData="True", CompressedDataSize=str(size - 10))
    with pytest.raises(InputError, match="end too early"):
        read_image(path)
    two = wrap(ARRAY.tobytes()[:60]) + wrap(ARRAY.tobytes()[60:])  # type: ignore[operator]
    path = write(tmp_path / "c.mha", two, CompressedData="True", CompressedDataSize=str(len(two)))
    with pytest.raises(InputError, match="holds 60 bytes of voxels where the header announces 120"):
        read_image(path)


class TestDetachedData:
    def test_a_plain_name_in_the_same_folder(self, tmp_path: Path) -> None:
        names = ["d.raw", "with space.raw", "größe.raw", "./d.raw"]
        # MetaIO would make file names of these patterns, read another file, or end the process.
        names += ["scan(%Max=5).raw", "100%.raw", "a%d.raw", "a%s%n.raw", "50% done 1.raw", "a%03d.raw 1 3 1"]
        for name in names:
            (tmp_path / name).write_bytes(ARRAY.tobytes())
            assert_reads(write(tmp_path / "a.mhd", b"", ElementDataFile=name))
            (tmp_path / "d.raw").write_bytes(b"")

    @pytest.mark.parametrize(("header_bytes", "lead"), [("0", 0), ("10", 10), ("-1", 17)])
    def test_bytes_before_the_voxels(self, tmp_path: Path, header_bytes: str, lead: int) -> None:
        (tmp_path / "d.raw").write_bytes(b"x" * lead + ARRAY.tobytes())
        path = write(tmp_path / "a.mhd", b"", ElementDataFile="d.raw", HeaderSize=header_bytes)
        assert_reads(path)
        (tmp_path / "d.raw").write_bytes((b"x" * lead + ARRAY.tobytes())[: 119 if lead == 17 else lead + 119])
        with pytest.raises(InputError, match=r"^d\.raw: holds 119 bytes of voxels where the header a\.mhd"):
            read_header(path)

    def test_compressed_without_its_size(self, tmp_path: Path) -> None:
        (tmp_path / "d.zraw").write_bytes(zlib.compress(ARRAY.tobytes()))
        assert_reads(write(tmp_path / "a.mhd", b"", ElementDataFile="d.zraw", CompressedData="True"))

    @pytest.mark.parametrize(
        "name",
        [
            "/etc/passwd",
            "../d.raw",
            "sub/d.raw",
            "sub\\d.raw",
            "C:d.raw",
            "..",
            "LIST",
            "LIST 2D",
            "d%03d.raw 1 3 1",
        ],
    )
    def test_no_way_out_of_the_folder(self, tmp_path: Path, name: str) -> None:
        (tmp_path / "d.raw").write_bytes(ARRAY.tobytes())
        folder = tmp_path / "folder"
        (folder / "sub").mkdir(parents=True)
        (folder / "sub" / "d.raw").write_bytes(ARRAY.tobytes())
        path = write(folder / "a.mhd", b"", ElementDataFile=name)
        with pytest.raises(InputError, match=r"^a\.mhd: names '.*' as its data file; "):
            read_image(path)

    def test_no_link_out_of_the_folder(self, tmp_path: Path) -> None:
        (tmp_path / "d.raw").write_bytes(ARRAY.tobytes())
        (tmp_path / "folder").mkdir()
        (tmp_path / "folder" / "d.raw").symlink_to(tmp_path / "d.raw")
        path = write(tmp_path / "folder" / "a.mhd", b"", ElementDataFile="d.raw")
        with pytest.raises(InputError, match="a link that leads out of the folder"):
            read_image(path)
        (tmp_path / "folder" / "inside.raw").write_bytes(ARRAY.tobytes())
        (tmp_path / "folder" / "d.raw").unlink()
        (tmp_path / "folder" / "d.raw").symlink_to("inside.raw")
        assert_reads(path)

    @pytest.mark.parametrize(
        ("name", "reason"), [("no.raw", "No such file"), ("caf\udce9.raw", "not valid UTF-8")]
    )
    def test_data_that_cannot_be_opened(self, tmp_path: Path, name: str, reason: str) -> None:
        with pytest.raises(InputError, match=reason):
            read_image(write(tmp_path / "a.mhd", b"", ElementDataFile=name))


@pytest.mark.parametrize(
    ("fields", "warning"),
    [
        ({"TransformMatrix": None}, "stores no orientation"),
        ({"TransformMatrix": None, "Orientation": FIELDS["TransformMatrix"]}, ""),
        ({"ElementToIntensityFunctionSlope": "2"}, "ElementToIntensityFunction, which is not applied"),
        ({"ElementToIntensityFunctionSlope": "1.0"}, ""),
    ],
)
def test_warnings(tmp_path: Path, fields: dict[str, str], warning: str) -> None:
    path = write(tmp_path / "a.mha", **fields)
    assert_reads(path)
    assert [warning in text for text in read_image(path).warnings] == [True] * bool(warning)


MATRIX = "0.8 0.6 0 -0.6 0.8 0 0 0 1"


@pytest.mark.parametrize("position", ["Offset", "Position", "Origin", "ImagePosition"])
@pytest.mark.parametrize("direction", ["TransformMatrix", "Rotation", "Orientation"])
def test_the_geometry_is_that_of_metaio(tmp_path: Path, position: str, direction: str) -> None:
    fields = {"Offset": None, "TransformMatrix": None, position: "1.5 -2 3e1", direction: MATRIX}
    path = write(tmp_path / "a.mha", **fields)
    found, expected, header = read_image(path).image, sitk.ReadImage(str(path)), read_header(path)
    assert found.GetDirection() == expected.GetDirection() == header.direction_xyz
    assert found.GetOrigin() == expected.GetOrigin() == (1.5, -2, 30)
    assert found.GetSpacing() == expected.GetSpacing() == header.spacing[::-1]


def test_two_names_with_the_same_numbers_are_clear(tmp_path: Path) -> None:
    fields = {"Offset": "1 2 3", "Position": "1 2 3", "Rotation": FIELDS["TransformMatrix"]}
    assert read_image(write(tmp_path / "a.mha", **fields)).image.GetOrigin() == (1, 2, 3)
