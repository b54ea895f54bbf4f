"""Modality LUTs against pydicom's own application of them."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("pydicom")
from pydicom.dataset import Dataset
from pydicom.pixels import apply_modality_lut
from pydicom.uid import ExplicitVRBigEndian
from support.dicom_files import save, save_series, slice_of, voxels

from itk_infer.errors import InputError
from itk_infer.volume.dicom.reading import read_series
from itk_infer.volume.dicom.series_files import SeriesFiles


def read(paths):
    return read_series(SeriesFiles(tuple(paths))).array


def table(entries, first=0, bits=16, signed=False, count=None):
    item = Dataset()
    item.add_new("LUTDescriptor", "SS" if signed else "US", [count or len(entries) % 65536, first, bits])
    item.ModalityLUTType = "HU"
    data = np.asarray(entries, f"<u{(bits + 7) // 8}").tobytes()
    item.add_new("LUTData", "OW", data + b"\0" * (len(data) % 2))
    return [item]


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16])
@pytest.mark.parametrize(("size", "first", "bits"), [(40, 20, 16), (41, 0, 8), (120, 0, 12), (30, 5, 16)], ids=str)
def test_values_are_those_of_the_table(tmp_path, dtype, size, first, bits):
    rng = np.random.default_rng(size)
    array = voxels((3, 8, 9), dtype)
    entries = rng.integers(0, 1 << bits, size)
    lut = table(entries, first, bits, signed=np.dtype(dtype).kind == "i")
    found = read(save_series(tmp_path, array, ModalityLUTSequence=lut))
    np.testing.assert_array_equal(found, entries[np.clip(array.astype(int) - first, 0, size - 1)])
    if bits == 16:  # pydicom reads no others
        slices = [slice_of(0, plane, ModalityLUTSequence=lut) for plane in array]
        expected = [apply_modality_lut(plane, ds) for plane, ds in zip(array, slices)]
        np.testing.assert_array_equal(found, np.stack(expected))
    assert found.dtype == (np.uint8 if bits == 8 else np.uint16)


def test_stored_values_may_be_negative(tmp_path):
    array = np.arange(-20, 10, dtype=np.int16).reshape(3, 2, 5)
    found = read(save_series(tmp_path, array, ModalityLUTSequence=table(range(100, 120), -15, signed=True)))
    np.testing.assert_array_equal(found.ravel(), np.clip(np.arange(-20, 10) + 115, 100, 119))


def test_big_endian_files(tmp_path):
    paths = []
    for k, plane in enumerate(voxels((3, 4, 5), np.uint8)):
        ds = slice_of(k, plane)
        item = table(range(1000, 1200))[0]
        item.LUTData = np.arange(1000, 1200, dtype=">u2").tobytes()
        ds.ModalityLUTSequence = [item]
        ds.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
        paths.append(save(ds, tmp_path / f"{k}.dcm"))
    np.testing.assert_array_equal(read(paths), voxels((3, 4, 5), np.uint8) + np.uint16(1000))


def test_slices_with_a_table_and_without_make_floats(tmp_path):
    array = voxels((3, 4, 5), np.uint8)
    paths = [
        save(
            slice_of(k, plane, **({"ModalityLUTSequence": table(range(300, 500))} if k else {})), tmp_path / str(k)
        )
        for k, plane in enumerate(array)
    ]
    found = read(paths)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, array + np.array([0, 300, 300])[:, None, None])


@pytest.mark.parametrize(
    ("attributes", "says"),
    [
        pytest.param({"RescaleSlope": 2}, "beside a slope or intercept", id="slope"),
        pytest.param({"ModalityLUTSequence": table(range(9), count=12)}, "18 bytes where 12 entries", id="short"),
        pytest.param({"ModalityLUTSequence": [Dataset()]}, "is damaged", id="empty"),
    ],
)
def test_tables_that_cannot_hold_are_refused(tmp_path, attributes, says):
    given = {"ModalityLUTSequence": table(range(9)), **attributes}
    with pytest.raises(InputError, match=rf"000\.dcm: its Modality LUT .*{says}"):
        read(save_series(tmp_path, voxels(), **given))
