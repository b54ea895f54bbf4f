from __future__ import annotations

import gzip
import os
import subprocess
import sys
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk

from itk_infer.errors import OutputError
from itk_infer.volume import write
from itk_infer.volume.grid import Grid
from itk_infer.volume.marks import own_keys
from itk_infer.volume.volume import grid_of, image_of
from itk_infer.volume.write import write_image

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
    written, expected = (np.frombuffer(head.binaryblock, np.uint8) for head in (header, plain))
    assert set(np.flatnonzero(written != expected)) <= {68, 69}
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
    assert all("is the disk full?" in message for message in messages)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(f"former.{e}" for e in FORMATS)
    assert all(path.read_text() == "former" for path in tmp_path.iterdir())


@pytest.mark.parametrize("position", [0.02, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("extension", FORMATS)
def test_byte_flipped_on_the_way_to_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, extension: str, position: float
) -> None:
    image = label_image(size=(20, 30, 40))
    writes = sitk.WriteImage

    def flips(image: sitk.Image, name: str, **options: object) -> None:
        writes(image, name, **options)
        data = bytearray(Path(name).read_bytes())
        data[int(position * (len(data) - 1))] ^= 0x10
        Path(name).write_bytes(data)

    monkeypatch.setattr(sitk, "WriteImage", flips)
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
    reads = sitk.ReadImage

    def truncates(name: str, **options: object) -> sitk.Image:
        raise AssertionError("the checksum comes first")

    packs = write._pack

    def loses_the_end(plain: Path, packed: Path) -> None:
        packs(plain, packed)
        packed.write_bytes(packed.read_bytes()[:-8])
        plain.unlink()
        reads(str(packed))  # notices nothing

    monkeypatch.setattr(write, "_pack", loses_the_end)
    monkeypatch.setattr(sitk, "ReadImage", truncates)
    with pytest.raises(OutputError):
        write_image(label_image(), tmp_path / "case.nii.gz")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("extension", FORMATS)
@pytest.mark.parametrize("change", ["origin", "spacing", "direction"])
def test_lost_geometry_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, extension: str, change: str
) -> None:
    image = label_image()
    writes = sitk.WriteImage

    def misplaces(image: sitk.Image, name: str, **options: object) -> None:
        other = sitk.Image(image)
        if change == "origin":
            other.SetOrigin([value + 0.35 for value in image.GetOrigin()])
        elif change == "spacing":
            other.SetSpacing([value * 1.02 for value in image.GetSpacing()])
        else:
            other.SetDirection((1, 0, 0, 0, 1, 0, 0, 0, 1))
        writes(other, name, **options)

    monkeypatch.setattr(sitk, "WriteImage", misplaces)
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
    writes = sitk.WriteImage

    def truncates(image: sitk.Image, name: str, **options: object) -> None:
        writes(image, name, **options)
        data = Path(name).read_bytes()
        whole = gzip.decompress(data) if name.endswith(".gz") else data
        half = whole[: len(whole) // 2]
        Path(name).write_bytes(gzip.compress(half, mtime=0) if name.endswith(".gz") else half)

    monkeypatch.setattr(sitk, "WriteImage", truncates)
    for extension in ("nii", "nii.gz"):
        with pytest.raises(OutputError):
            write_image(label_image(size=(20, 30, 40)), tmp_path / f"case.{extension}")
    assert list(tmp_path.iterdir()) == []
