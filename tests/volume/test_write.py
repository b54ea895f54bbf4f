from __future__ import annotations

import gzip
import os
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk

from itk_infer.errors import OutputError
from itk_infer.volume import write_nifti
from itk_infer.volume.grid import Grid
from itk_infer.volume.marks import own_keys
from itk_infer.volume.volume import grid_of, image_of
from itk_infer.volume.write import write_image, write_volume

FORMATS = ["nii", "nii.gz", "mha", "nrrd", "seg.nrrd"]
OBLIQUE = (0.8, 0.6, 0.0, -0.6, 0.8, 0.0, 0.0, 0.0, 1.0)


def label_image(dtype: type = np.uint8, size: tuple[int, int, int] = (5, 6, 7)) -> sitk.Image:
    highest = 3 if dtype is np.uint8 else 40_000
    array = np.random.default_rng(0).integers(0, highest + 1, size).astype(dtype)
    return image_of(array, Grid(size, (1.5, 0.8, 0.7), (-312.7, 812.3, 1500.123), OBLIQUE))


def layered_image() -> sitk.Image:
    return sitk.Compose([label_image(), label_image() > 1])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("extension", FORMATS)
def test_written_image_holds_voxels_and_place(tmp_path: Path, extension: str, dtype: type) -> None:
    image = label_image(dtype)
    final = tmp_path / f"case.{extension}"
    write_image(image, final)
    read = sitk.ReadImage(str(final))
    assert read.GetPixelID() == image.GetPixelID()
    np.testing.assert_array_equal(sitk.GetArrayFromImage(read), sitk.GetArrayFromImage(image))
    assert grid_of(read).same_as(grid_of(image))
    assert list(tmp_path.iterdir()) == [final]


def test_nifti_is_read_alike_by_another_library(tmp_path: Path) -> None:
    image = label_image()
    write_image(image, tmp_path / "case.nii.gz")
    other = nibabel.load(tmp_path / "case.nii.gz")
    np.testing.assert_array_equal(np.asarray(other.dataobj).T, sitk.GetArrayFromImage(image))
    x, y, z = image.TransformIndexToPhysicalPoint((6, 5, 4))
    np.testing.assert_allclose(other.affine @ (6, 5, 4, 1), (-x, -y, z, 1), atol=1e-3)


@pytest.mark.parametrize("extension", ["nii.gz", "mha", "nrrd"])
def test_files_are_compressed(tmp_path: Path, extension: str) -> None:
    write_image(sitk.Image(64, 64, 64, sitk.sitkUInt8), tmp_path / f"case.{extension}")
    assert (tmp_path / f"case.{extension}").stat().st_size < 64**3 / 50


@pytest.mark.parametrize("extension", FORMATS)
@pytest.mark.parametrize("size", [(1, 4, 5), (4, 1, 1), (1, 1, 1)])
def test_flat_images(tmp_path: Path, extension: str, size: tuple[int, int, int]) -> None:
    image = label_image(size=size)
    write_image(image, tmp_path / f"flat.{extension}")
    read = sitk.ReadImage(str(tmp_path / f"flat.{extension}"))
    assert read.GetSize() == size[::-1]
    np.testing.assert_allclose(read.GetSpacing(), image.GetSpacing(), rtol=1e-6)


@pytest.mark.parametrize("extension", FORMATS)
def test_direction_with_the_rounding_of_scanners_is_no_failure(tmp_path: Path, extension: str) -> None:
    image = label_image(size=(40, 300, 300))
    rounded = np.array([0.9998, 0.0175, 0.0, -0.0175, 0.9998, 0.0, 0.0, 0.0, 1.0])
    image.SetDirection(rounded)
    write_image(image, tmp_path / f"case.{extension}")


def test_layers_are_a_list_in_the_header_and_components_in_the_image(tmp_path: Path) -> None:
    image = layered_image()
    write_image(image, tmp_path / "case.seg.nrrd")
    header = (tmp_path / "case.seg.nrrd").read_bytes().split(b"\n\n")[0].decode().splitlines()
    kinds = next(line for line in header if line.startswith("kinds: "))
    assert kinds.split()[1:] == ["list", "domain", "domain", "domain"]
    read = sitk.ReadImage(str(tmp_path / "case.seg.nrrd"))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(read), sitk.GetArrayFromImage(image))
    assert grid_of(read).same_as(grid_of(image))


