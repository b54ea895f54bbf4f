"""Images of formats that are not read are recognised, by name or by content; what is none stays unnamed."""

from __future__ import annotations

import gzip
import io

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image

from itk_infer.volume.other_formats import format_of_name, is_sidecar, other_format

ARRAY = np.zeros((3, 4, 5), np.int16)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("a.mgz", "FreeSurfer"),
        ("A.MGH", "FreeSurfer"),
        ("a.hdr", "pair"),
        ("a.IMG", "pair"),
        ("a.img.gz", "pair"),
        ("a.nii.bz2", "packed"),
        ("a.nii.xz", "packed"),
        ("a.mha.gz", "packed"),
        ("a.dcm.gz", "packed"),
        ("a.nii.zip", "archive"),
        ("a.tar.gz", "archive"),
        ("a.DCM", "DICOM"),
        ("a.ima", "DICOM"),
        ("a.gif", "picture"),
        ("a.JP2", "picture"),
        ("a.h5", "array"),
        ("a.raw", "raw"),
        ("a.mnc", "MINC"),
        ("a+orig.BRIK.gz", "AFNI"),
        ("a.gipl.gz", "another format"),
        ("a.zarr", "Zarr"),
    ],
)
def test_by_name(name, words):
    assert words in format_of_name(name).name


@pytest.mark.parametrize(
    "name",
    [
        "a.nii",
        "A.NII.GZ",
        "a.seg.nrrd",
        "a.json",
        "a.bval",
        "a.csv.gz",
        "a.TXT",
        "README",
        "v1.2",
        "1.2.840.113",
        "a.zz",
    ],
)
def test_names_that_say_nothing_of_the_kind(name):
    assert format_of_name(name) is None


@pytest.mark.parametrize(
    ("name", "known"), [("a.json", True), ("a.CSV.gz", True), ("a.nii", False), ("a.dcm", False), ("a", False)]
)
def test_sidecars(name, known):
    assert is_sidecar(name) == known


def nifti(packed=False, pair=False):
    image = (nib.Nifti1Pair if pair else nib.Nifti1Image)(ARRAY, np.eye(4))
    data = image.header.binaryblock + bytes(4) + ARRAY.tobytes()
    return gzip.compress(data) if packed else data


def picture(kind):
    stream = io.BytesIO()
    Image.new("L", (4, 4)).save(stream, kind)
    return stream.getvalue()


def array():
    stream = io.BytesIO()
    np.save(stream, ARRAY)
    return stream.getvalue()


def written(tmp_path, extension):
    path = tmp_path / f"written.{extension}"
    sitk.WriteImage(sitk.GetImageFromArray(ARRAY), str(path))
    return path.read_bytes()


CONTENTS = {
    "nifti": (lambda _: nifti(), "without its ending"),
    "packed nifti": (lambda _: nifti(packed=True), "without its ending"),
    "half a pair": (lambda _: nifti(pair=True), "pair"),
    "nrrd": (lambda folder: written(folder, "nrrd"), "without its ending"),
    "mha": (lambda folder: written(folder, "mha"), "without its ending"),
    "png": (lambda _: picture("PNG"), "picture"),
    "jpeg": (lambda _: picture("JPEG"), "picture"),
    "tiff": (lambda _: picture("TIFF"), "picture"),
    "numpy": (lambda _: array(), "array"),
}


@pytest.mark.parametrize("name", ["scan", "IM.0001", "a.part"])
@pytest.mark.parametrize("content", CONTENTS)
def test_by_content(tmp_path, content, name):
    make, words = CONTENTS[content]
    (tmp_path / name).write_bytes(make(tmp_path))
    assert words in other_format(tmp_path / name).name


@pytest.mark.parametrize(
    "content", [b"", b"notes of a person\n" * 99, b"\1" * 400], ids=["empty", "text", "bytes"]
)
def test_what_holds_no_image(tmp_path, content):
    (tmp_path / "notes").write_bytes(content)
    assert other_format(tmp_path / "notes") is None
    (tmp_path / "a.json").write_bytes(nifti())  # never opened
    assert other_format(tmp_path / "a.json") is None
