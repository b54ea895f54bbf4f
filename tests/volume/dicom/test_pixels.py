"""Pixels of every transfer syntax, against what was encoded; cut and damaged ones are refused."""

from __future__ import annotations

import numpy as np
import pytest
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian, RLELossless
from support.dicom_files import compressed, save, save_series, slice_of, voxels
from support.htj2k import htj2k_encode

from itk_infer.errors import InputError
from itk_infer.volume.dicom import pixels
from itk_infer.volume.dicom.reading import read_series
from itk_infer.volume.dicom.series_files import SeriesFiles

codecs = pytest.importorskip("imagecodecs")

ENCODERS = {
    "jpeg-ls": ("1.2.840.10008.1.2.4.80", codecs.jpegls_encode),
    "jpeg-2000": ("1.2.840.10008.1.2.4.90", lambda p: codecs.jpeg2k_encode(p, codecformat="J2K", reversible=True)),
    "jpeg-2000 in a JP2 file": ("1.2.840.10008.1.2.4.90", lambda p: codecs.jpeg2k_encode(p, reversible=True)),
    "htj2k": ("1.2.840.10008.1.2.4.201", htj2k_encode),
    "jpeg lossless": ("1.2.840.10008.1.2.4.70", lambda p: codecs.ljpeg_encode(p, bitspersample=16)),
}


def read(paths):
    return read_series(SeriesFiles(tuple(paths)))


def series(folder, array, change=lambda ds, plane: ds, **attributes):
    return [
        save(change(slice_of(k, plane, **attributes), plane), folder / f"{k:03d}") for k, plane in enumerate(array)
    ]


@pytest.mark.parametrize("name", ENCODERS)
@pytest.mark.parametrize("fragments", [1, 3])
def test_lossless_syntaxes(tmp_path, name, fragments):
    syntax, encode = ENCODERS[name]
    array = np.random.default_rng(1).integers(0, 4096, (3, 16, 24)).astype(np.uint16)
    paths = series(tmp_path, array, lambda ds, plane: compressed(ds, encode(plane), syntax, fragments=fragments))
    np.testing.assert_array_equal(read(paths).array, array)


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.uint16, np.int16, np.int32])
@pytest.mark.parametrize(
    "syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian, RLELossless],
    ids=lambda syntax: syntax.name,
)  # fmt: skip
def test_types_and_uncompressed_syntaxes(tmp_path, dtype, syntax):
    if syntax == RLELossless and dtype == np.int32:
        pytest.skip("pydicom does not encode it")
    info = np.iinfo(dtype)
    array = np.random.default_rng(1).integers(info.min, info.max, (3, 6, 7), dtype, endpoint=True)

    def change(ds, plane):
        if syntax == RLELossless:
            ds.compress(syntax, generate_instance_uid=False)
        else:
            ds.file_meta.TransferSyntaxUID = syntax
        if syntax == ExplicitVRBigEndian:
            ds.PixelData = plane.astype(plane.dtype.newbyteorder(">")).tobytes()
        if len(ds.PixelData) % 2:
            ds.PixelData += b"\0"
        return ds

    volume = read(series(tmp_path, array, change))
    np.testing.assert_array_equal(volume.array, array)
    assert volume.array.dtype == {np.int8: np.int16}.get(dtype, dtype)


def test_jpeg_with_losses_is_near_and_noted(tmp_path):
    plane = np.add.outer(np.arange(32), np.arange(24)).astype(np.uint8) * 2
    encode = lambda p: codecs.jpeg8_encode(p, level=95)  # noqa: E731
    paths = series(
        tmp_path, plane[None].repeat(3, 0), lambda ds, p: compressed(ds, encode(p), "1.2.840.10008.1.2.4.50")
    )
    volume = read(paths)
    assert np.abs(volume.array.astype(int) - plane).max() <= 4
    assert volume.notes == ("its pixels were compressed with losses",)


@pytest.mark.parametrize("name", ENCODERS)
@pytest.mark.parametrize("share", [0.4, 0.9, 0.99])
def test_streams_that_end_too_early_are_refused(tmp_path, name, share):
    syntax, encode = ENCODERS[name]

    def change(ds, plane):
        stream = encode(plane)
        return compressed(ds, stream[: int(len(stream) * share)], syntax)

    with pytest.raises(InputError, match="000: its compressed pixels are cut short"):
        read(series(tmp_path, voxels((3, 16, 24)), change))


