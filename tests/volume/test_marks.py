"""Label maps are known by what their headers say; images of other programs are not taken for any."""

from __future__ import annotations

import gzip
import os

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from itk_infer.outputs.label_map import LabelMapSink
from itk_infer.outputs.sink import OutputHeader
from itk_infer.spec import Label
from itk_infer.volume.grid import Grid
from itk_infer.volume.marks import detached_data, label_mark, own_keys
from itk_infer.volume.slab import DecidedSlab
from itk_infer.volume.volume import image_of

SIZE = (4, 5, 6)
GRID = Grid(SIZE, (1.0, 1.0, 1.0))


def scan(path, **keys):
    image = image_of(np.arange(120, dtype=np.int16).reshape(SIZE), GRID)
    for key, value in keys.items():
        image.SetMetaData(key, value)
    sitk.WriteImage(image, str(path))
    return path


@pytest.mark.parametrize("extension", ["nii", "nii.gz", "mha", "mhd", "nrrd", "nhdr"])
def test_a_scan_is_none(tmp_path, extension):
    assert label_mark(scan(tmp_path / f"a.{extension}")) == ""


@pytest.mark.parametrize("extension", ["nii", "nii.gz", "mha", "nrrd", "seg.nrrd"])
def test_every_format_that_is_written_is_known_again(tmp_path, extension):
    grid, reorientation = GRID.reoriented("LPI")
    frame = OutputHeader(
        grid, reorientation, SIZE, (Label(1, "one", "#e6194b", 1),), 2, {"model": "", "itk_infer": "1.2.3"}
    )
    sink = LabelMapSink(tmp_path / f"a.{extension}", frame)
    sink.write(DecidedSlab(0, np.ones(SIZE, np.uint8)))
    assert label_mark(sink.commit()) != ""


@pytest.mark.parametrize("order", ["<", ">"], ids=["little", "big"])
@pytest.mark.parametrize("extension", ["nii", "nii.gz"])
@pytest.mark.parametrize(
    ("intent", "known"), [("label", True), ("none", False), ("z score", False), ("vector", False)]
)
def test_nifti_intents_as_nibabel_writes_them(tmp_path, extension, order, intent, known):
    image = nib.Nifti1Image(np.zeros(SIZE, np.uint8), np.eye(4), nib.Nifti1Header(endianness=order))
    image.header.set_intent(intent, allow_unknown=True)
    nib.save(image, tmp_path / f"a.{extension}")
    assert bool(label_mark(tmp_path / f"a.{extension}")) == known


def test_a_segmentation_of_slicer(tmp_path):
    assert "3D Slicer" in label_mark(scan(tmp_path / "a.seg.nrrd", Segment0_ID="Segment_1", Segment0_Name="liver"))
    assert label_mark(scan(tmp_path / "b.nrrd", Segments_of_the_patient="7")) == ""


@pytest.mark.parametrize("content", [b"", b"x", gzip.compress(b"x"), b"\x1f\x8b broken", os.urandom(999)],
                         ids=["empty", "short", "packed", "torn", "noise"])  # fmt: skip
@pytest.mark.parametrize("extension", ["nii", "nii.gz", "mha", "nrrd"])
def test_what_cannot_be_read_says_nothing(tmp_path, extension, content):
    path = tmp_path / f"a.{extension}"
    path.write_bytes(content)
    assert label_mark(path) == ""


@pytest.mark.skipif(os.name != "posix", reason="pipes are elsewhere of another kind")
def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.nii")
    assert label_mark(tmp_path / "a.nii") == ""
    assert label_mark(tmp_path / "absent.nii") == ""


def test_own_keys_are_short_lines():
    assert own_keys({"a": "x\n y", "b": " ", "c": "z" * 300}) == {"itk_infer_a": "x y", "itk_infer_c": "z" * 200}


@pytest.mark.parametrize(
    ("name", "text", "data"),
    [
        ("a.mhd", "NDims = 3\nElementDataFile = a.img\n", ("a.img",)),
        ("a.mhd", "NDims = 3\nElementDataFile: b\n", ("b",)),
        ("a.mhd", "NDims = 3\nElementDataFile = LIST\n1.raw\n2.raw\n", ("1.raw", "2.raw")),
        ("a.nhdr", "NRRD0004\ntype: short\ndata file: ./a.dat\n", ("a.dat",)),
        ("a.nhdr", "NRRD0004\ntype: short\ndatafile: LIST\nx.1\nx.2\n", ("x.1", "x.2")),
        ("a.nhdr", "NRRD0004\ntype: short\n", ()),
    ],
    ids=["mhd", "colon", "list", "nhdr", "nhdr list", "none"],
)
def test_the_data_files_of_a_header(tmp_path, name, text, data):
    (tmp_path / name).write_text(text)
    assert detached_data(tmp_path / name) == data


@pytest.mark.parametrize(("name", "ending"), [("a.mhd", ".zraw"), ("a.nhdr", ".raw.gz")])
def test_the_data_files_that_simpleitk_names(tmp_path, name, ending):
    sitk.WriteImage(image_of(np.zeros(SIZE, np.int16), GRID), str(tmp_path / name), useCompression=True)
    (data,) = detached_data(tmp_path / name)
    assert data.endswith(ending)
    assert (tmp_path / data).exists()
