"""What derived objects copy of a series: bytes as they are, and nothing that is no valid value."""

from __future__ import annotations

import pytest

pytest.importorskip("pydicom")
from support.dicom_files import save, slice_of, voxels

from itk_infer.errors import InputError
from itk_infer.volume.dicom.derived import check_referable, identity_of, moment_of
from itk_infer.volume.dicom.frames import frames_of
from itk_infer.volume.dicom.geometry import stack_of
from itk_infer.volume.dicom.header import read_file_header

NAME, ID, BIRTH, SEX, REMOVED, HOW = 0x00100010, 0x00100020, 0x00100030, 0x00100040, 0x00120062, 0x00120063


@pytest.fixture
def header(tmp_path):
    """The header of a slice with raw values, written without pydicom's checks."""

    def make(charset=None, **raw):
        from pydicom.datadict import dictionary_VR, tag_for_keyword
        from pydicom.dataelem import RawDataElement
        from pydicom.tag import Tag

        ds = slice_of(0, voxels()[0])
        for keyword, value in {**({"SpecificCharacterSet": charset} if charset else {}), **raw}.items():
            tag = Tag(tag_for_keyword(keyword))
            value = value.encode() if isinstance(value, str) else value
            padded = value + b" " * (len(value) % 2)
            ds[tag] = RawDataElement(tag, dictionary_VR(tag), len(padded), padded, 0, False, True, True)
        ds.set_original_encoding(False, True, ds._character_set)  # raw elements are written as they are
        return read_file_header(save(ds, tmp_path / "a.dcm"))

    return make


def test_values_that_are_none_become_empty_and_missing_ones_too(header):
    found = identity_of(
        header(
            PatientBirthDate="19350230", PatientSex="X", StudyTime="9:30", PatientAge="84", PatientWeight="heavy"
        )
    )
    assert found.values[BIRTH] == ("DA", b"")
    assert found.values[SEX] == ("CS", b"")
    assert found.values[0x00080030] == ("TM", b"")
    assert found.values[0x00080050] == ("SH", b"")
    assert not {0x00101010, 0x00101030} & found.values.keys()
    good = identity_of(header(PatientBirthDate="19350228", PatientSex="O", PatientWeight="61.5"))
    assert [good.values[tag][1] for tag in (BIRTH, SEX, 0x00101030)] == [b"19350228", b"O", b"61.5"]


@pytest.mark.filterwarnings("ignore:Unknown encoding")  # pydicom's, as it writes the source
@pytest.mark.parametrize(
    ("charset", "raw", "own", "expected", "stays"),
    [
        pytest.param("ISO_IR 100", b"Smith^John", "liver", "", True, id="plain"),
        pytest.param(None, b"Smith^John", "Nœud", "ISO_IR 192", True, id="own text beyond ASCII"),
        pytest.param("ISO_IR 100", "Müller".encode("latin-1"), "foie gauche é", "ISO_IR 100", True, id="Latin-1"),
        pytest.param("ISO_IR 144", "Иванов".encode("iso8859_5"), "é", "ISO_IR 192", False, id="to UTF-8"),
        pytest.param("ISO_IR 192", "Müller".encode(), "œ", "ISO_IR 192", True, id="UTF-8"),
        pytest.param("ISO_IR 192", "Müller".encode("latin-1"), "é", "ISO_IR 100", True, id="not what it says"),
        pytest.param("ISO_IR 999", "Müller".encode("latin-1"), "œ", "ISO_IR 100", True, id="unknown"),
        pytest.param(None, "Müller".encode("latin-1"), "", "ISO_IR 100", True, id="none, and not ASCII"),
        pytest.param(
            "\\ISO 2022 IR 87", b"Yamada^Taro=\x1b$B;3ED\x1b(B", "é", "\\ISO 2022 IR 87", True, id="escapes"
        ),
    ],
)
def test_names_stay_what_they_are(header, charset, raw, own, expected, stays):
    found = identity_of(header(charset, PatientName=raw), [own])
    assert found.charset == expected
    assert (found.values[NAME][1] == raw) is stays
    if not stays:
        assert found.values[NAME][1].decode() == "Иванов"
    assert len(found.fitted(own)) == len(own)


def test_our_own_text_fits(header):
    latin = identity_of(header(None, PatientName="Müller".encode("latin-1")))
    assert latin.fitted("a\\b\n c œ") == "a/b c ?"
    assert identity_of(header()).fitted("x" * 70) == "x" * 64


def test_series_without_identity_stay_so(header):
    found = identity_of(header(PatientIdentityRemoved="YES"))
    assert found.values[REMOVED] == ("CS", b"YES")
    assert found.values[HOW] == ("LO", b"see the source images")
    assert (
        identity_of(header(PatientIdentityRemoved="YES", DeidentificationMethod="ours")).values[HOW][1] == b"ours"
    )
    assert HOW not in identity_of(header(PatientIdentityRemoved="NO")).values


def test_the_date_is_that_of_the_series(header):
    assert moment_of(header(ContentDate="20240101", ContentTime="101500", SeriesDate="20230101")) == (
        "20240101",
        "101500",
    )
    assert moment_of(header(ContentDate="soon")) == ("20240229", "000000")  # of the study
    assert moment_of(header(StudyDate="")) == ("19700101", "000000")


def test_a_series_without_frame_of_reference_is_refused(tmp_path):
    frames = []
    for k, plane in enumerate(voxels()):
        ds = slice_of(k, plane, FrameOfReferenceUID="")
        frames += frames_of(read_file_header(save(ds, tmp_path / f"{k}.dcm")))
    with pytest.raises(InputError, match=r"the FrameOfReferenceUID of 0\.dcm is missing.*leave `dicom` out"):
        check_referable(stack_of(frames))
