"""Files of many frames: positions per frame, compressed frames in one or several fragments, contradictions."""

from __future__ import annotations

import re

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from support.dicom_files import AXIAL, save, slice_of, voxels

from itk_infer.errors import InputError
from itk_infer.spec.series_rule import parse_rules
from itk_infer.volume.dicom.reading import read_series
from itk_infer.volume.dicom.series_files import SeriesFiles

JPEG_LS = "1.2.840.10008.1.2.4.80"


def enhanced(array, order, *, echoes=None):
    """An enhanced MR with the slices in this order."""
    ds = slice_of(0, array[0])
    ds.SOPClassUID = "1.2.840.10008.5.1.4.1.1.4.1"
    for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"):
        delattr(ds, keyword)
    shared, measures, plane = Dataset(), Dataset(), Dataset()
    measures.PixelSpacing, plane.ImageOrientationPatient = ["1.2", "1"], list(AXIAL)
    shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = Sequence([measures]), Sequence([plane])
    ds.SharedFunctionalGroupsSequence = Sequence([shared])
    frames = []
    for index, k in enumerate(order):
        frame, place, scaling, echo = Dataset(), Dataset(), Dataset(), Dataset()
        place.ImagePositionPatient = [0, 0, 2 * k]
        scaling.RescaleSlope, scaling.RescaleIntercept = "1", str(10 * k)
        frame.PlanePositionSequence = Sequence([place])
        frame.PixelValueTransformationSequence = Sequence([scaling])
        if echoes:
            echo.EchoTime = str(echoes[index])
            frame.MREchoSequence = Sequence([echo])
        frames.append(frame)
    ds.PerFrameFunctionalGroupsSequence = Sequence(frames)
    ds.NumberOfFrames = len(order)
    ds.PixelData = array[list(order)].tobytes()
    return ds


def read(path, rule=None):
    instances = parse_rules({"instances": rule}, "test")[0].instances if rule else ()
    return read_series(SeriesFiles((path,), instances))


def test_frames_are_ordered_and_scaled_by_their_own_groups(tmp_path):
    array = voxels()
    volume = read(save(enhanced(array, (3, 0, 4, 1, 2)), tmp_path / "a.dcm"))
    np.testing.assert_array_equal(volume.array, array + np.arange(0, 50, 10)[:, None, None])
    assert volume.grid.spacing == (2.0, 1.2, 1.0)
    assert volume.grid.origin_xyz == (0.0, 0.0, 0.0)


@pytest.mark.parametrize("fragments", [1, 3])
@pytest.mark.parametrize("has_table", [True, False])
def test_compressed_frames(tmp_path, fragments, has_table):
    codecs = pytest.importorskip("imagecodecs")
    array = voxels()
    ds = enhanced(array, range(5))
    ds.file_meta.TransferSyntaxUID = JPEG_LS
    streams = [codecs.jpegls_encode(plane) for plane in array]
    ds.PixelData = encapsulate(streams, fragments_per_frame=fragments, has_bot=has_table)
    ds["PixelData"].VR, ds["PixelData"].is_undefined_length = "OB", True
    path = save(ds, tmp_path / "a.dcm")
    if fragments > 1 and not has_table:
        with pytest.raises(InputError, match="cannot be divided into its frames"):
            read(path)
        return
    np.testing.assert_array_equal(read(path).array, array + np.arange(0, 50, 10)[:, None, None])
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(InputError, match="cut short"):
        read(path)


def test_several_volumes_in_one_file(tmp_path):
    array = np.concatenate((voxels((3, 4, 4)), voxels((3, 4, 4), seed=1)))
    ds = enhanced(array, range(6), echoes=(5, 5, 5, 9, 9, 9))
    for k, frame in enumerate(ds.PerFrameFunctionalGroupsSequence):
        frame.PlanePositionSequence[0].ImagePositionPatient = [0, 0, 2 * (k % 3)]
        frame.PixelValueTransformationSequence[0].RescaleIntercept = "0"
    path = save(ds, tmp_path / "a.dcm")
    with pytest.raises(InputError, match=re.escape("they differ in EchoTime (5 and 9)")):
        read(path)
    second = read(path, {"EchoTime": 9})
    np.testing.assert_array_equal(second.array, array[3:])
    assert second.sha256 != read(path, {"EchoTime": 5}).sha256
    with pytest.raises(InputError, match="none of its 6 slices meets"):
        read(path, {"EchoTime": 7})


def test_contradictions(tmp_path):
    ds = enhanced(voxels(), range(5))
    ds.PerFrameFunctionalGroupsSequence = ds.PerFrameFunctionalGroupsSequence[:4]
    with pytest.raises(InputError, match="5 frames by NumberOfFrames and 4 by its groups"):
        read(save(ds, tmp_path / "a.dcm"))
    ds = enhanced(voxels(), range(5))
    ds.NumberOfFrames, ds.PerFrameFunctionalGroupsSequence = 8, [*ds.PerFrameFunctionalGroupsSequence] * 2
    ds.PerFrameFunctionalGroupsSequence = ds.PerFrameFunctionalGroupsSequence[:8]
    with pytest.raises(InputError, match="cut short"):
        read(save(ds, tmp_path / "b.dcm"))
