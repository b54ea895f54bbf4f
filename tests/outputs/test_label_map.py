from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from support.made_up import CODES, make_frame, ranges, slab_grid

from itk_infer.errors import OutputError
from itk_infer.outputs.label_map import LabelMapSink
from itk_infer.outputs.sink import OutputHeader, Sink
from itk_infer.volume.slab import DecidedSlab
from itk_infer.volume.volume import grid_of, image_of


def random_labels(size: tuple[int, int, int], values: tuple[int, ...], seed: int = 0) -> NDArray[np.uint16]:
    return np.random.default_rng(seed).choice(np.array([0, *values], np.uint16), size)


def fill(sink: LabelMapSink, array: NDArray[np.uint16], heights: list[int]) -> None:
    for first, last in ranges(len(array), heights):
        sink.write(DecidedSlab(first, array[first:last]))


@settings(max_examples=80, deadline=None)
@given(
    size=st.tuples(*[st.integers(1, 9)] * 3),
    code=st.sampled_from(CODES),
    heights=st.lists(st.integers(1, 5), min_size=1, max_size=4),
    seed=st.integers(0, 99),
)
def test_image_is_what_simpleitk_makes_of_the_whole(
    size: tuple[int, int, int], code: str, heights: list[int], seed: int
) -> None:
    array = random_labels(size, (1, 2), seed)
    sink = LabelMapSink(None, make_frame(size, code))
    fill(sink, array, heights)
    expected = sitk.DICOMOrient(image_of(array.astype(np.uint8), slab_grid(size)), code)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(sink.image), sitk.GetArrayFromImage(expected))
    assert grid_of(sink.image).same_as(grid_of(expected))


@pytest.mark.parametrize("extension", ["nii", "nii.gz", "mha", "nrrd", "seg.nrrd"])
@pytest.mark.parametrize("code", ["LPS", "AIR"])
def test_file(tmp_path: Path, extension: str, code: str) -> None:
    path = tmp_path / f"case.{extension}"
    sink: Sink = LabelMapSink(path, make_frame(code=code))
    assert not sink.needs_logits
    array = random_labels((9, 6, 7), (1, 2))
    fill(sink, array, [4])  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []
    assert sink.commit() == path
    sink.abort()
    assert list(tmp_path.iterdir()) == [path]
    read = sitk.ReadImage(str(path))
    expected = sitk.DICOMOrient(image_of(array.astype(np.uint8), slab_grid((9, 6, 7))), code)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(read), sitk.GetArrayFromImage(expected))
    assert grid_of(read).same_as(grid_of(expected))


@pytest.mark.parametrize(
    ("values", "pixel"), [((1, 255), sitk.sitkUInt8), ((1, 256), sitk.sitkUInt16), ((65_535,), sitk.sitkUInt16)]
)
def test_type_is_the_smallest_that_holds_the_table(values: tuple[int, ...], pixel: int) -> None:
    sink = LabelMapSink(None, make_frame(values=values))
    array = random_labels((9, 6, 7), values)
    fill(sink, array, [9])
    assert sink.image.GetPixelID() == pixel
    assert set(np.unique(sitk.GetArrayFromImage(sink.image))) == {0, *values}


def test_label_that_is_not_in_the_table_never_wraps_around() -> None:
    sink = LabelMapSink(None, make_frame(values=(1, 2)))
    with pytest.raises(RuntimeError, match="257"):
        sink.write(DecidedSlab(0, np.full((9, 6, 7), 257, np.uint16)))


@pytest.mark.parametrize(
    ("z0", "shape"), [(0, (2, 6, 7)), (4, (2, 6, 7)), (3, (7, 6, 7)), (3, (2, 7, 6)), (3, (2, 1, 7))]
)
def test_gap_repeat_overrun_and_wrong_plane_are_faults(z0: int, shape: tuple[int, int, int]) -> None:
    sink = LabelMapSink(None, make_frame())
    sink.write(DecidedSlab(0, np.zeros((3, 6, 7), np.uint8)))
    with pytest.raises(RuntimeError, match="plane 3"):
        sink.write(DecidedSlab(z0, np.zeros(shape, np.uint8)))


