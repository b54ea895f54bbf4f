"""Segmentations of 3D Slicer with layers: labels that overlap are compared each by itself."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk

from itk_infer.cli.main import main
from itk_infer.errors import InputError
from itk_infer.evaluate.case import CaseTask, evaluate_case
from itk_infer.evaluate.layers import read_layers
from itk_infer.evaluate.metrics import MetricSettings
from itk_infer.evaluate.pairs import Pair
from itk_infer.outputs.label_map import LabelMapSink
from itk_infer.outputs.layered_label_map import LayeredSegmentationSink
from itk_infer.outputs.sink import OutputHeader
from itk_infer.spec import Label
from itk_infer.testing.made_up import slab_grid
from itk_infer.volume.slab import DecidedSlab
from itk_infer.volume.volume import image_of

SIZE = (8, 10, 12)
LABELS = (
    Label(1, "organ", "#ff0000", 0),
    Label(2, "lesion, small", "#00ff00", 1),
    Label(3, "other", "#0000ff", 2),
)


def masks(shift=0):
    """A lesion within an organ, and a third structure elsewhere."""
    found = np.zeros((3, *SIZE), np.bool_)
    found[0, 1:6, 1:7, 1 : 7 + shift] = True
    found[1, 2:4, 2 : 4 + shift, 2:4] = True
    found[2, 6:8, 7:10, 8:12] = True
    return found


def write(path, found, code="LPI"):
    grid, turn = slab_grid(SIZE).reoriented(code)
    sink = LayeredSegmentationSink(path, OutputHeader(grid, turn, SIZE, LABELS, 3, overlaps=True))
    sink.write(DecidedSlab(0, np.zeros(SIZE, np.uint8), found))
    sink.commit()
    return path


def dice(one, other):
    return 2 * (one & other).sum() / (one.sum() + other.sum())


def compared(mask, truth, mask_table=(), truth_table=()):
    return evaluate_case(CaseTask(Pair("a", mask, truth), mask_table, truth_table, MetricSettings()))


@pytest.mark.parametrize("code", ["LPI", "RAS"])
def test_both_in_layers(tmp_path, code):
    ours, theirs = masks(), masks(1)
    found = compared(write(tmp_path / "m.seg.nrrd", ours, code), write(tmp_path / "t.seg.nrrd", theirs))
    assert [score.name for score in found.labels] == [label.name for label in LABELS]
    assert [score.dice for score in found.labels] == pytest.approx([dice(*pair) for pair in zip(ours, theirs)])
    assert {score.matched_by for score in found.labels} == {"name"}
    voxel_ml = 1.5 * 0.8 * 0.7 / 1000
    assert [score.mask_ml for score in found.labels] == pytest.approx(ours.sum(axis=(1, 2, 3)) * voxel_ml)
    assert found.labels[0].hd == pytest.approx(0.7, abs=0.2)  # one voxel along X


def test_a_plain_truth(tmp_path):
    """In a plain label map the lesion covers the organ, which is then smaller."""
    ours, theirs = masks(), masks(1)
    grid = slab_grid(SIZE)
    array = np.zeros(SIZE, np.uint8)
    for label, mask in zip(LABELS, theirs, strict=True):
        array[mask] = label.value
    sitk.WriteImage(image_of(array, grid), str(tmp_path / "t.mha"))
    found = compared(write(tmp_path / "m.seg.nrrd", ours), tmp_path / "t.mha")
    painted = [array == label.value for label in LABELS]
    assert [score.dice for score in found.labels] == pytest.approx([dice(*pair) for pair in zip(ours, painted)])


def rewritten(source, path, change):
    """The same with another header."""
    data = source.read_bytes()
    head, _, rest = data.partition(b"\n\n")
    path.write_bytes(change(head.decode()).encode() + b"\n\n" + rest)
    return path


def test_layers_that_use_the_same_value(tmp_path):
    """3D Slicer numbers the segments of each layer by itself."""
    image = sitk.ReadImage(str(write(tmp_path / "a.seg.nrrd", masks())))
    keys = {key: image.GetMetaData(key) for key in image.GetMetaDataKeys()}
    array = sitk.GetArrayFromImage(image)
    assert array.shape == (*SIZE, 2)
    array[..., 1][array[..., 1] == 2] = 1
    other = sitk.GetImageFromArray(array, isVector=True)
    other.CopyInformation(image)
    for key, value in {**keys, "Segment1_LabelValue": "1"}.items():
        other.SetMetaData(key, value)
    sitk.WriteImage(other, str(tmp_path / "b.seg.nrrd"), useCompression=True)
    found = read_layers(tmp_path / "b.seg.nrrd")
    assert {value: label.name for value, label in found.table.items()} == {
        1: "organ",
        2: "lesion, small",
        3: "other",
    }
    scores = compared(tmp_path / "b.seg.nrrd", write(tmp_path / "t.seg.nrrd", masks())).labels
    assert [score.dice for score in scores] == [1.0, 1.0, 1.0]


def test_a_missed_label_and_a_false_alarm(tmp_path):
    ours, theirs = masks(), masks()
    ours[1], theirs[2] = False, False
    scores = compared(write(tmp_path / "m.seg.nrrd", ours), write(tmp_path / "t.seg.nrrd", theirs)).labels
    assert [score.dice for score in scores] == [1.0, 0.0, 0.0]
    assert [score.state for score in scores] == ["found", "missed", "false alarm"]


def test_other_files_of_four_axes_are_refused(tmp_path):
    written = write(tmp_path / "a.seg.nrrd", masks())
    bare = rewritten(written, tmp_path / "b.nrrd", lambda head: "\n".join(head.split("\n")[:12]))
    with pytest.raises(InputError, match=r"four axes and no segments of 3D Slicer"):
        read_layers(bare)
    wrong = rewritten(
        written, tmp_path / "c.seg.nrrd", lambda head: head.replace("Segment1_Layer:=1", "Segment1_Layer:=7")
    )
    with pytest.raises(InputError, match="has no layer 7"):
        read_layers(wrong)
    broken = tmp_path / "d.seg.nrrd"
    broken.write_bytes(written.read_bytes()[:-40])
    with pytest.raises(InputError, match="cannot be read"):
        read_layers(broken)


def test_a_header_of_300_segments(tmp_path):
    """It is longer than what is read of a file to recognise it."""
    grid = slab_grid(SIZE)
    labels = tuple(Label(value, f"structure {value}", "#ff0000", value - 1) for value in range(1, 301))
    array = np.zeros(SIZE, np.uint16)
    array.ravel()[:300] = np.arange(1, 301)
    header = OutputHeader(grid, grid.reoriented(None)[1], SIZE, labels, 300)
    for name in ("m.seg.nrrd", "t.seg.nrrd"):
        sink = LabelMapSink(tmp_path / name, header)
        sink.write(DecidedSlab(0, array))
        sink.commit()
    assert (tmp_path / "m.seg.nrrd").read_bytes().find(b"\n\n") > 1 << 16
    found = compared(tmp_path / "m.seg.nrrd", tmp_path / "t.seg.nrrd")
    assert [score.name for score in found.labels] == [label.name for label in labels]
    assert {score.dice for score in found.labels} == {1.0}


def test_the_command(tmp_path, capfd):
    for folder, shift in (("masks", 0), ("truths", 1)):
        (tmp_path / folder).mkdir()
        write(tmp_path / folder / "a.seg.nrrd", masks(shift))
    assert (
        main(("evaluate", str(tmp_path / "masks"), str(tmp_path / "truths"), "--tolerance", "1", "--workers", "1"))
        == 0
    )
    assert f"lesion, small  Dice {dice(masks()[1], masks(1)[1]):.3f}" in capfd.readouterr().out