def test_metadata_stay_in_nrrd_only_and_in_the_image(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    image = label_image()
    write_image(image, tmp_path / "first.nii")
    image = sitk.ReadImage(str(tmp_path / "first.nii"))  # brings keys that MetaImageIO warns of
    image.SetMetaData("Segment0_Name", "über")
    for extension in FORMATS:
        write_image(image, tmp_path / f"case.{extension}")
    assert capfd.readouterr().err == ""
    assert sitk.ReadImage(str(tmp_path / "case.nrrd")).GetMetaData("Segment0_Name") == "über"
    assert b"Segment0_Name" not in (tmp_path / "case.mha").read_bytes()
    assert image.GetMetaData("Segment0_Name") == "über"


@pytest.mark.parametrize("extension", ["nii", "nii.gz"])
def test_nifti_says_that_it_is_a_label_map(tmp_path: Path, extension: str) -> None:
    """By the intent code of the standard, as nibabel reads it; the rest of the header is SimpleITK's."""
    image = label_image()
    write_image(image, tmp_path / f"case.{extension}")
    sitk.WriteImage(image, str(tmp_path / f"plain.{extension}"))
    header, plain = (nibabel.load(tmp_path / f"{stem}.{extension}").header for stem in ("case", "plain"))
    assert header.get_intent()[0] == "label"
    for key in plain:
        if header[key].dtype.kind == "f":  # SimpleITK takes the affine from the rounded quaternion
            np.testing.assert_allclose(header[key], plain[key], rtol=1e-6, err_msg=key)
        elif key != "intent_code":
            assert header[key] == plain[key] if header[key].ndim == 0 else (header[key] == plain[key]).all(), key
    assert len(list(tmp_path.iterdir())) == 2


def test_gzip_holds_neither_name_nor_time(tmp_path: Path) -> None:
    write_image(label_image(), tmp_path / "case.nii.gz")
    flags, time = (tmp_path / "case.nii.gz").read_bytes()[3], (tmp_path / "case.nii.gz").read_bytes()[4:8]
    assert (flags, time) == (0, bytes(4))


def test_keys_of_the_program_reach_metaimage(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    image = label_image()
    for key, value in own_keys({"model": "über\nlines", "empty": "", "long": "x" * 900}).items():
        image.SetMetaData(key, value)
    write_image(image, tmp_path / "case.mha")
    assert capfd.readouterr().err == ""
    header = (tmp_path / "case.mha").read_bytes().split(b"ElementDataFile")[0].decode().splitlines()
    own = [line for line in header if line.startswith("itk_infer")]
    assert sorted(own) == [f"itk_infer_long = {'x' * 200}", "itk_infer_model = über lines"]


def test_file_of_the_other_nifti_extension_does_not_fool_reading_back(tmp_path: Path) -> None:
    write_image(label_image(size=(2, 2, 2)), tmp_path / "case.nii")
    write_image(label_image(), tmp_path / "case.nii.gz")
    assert nibabel.load(tmp_path / "case.nii.gz").shape == (7, 6, 5)


@pytest.mark.skipif(os.name == "nt", reason="links need privileges on Windows")
@pytest.mark.parametrize("extension", FORMATS)
def test_link_is_replaced_not_followed(tmp_path: Path, extension: str) -> None:
    target = tmp_path / f"precious.{extension}"
    target.write_text("precious")
    final = tmp_path / f"case.{extension}"
    final.symlink_to(target)
    write_image(label_image(), final)
    assert target.read_text() == "precious"
    assert not final.is_symlink()


@pytest.mark.parametrize("extension", FORMATS)
def test_longest_name(tmp_path: Path, extension: str) -> None:
    final = tmp_path / f"{'x' * (254 - len(extension))}.{extension}"
    write_image(label_image(), final)
    assert list(tmp_path.iterdir()) == [final]


def test_unknown_format_and_missing_folder_are_output_errors(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(OutputError, match=r"case\.docx"):
        write_image(label_image(), tmp_path / "case.docx")
    for extension in FORMATS:
        with pytest.raises(OutputError, match="the folder .*absent is not there"):
            write_image(label_image(), tmp_path / "absent" / f"case.{extension}")
    assert capfd.readouterr().err == ""


@pytest.mark.skipif(sys.platform != "linux", reason="such names exist on Linux only")
def test_name_that_would_abort_simpleitk_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="UTF-8"):
        write_image(label_image(), tmp_path / os.fsdecode(b"\xff.nii"))


FULL_DISK = """
import resource, sys
from pathlib import Path
import numpy as np, SimpleITK as sitk
from itk_infer.errors import OutputError
from itk_infer.volume.write import write_image
array = np.random.default_rng(0).integers(0, 256, (40, 40, 40)).astype(np.uint8)
images = {1: sitk.GetImageFromArray(array), 2: sitk.Compose([sitk.GetImageFromArray(array)] * 2)}
sys.dont_write_bytecode = True  # it would be cut off at the limit, too, and stay
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
for name, components in (name.split(":") for name in sys.argv[2:]):
    try:
        write_image(images[int(components)], Path(sys.argv[1], name))
    except OutputError as error:
        print(error)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs RLIMIT_FSIZE")
def corrupt(monkeypatch: pytest.MonkeyPatch, change: Callable[[bytes], bytes]) -> None:
    """Change the bytes of every file between writing and reading back."""
    for module, name in ((write_nifti, "write_file"), (sitk, "WriteImage")):
        original = getattr(module, name)

        def changes(*words: Any, original: Callable[..., None] = original, **options: Any) -> None:
            original(*words, **options)
            path = Path(next(word for word in words if isinstance(word, str | Path)))
            path.write_bytes(change(path.read_bytes()))

        monkeypatch.setattr(module, name, changes)


def test_full_disk_is_an_error_in_every_format_and_leaves_nothing(tmp_path: Path) -> None:
    for extension in FORMATS:
        (tmp_path / f"former.{extension}").write_text("former")
    names = [f"{stem}.{extension}:1" for extension in FORMATS for stem in ("case", "former")]
    names.append("layers.seg.nrrd:2")
    child = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(tmp_path), *names],
        capture_output=True,
        text=True,
        check=True,
        timeout=600,
    )
    messages = child.stdout.splitlines()
    assert [Path(message.split(": ")[0]).name for message in messages] == [n.split(":")[0] for n in names]
    told = ("is the disk full?", "larger than this file system")  # of SimpleITK, and of the system
    assert all(any(words in message for words in told) for message in messages)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(f"former.{e}" for e in FORMATS)
    assert all(path.read_text() == "former" for path in tmp_path.iterdir())


@pytest.mark.parametrize("position", [0.02, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("extension", FORMATS)
def test_byte_flipped_on_the_way_to_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, extension: str, position: float
) -> None:
    image = label_image(size=(20, 30, 40))

    def flipped(data: bytes) -> bytes:
        changed = bytearray(data)
        changed[int(position * (len(data) - 1))] ^= 0x10
        return bytes(changed)

    corrupt(monkeypatch, flipped)
    final = tmp_path / f"case.{extension}"
    try:
        write_image(image, final)
    except OutputError:
        assert list(tmp_path.iterdir()) == []
    else:  # a byte without meaning: a comment, a description, a trailer nobody reads
        monkeypatch.undo()
        read = sitk.ReadImage(str(final))
        np.testing.assert_array_equal(sitk.GetArrayFromImage(read), sitk.GetArrayFromImage(image))
        assert position != 0.5
        assert position != 0.9


def test_checksum_lost_after_the_last_voxel_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    corrupt(monkeypatch, lambda data: data[:-8])
    with pytest.raises(OutputError, match="does not read back"):
        write_image(label_image(), tmp_path / "case.nii.gz")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("extension", FORMATS)
@pytest.mark.parametrize("change", ["origin", "spacing", "direction"])
def test_lost_geometry_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, extension: str, change: str
) -> None:
    image = label_image()
    writes, header = sitk.WriteImage, write_nifti.nifti_header

    def misplaced(image: sitk.Image) -> sitk.Image:
        other = sitk.Image(image)
        if change == "origin":
            other.SetOrigin([value + 0.35 for value in image.GetOrigin()])
        elif change == "spacing":
            other.SetSpacing([value * 1.02 for value in image.GetSpacing()])
        else:
            other.SetDirection((1, 0, 0, 0, 1, 0, 0, 0, 1))
        return other

    def writes_misplaced(image: sitk.Image, name: str, **options: Any) -> None:
        writes(misplaced(image), name, **options)

    def header_misplaced(shape: tuple[int, ...], dtype: Any, grid: Grid, intent: int) -> bytes:
        return header(shape, dtype, grid_of(misplaced(image)), intent)

    monkeypatch.setattr(sitk, "WriteImage", writes_misplaced)
    monkeypatch.setattr(write_nifti, "nifti_header", header_misplaced)
    with pytest.raises(OutputError, match="another geometry"):
        write_image(image, tmp_path / f"case.{extension}")
    assert list(tmp_path.iterdir()) == []


def test_lost_thickness_of_a_single_slice_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = label_image(size=(1, 30, 40))
    writes = sitk.WriteImage

    def thins(image: sitk.Image, name: str, **options: object) -> None:
        other = sitk.Image(image)
        other.SetSpacing((*image.GetSpacing()[:2], 1.0))
        writes(other, name, **options)

    monkeypatch.setattr(sitk, "WriteImage", thins)
    with pytest.raises(OutputError, match="another geometry"):
        write_image(image, tmp_path / "case.mha")


def test_truncated_nifti_is_seen_although_simpleitk_reads_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def half(data: bytes) -> bytes:
        packed = data.startswith(b"\x1f\x8b")
        whole = gzip.decompress(data) if packed else data
        return gzip.compress(whole[: len(whole) // 2], mtime=0) if packed else whole[: len(whole) // 2]

    corrupt(monkeypatch, half)
    for extension in ("nii", "nii.gz"):
        with pytest.raises(OutputError):
            write_image(label_image(size=(20, 30, 40)), tmp_path / f"case.{extension}")
    assert list(tmp_path.iterdir()) == []


def test_nifti_of_other_voxels_in_the_right_format_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    corrupt(monkeypatch, lambda data: gzip.compress(gzip.decompress(data)[:-1] + b"\xff", mtime=0))
    with pytest.raises(OutputError, match="other voxels"):
        write_image(label_image(), tmp_path / "case.nii.gz")


@pytest.mark.parametrize("extension", ["nii", "nii.gz"])
def test_nifti_of_several_volumes_is_read_alike_by_simpleitk(tmp_path: Path, extension: str) -> None:
    volumes = [label_image(), label_image() + 1]
    write_image(sitk.JoinSeries(volumes), tmp_path / f"case.{extension}")
    read = sitk.ReadImage(str(tmp_path / f"case.{extension}"))
    for number, volume in enumerate(volumes):
        np.testing.assert_array_equal(sitk.GetArrayFromImage(read[..., number]), sitk.GetArrayFromImage(volume))
        assert grid_of(read[..., number]).same_as(grid_of(volume))


@pytest.mark.parametrize(
    ("length", "dtype", "reason"), [(2**15, np.uint8, "32,767"), (2, np.float16, "float16"), (2, np.bool_, "bool")]
)
def test_what_nifti_cannot_hold_is_said(tmp_path: Path, length: int, dtype: type, reason: str) -> None:
    array = np.zeros((1, 1, length), dtype)
    with pytest.raises(OutputError, match=reason):
        write_volume(array, Grid(array.shape, (1, 1, 1)), tmp_path / "case.nii.gz", {})
    assert list(tmp_path.iterdir()) == []


def test_result_without_isal_is_the_same_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(write_nifti, "deflater", zlib)
    write_image(label_image(), tmp_path / "case.nii.gz")
    read = sitk.ReadImage(str(tmp_path / "case.nii.gz"))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(read), sitk.GetArrayFromImage(label_image()))