def test_missing_planes_are_a_fault(tmp_path: Path) -> None:
    sink = LabelMapSink(tmp_path / "case.mha", make_frame())
    sink.write(DecidedSlab(0, np.zeros((3, 6, 7), np.uint8)))
    with pytest.raises(RuntimeError, match="3 of 9"):
        sink.commit()
    assert list(tmp_path.iterdir()) == []


def test_without_a_path_commit_only_checks_that_all_came() -> None:
    sink = LabelMapSink(None, make_frame())
    with pytest.raises(RuntimeError, match="0 of 9"):
        sink.commit()
    fill(sink, random_labels((9, 6, 7), (1,)), [9])
    assert sink.commit() is None


def test_failed_commit_leaves_nothing(tmp_path: Path) -> None:
    sink = LabelMapSink(tmp_path / "absent" / "case.nii.gz", make_frame())
    fill(sink, random_labels((9, 6, 7), (1,)), [9])
    with pytest.raises(OutputError):
        sink.commit()
    sink.abort()
    assert list(tmp_path.iterdir()) == []


def keys_of(path: Path) -> dict[str, str]:
    image = sitk.ReadImage(str(path))
    return {key: image.GetMetaData(key) for key in image.GetMetaDataKeys() if key.startswith(("Seg", "itk_"))}


def test_segmentation_header_lists_every_label(tmp_path: Path) -> None:
    frame = make_frame(size=(9, 6, 7), code="ASR", values=(3, 300))  # the file is not of the slabs' size
    sink = LabelMapSink(tmp_path / "case.seg.nrrd", frame)
    fill(sink, np.zeros((9, 6, 7), np.uint16), [9])
    keys = keys_of(sink.commit())
    assert keys["Segmentation_MasterRepresentation"] == "Binary labelmap"
    assert keys["Segmentation_SourceRepresentation"] == "Binary labelmap"
    assert keys["Segmentation_ReferenceImageExtentOffset"] == "0 0 0"
    assert [keys[f"Segment{index}_LabelValue"] for index in range(2)] == ["3", "300"]
    assert [keys[f"Segment{index}_Name"] for index in range(2)] == ["label 3", "label 300"]
    assert [keys[f"Segment{index}_Layer"] for index in range(2)] == ["0", "0"]
    assert keys["Segment0_ID"] != keys["Segment1_ID"]
    np.testing.assert_allclose(
        [float(v) for v in keys["Segment0_Color"].split()], (230 / 255, 25 / 255, 75 / 255), atol=1e-6
    )
    x, y, z = sitk.ReadImage(str(tmp_path / "case.seg.nrrd")).GetSize()
    assert (x, y, z) != (7, 6, 9)
    assert keys["Segment1_Extent"] == f"0 {x - 1} 0 {y - 1} 0 {z - 1}"
    assert keys["itk_infer_model"] == "made up 1.0"
    assert "Segment2_ID" not in keys


def test_plain_nrrd_has_no_segments(tmp_path: Path) -> None:
    sink = LabelMapSink(tmp_path / "case.nrrd", make_frame())
    fill(sink, np.zeros((9, 6, 7), np.uint16), [9])
    assert keys_of(sink.commit()) == {"itk_infer_model": "made up 1.0"}


def test_input_frame_is_not_shared(tmp_path: Path) -> None:
    """Two sinks of one frame hold their own voxels."""
    frame: OutputHeader = make_frame()
    one, two = LabelMapSink(None, frame), LabelMapSink(None, frame)
    fill(one, np.ones((9, 6, 7), np.uint16), [9])
    fill(two, np.zeros((9, 6, 7), np.uint16), [9])
    assert sitk.GetArrayFromImage(one.image).min() == 1
    assert sitk.GetArrayFromImage(two.image).max() == 0
