"""The header parser against pydicom, which is another one; and against bytes that are no headers."""

from __future__ import annotations

import io

import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)
from support.dicom_files import slice_of, voxels

from itk_infer.spec.dicom_keywords import KEYWORDS
from itk_infer.volume.dicom.elements import Damaged, Incomplete, looks_like_dicom, parse

TAGS = frozenset(KEYWORDS.values())
SYNTAXES = (
    ImplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    DeflatedExplicitVRLittleEndian,
)


def written(ds, syntax, *, undefined=False):
    """The bytes of a data set in a transfer syntax, sequences with delimiters if asked for."""
    ds.file_meta.TransferSyntaxUID = syntax
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    for element in ds.iterall():
        if element.VR == "SQ":
            element.is_undefined_length = undefined
            for item in element.value:
                item.is_undefined_length_sequence_item = undefined
    file = io.BytesIO()
    ds.save_as(file, enforce_file_format=True)
    return file.getvalue()


def example():
    ds = slice_of(3, voxels()[0], SeriesDescription="äöü", SpecificCharacterSet="ISO_IR 192")
    inner, outer = Dataset(), Dataset()
    inner.CodeValue, inner.CodeMeaning = "T-A0100", "Brain"
    outer.PurposeOfReferenceCodeSequence = Sequence([inner])
    outer.ReferencedSOPInstanceUID = "1.2.3"
    ds.SourceImageSequence = Sequence([outer, Dataset()])
    private = ds.private_block(0x0019, "TESTS", create=True)
    private.add_new(0x01, "UN", b"\xff" * 70000)  # longer than what is read at first
    return ds


@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda syntax: syntax.name)
@pytest.mark.parametrize("undefined", [False, True])
def test_the_values_are_those_of_pydicom(syntax, undefined):
    data = written(example(), syntax, undefined=undefined)
    expected = pydicom.dcmread(io.BytesIO(data))
    found = parse(data, TAGS, whole=True)
    assert found.syntax == syntax
    assert {tag for tag in expected.keys() if tag in TAGS} == set(found.elements)  # noqa: SIM118
    for keyword in ("SeriesInstanceUID", "SeriesDescription", "ImagePositionPatient", "PixelSpacing", "Modality"):
        value = expected[keyword].value
        text = "\\".join(map(str, value)) if not isinstance(value, str) else value
        assert found.elements[KEYWORDS[keyword]].rstrip(b"\0 ").decode() == text
    rows = int.from_bytes(found.elements[KEYWORDS["Rows"]], "little" if found.little else "big")
    assert rows == expected.Rows
    whole = found.inflated if found.inflated is not None else data
    pixels = whole[found.pixels.start : found.pixels.start + found.pixels.length]
    assert pixels == expected.PixelData


def test_nested_groups_of_frames():
    ds = slice_of(0, voxels()[0])
    group, place = Dataset(), Dataset()
    place.ImagePositionPatient = ["1", "2", "3"]
    group.PlanePositionSequence = Sequence([place])
    ds.PerFrameFunctionalGroupsSequence = Sequence([group, Dataset()])
    for syntax in SYNTAXES:
        for undefined in (False, True):
            found = parse(written(ds, syntax, undefined=undefined), TAGS, whole=True)
            first, second = found.elements[0x52009230]
            assert first[0x00209113][0][KEYWORDS["ImagePositionPatient"]].strip() == b"1\\2\\3"
            assert second == {}


def test_a_beginning_is_incomplete_and_a_whole_file_damaged():
    data = written(example(), ExplicitVRLittleEndian)
    with pytest.raises(Incomplete):
        parse(data[:2000], TAGS, whole=False)
    with pytest.raises(Damaged, match="ends within its header") as caught:
        parse(data[:2000], TAGS, whole=True)
    assert not isinstance(caught.value, Incomplete)


def test_without_a_preamble():
    ds = slice_of(0, voxels()[0])
    del ds.file_meta
    for implicit in (True, False):
        file = io.BytesIO()
        pydicom.dcmwrite(file, ds, implicit_vr=implicit, little_endian=True, enforce_file_format=False)
        assert looks_like_dicom(file.getvalue())
        found = parse(file.getvalue(), TAGS, whole=True)
        assert found.elements[KEYWORDS["Modality"]] == b"CT"


@pytest.mark.parametrize(
    "data", [b"", bytes(300), b"hello" * 99, b"\x08\0" + bytes(500)], ids=["empty", "zeros", "text", "group 8"]
)
def test_what_is_no_dicom(data):
    assert not looks_like_dicom(data)
    with pytest.raises(Damaged, match="no DICOM header"):
        parse(data, TAGS, whole=True)


def test_deep_nesting_ends():
    item = b"\xfe\xff\x00\xe0\xff\xff\xff\xff"
    sequence = b"\x08\0\x40\x11SQ\0\0\xff\xff\xff\xff"
    data = bytes(128) + b"DICM" + (sequence + item) * 5000
    with pytest.raises(Damaged, match="nested"):
        parse(data, TAGS, whole=True)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_any_bytes_end_in_a_reason(data):
    start = written(slice_of(0, np.zeros((4, 4), np.uint8)), data.draw(st.sampled_from(SYNTAXES)))
    mutated = bytearray(start)
    for _ in range(data.draw(st.integers(1, 6))):
        mutated[data.draw(st.integers(132, len(start) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(mutated[: data.draw(st.integers(0, len(start)))])
    try:
        found = parse(cut, TAGS, whole=True)
    except Damaged:
        return
    assert found.elements.keys() <= TAGS | {
        0x00289110,
        0x00209113,
        0x00209116,
        0x00289145,
        0x00209111,
        0x00189114,
    } | {
        0x52009229,
        0x52009230,
    }


def test_a_sequence_of_unknown_representation_is_implicit():
    """PS3.5, 6.2.2: the items of UN with undefined length have no representations, whatever is around them."""
    # The length of the inner element, read as a representation and two bytes of length, would be another one.
    inner = b"\x09\0\x11\x10" + (0x4F42).to_bytes(4, "little") + bytes(0x4F42)
    item = b"\xfe\xff\x00\xe0\xff\xff\xff\xff" + inner + b"\xfe\xff\x0d\xe0\0\0\0\0"
    unknown = b"\x09\0\x10\x10UN\0\0\xff\xff\xff\xff" + item + b"\xfe\xff\xdd\xe0\0\0\0\0"
    data = bytes(128) + b"DICM" + b"\x08\0\x60\0CS\x02\0MR" + unknown + b"\x20\0\x11\0IS\x02\x009 "
    found = parse(data, TAGS, whole=True)
    assert found.elements == {KEYWORDS["Modality"]: b"MR", KEYWORDS["SeriesNumber"]: b"9 "}
