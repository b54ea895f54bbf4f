from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from support.made_up import CODES, make_frame, ranges, slab_grid

from itk_infer.outputs.layered_label_map import LayeredSegmentationSink
from itk_infer.outputs.sink import OutputHeader, Sink
from itk_infer.volume.slab import DecidedSlab
from itk_infer.volume.volume import grid_of, image_of

SIZE = (9, 6, 7)


def write(path: Path, frame: OutputHeader, masks: NDArray[np.bool_], heights: list[int]) -> sitk.Image:
    sink: Sink = LayeredSegmentationSink(path, frame)
    for first, last in ranges(masks.shape[1], heights):
        labels = np.zeros((last - first, *masks.shape[2:]), np.uint8)
        sink.write(DecidedSlab(first, labels, masks[:, first:last]))
    assert sink.commit() == path
    sink.abort()
    assert list(path.parent.iterdir()) == [path]
    return sitk.ReadImage(str(path))


def segments(image: sitk.Image) -> list[NDArray[np.bool_]]:
    """The segments as a reader of the format finds them: by their layer and label value."""
    array = sitk.GetArrayFromImage(image)
    layers = array[..., None] if image.GetNumberOfComponentsPerPixel() == 1 else array
    found = []
    while image.HasMetaDataKey(f"Segment{len(found)}_ID"):
        key = f"Segment{len(found)}_"
        layer, value = (int(image.GetMetaData(key + name)) for name in ("Layer", "LabelValue"))
        found.append(layers[..., layer] == value)
    return found


@settings(max_examples=60, deadline=None)
@given(
    size=st.tuples(*[st.integers(1, 9)] * 3),
    code=st.sampled_from(CODES),
    labels=st.integers(1, 5),
    density=st.sampled_from([0.01, 0.1, 0.6]),
    heights=st.lists(st.integers(1, 5), min_size=1, max_size=3),
    seed=st.integers(0, 99),
)
def test_every_mask_comes_back(
    tmp_path_factory: pytest.TempPathFactory,
    size: tuple[int, int, int],
    code: str,
    labels: int,
    density: float,
    heights: list[int],
    seed: int,
) -> None:
    masks = np.random.default_rng(seed).random((labels, *size)) < density
    frame = make_frame(size, code, values=tuple(range(1, labels + 1)))
    image = write(tmp_path_factory.mktemp("case") / "case.seg.nrrd", frame, masks, heights)
    found = segments(image)
    assert len(found) == labels
    for mask, segment in zip(masks, found, strict=True):
        expected = sitk.DICOMOrient(image_of(mask.astype(np.uint8), slab_grid(size)), code)
        np.testing.assert_array_equal(segment, sitk.GetArrayFromImage(expected))
        assert grid_of(image).same_as(grid_of(expected))


def test_labels_that_never_meet_share_a_layer(tmp_path: Path) -> None:
    masks = np.zeros((4, *SIZE), bool)
    masks[0, 0:4] = True
    masks[1, 3:6] = True  # meets 0, in another slab than where 0 begins
    masks[2, 7:8] = True  # meets nobody
    masks[3, 5:9] = True  # meets 1 and 2
    image = write(tmp_path / "case.seg.nrrd", make_frame(SIZE, values=(1, 2, 3, 4)), masks, [3])
    assert [image.GetMetaData(f"Segment{index}_Layer") for index in range(4)] == ["0", "1", "0", "2"]
    assert image.GetNumberOfComponentsPerPixel() == 3
    header = (tmp_path / "case.seg.nrrd").read_bytes().split(b"\n\n")[0]
    assert b"kinds: list   domain domain domain" in header


@pytest.mark.parametrize("values", [(1, 2), (1, 300)])
def test_one_layer_is_a_plain_label_map(tmp_path: Path, values: tuple[int, int]) -> None:
    masks = np.zeros((2, *SIZE), bool)
    masks[0, :, :, :3] = True
    masks[1, :, :, 3:] = True
    image = write(tmp_path / "case.seg.nrrd", make_frame(SIZE, "LPS", values=values), masks, [4])
    assert image.GetNumberOfComponentsPerPixel() == 1
    assert image.GetDimension() == 3
    array = sitk.GetArrayFromImage(image)
    assert set(np.unique(array[:, :, :3])) == {values[0]}
    assert set(np.unique(array[:, :, 3:])) == {values[1]}


def test_empty_masks_keep_their_names(tmp_path: Path) -> None:
    image = write(tmp_path / "case.seg.nrrd", make_frame(SIZE), np.zeros((2, *SIZE), bool), [4])
    assert [image.GetMetaData(f"Segment{index}_Name") for index in range(2)] == ["label 1", "label 2"]
    assert not sitk.GetArrayFromImage(image).any()


def test_slabs_without_masks_gaps_and_missing_planes_are_faults(tmp_path: Path) -> None:
    sink = LayeredSegmentationSink(tmp_path / "case.seg.nrrd", replace(make_frame(SIZE), overlaps=True))
    labels = np.zeros((3, *SIZE[1:]), np.uint8)
    with pytest.raises(RuntimeError, match="masks"):
        sink.write(DecidedSlab(0, labels))
    with pytest.raises(RuntimeError, match="2 labels"):
        sink.write(DecidedSlab(0, labels, np.zeros((1, 3, *SIZE[1:]), bool)))
    with pytest.raises(RuntimeError, match="plane 0"):
        sink.write(DecidedSlab(1, labels, np.zeros((2, 3, *SIZE[1:]), bool)))
    sink.write(DecidedSlab(0, labels, np.zeros((2, 3, *SIZE[1:]), bool)))
    with pytest.raises(RuntimeError, match="3 of 9"):
        sink.commit()
    sink.abort()
    assert list(tmp_path.iterdir()) == []