@pytest.mark.parametrize("name", ENCODERS)
def test_streams_of_another_size_are_refused(tmp_path, name):
    syntax, encode = ENCODERS[name]
    with pytest.raises(InputError, match="another size"):
        read(series(tmp_path, voxels((3, 16, 24)), lambda ds, p: compressed(ds, encode(p[:, :16].copy()), syntax)))


def test_bits_around_the_value_are_left_out(tmp_path):
    array = np.random.default_rng(2).integers(-2048, 2048, (3, 5, 6)).astype(np.int16)
    with_overlay = ((array.view(np.uint16) & 0x0FFF) | 0xA000).view(np.int16)
    volume = read(series(tmp_path / "a", with_overlay, BitsStored=12, HighBit=11))
    np.testing.assert_array_equal(volume.array, array)
    shifted = (array.view(np.uint16) << 4).view(np.int16)
    np.testing.assert_array_equal(read(series(tmp_path / "b", shifted, BitsStored=12, HighBit=15)).array, array)


@pytest.mark.parametrize("signed", [False, True], ids=["unsigned", "signed"])
def test_memory_is_taken_only_where_a_bit_is_left_out(signed):
    form = pixels.PixelForm(2, 3, 16, 12, 11, signed, 1)
    first, last = form.range
    kept = np.array([[first, 0, last], [1, last, first]], np.int16 if signed else np.uint16)
    assert pixels._significant(kept, form) is kept
    for value in (first - 1, last + 1) if signed else (last + 1,):
        other = kept.copy()
        other[0, 1] = value  # a bit beside the stored ones
        expected = kept.copy()
        expected[0, 1] = last if value < first else first
        np.testing.assert_array_equal(pixels._significant(other, form), expected)
    high = pixels.PixelForm(2, 3, 16, 12, 15, signed, 1)
    np.testing.assert_array_equal(pixels._significant(np.full_like(kept, 16), high), np.ones_like(kept))


@pytest.mark.parametrize(
    ("slope", "intercept", "dtype"),
    [("1", "-1024", np.int32), ("2", "0", np.int32), ("0.5", "3", np.float32), ("1", "0", np.uint16), ("-1", "0", np.int32)],
    ids=str,
)  # fmt: skip
def test_rescaling_is_exact(tmp_path, slope, intercept, dtype):
    array = np.random.default_rng(3).integers(0, 65536, (3, 5, 6)).astype(np.uint16)
    volume = read(series(tmp_path, array, RescaleSlope=slope, RescaleIntercept=intercept))
    assert volume.array.dtype == dtype
    np.testing.assert_array_equal(volume.array, array * float(slope) + float(intercept))


def test_monochrome_1_is_not_inverted(tmp_path):
    array = voxels()
    paths = series(tmp_path, array, PhotometricInterpretation="MONOCHROME1")
    np.testing.assert_array_equal(read(paths).array, array)


@pytest.mark.parametrize(
    ("attributes", "words"),
    [
        ({"BitsStored": 17}, "stores 17 of 16 bits"),
        ({"BitsAllocated": 12, "BitsStored": 12, "HighBit": 11}, "12 of 12 bits"),
        ({"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB"}, "colours"),
        ({"NumberOfFrames": "3"}, "position|cut short"),
    ],
    ids=["stored", "allocated", "colours", "three frames"],
)
def test_kinds_that_are_not_read(tmp_path, attributes, words):
    with pytest.raises(InputError, match=words):
        read(save_series(tmp_path, voxels(), **attributes))


def test_a_number_of_frames_that_is_none(tmp_path):
    paths = save_series(tmp_path, voxels(), NumberOfFrames="1")
    paths[2].write_bytes(paths[2].read_bytes().replace(b"\x28\0\x08\0IS\x02\x001 ", b"\x28\0\x08\0IS\x02\0-1"))
    with pytest.raises(InputError, match=r"002\.dcm: NumberOfFrames is no number"):
        read(paths)


def test_an_unknown_syntax_is_named(tmp_path):
    def change(ds, plane):
        return compressed(ds, b"\0" * 20, "1.2.840.10008.1.2.4.102")

    with pytest.raises(InputError, match=r"transfer syntax 1\.2\.840\.10008\.1\.2\.4\.102"):
        read(series(tmp_path, voxels(), change))


def test_without_the_decoders_there_is_one_sentence_with_the_remedy(tmp_path, monkeypatch):
    syntax, encode = ENCODERS["jpeg-ls"]
    paths = series(tmp_path, voxels(), lambda ds, plane: compressed(ds, encode(plane), syntax))
    monkeypatch.setitem(__import__("sys").modules, "imagecodecs", None)
    with pytest.raises(InputError, match=r"pip install 'itk_infer\[dicom\]'"):
        read(paths)
