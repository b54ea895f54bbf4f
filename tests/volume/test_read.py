"""Reading that cannot be fooled: what every format has in common. Each format's header has its own file."""

from __future__ import annotations

import gzip
import hashlib
import os
import subprocess
import sys
import zlib
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from itk_infer.errors import InputError
from itk_infer.volume.formats import stream
from itk_infer.volume.names import SUFFIXES, is_picture, split_suffix
from itk_infer.volume.read import file_sha256, read_header, read_image

RNG = np.random.default_rng(7)
NOISE = RNG.integers(-1000, 3000, (7, 9, 11)).astype(np.int16)  # (Z, Y, X), hardly compressible
SPACING_XYZ = (0.75, 1.5, 3.0)
DIRECTION = (0.0, -1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0)
# suffix, compressed, the part that holds the voxels
KINDS = [
    (".nii", False, ".nii"),
    (".nii.gz", True, ".nii.gz"),
    (".mha", False, ".mha"),
    (".mha", True, ".mha"),
    (".mhd", False, ".raw"),
    (".mhd", True, ".zraw"),
    (".nrrd", False, ".nrrd"),
    (".nrrd", True, ".nrrd"),
    (".nhdr", False, ".raw"),
    (".nhdr", True, ".raw.gz"),
]
NAMES = [f"{suffix[1:]}{'-packed' if packed else ''}" for suffix, packed, _ in KINDS]
ONE_FILE = [kind for kind in KINDS if kind[0] == kind[2]]


def write(path: Path, array: np.ndarray = NOISE, compressed: bool = False) -> Path:
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(SPACING_XYZ)
    image.SetOrigin((-11.0, 22.0, 33.0))
    image.SetDirection(DIRECTION)
    sitk.WriteImage(image, str(path), compressed)
    return path


def voxels(path: Path) -> np.ndarray:
    return sitk.GetArrayFromImage(read_image(path).image)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.b.NII.GZ", ("a.b", ".nii.gz")),
        ("case.nii", ("case", ".nii")),
        ("x.nii.nrrd", ("x.nii", ".nrrd")),
        ("x.Mhd", ("x", ".mhd")),
        ("x.gz", ("x.gz", "")),
        ("notes.txt", ("notes.txt", "")),
        (".nii.gz", (".nii.gz", "")),
        ("nii", ("nii", "")),
    ],
)
def test_a_name_splits_into_stem_and_known_suffix(name: str, expected: tuple[str, str]) -> None:
    assert split_suffix(name) == expected


@pytest.mark.parametrize(("suffix", "packed", "part"), KINDS, ids=NAMES)
class TestEveryFormat:
    def test_voxels_geometry_and_digest(self, tmp_path: Path, suffix: str, packed: bool, part: str) -> None:
        path = write(tmp_path / f"a{suffix}", compressed=packed)
        result = read_image(path)
        header = read_header(path)
        np.testing.assert_array_equal(sitk.GetArrayFromImage(result.image), NOISE)
        assert result.warnings == ()
        assert header.size == NOISE.shape
        assert header.spacing == pytest.approx(SPACING_XYZ[::-1])
        assert header.direction_xyz == pytest.approx(DIRECTION)
        assert (header.dtype, header.nbytes) == (np.dtype(np.int16), NOISE.nbytes)
        stored = path.read_bytes() + ((tmp_path / f"a{part}").read_bytes() if part != suffix else b"")
        assert result.sha256 == file_sha256(path) == hashlib.sha256(stored).hexdigest()

    @pytest.mark.parametrize("percent", [10, 50, 99])
    def test_truncated(self, tmp_path: Path, suffix: str, packed: bool, part: str, percent: int) -> None:
        path = write(tmp_path / f"a{suffix}", compressed=packed)
        data = (tmp_path / f"a{part}").read_bytes()
        (tmp_path / f"a{part}").write_bytes(data[: len(data) * percent // 100])
        with pytest.raises(InputError, match=f"^a{part}: .*(truncated|damaged)"):
            read_image(path)
        if not packed:  # seen without reading voxels
            with pytest.raises(InputError, match=r"truncated|damaged"):
                read_header(path)

    def test_small_reads_give_the_same(
        self, tmp_path: Path, suffix: str, packed: bool, part: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = write(tmp_path / f"a{suffix}", NOISE.astype(np.float32), packed)
        whole = read_image(path)
        monkeypatch.setattr(stream, "BLOCK", 13)  # no divisor of anything: every seam is crossed
        assert read_image(path).sha256 == whole.sha256
        with_nan = NOISE.astype(np.float32)
        with_nan[3, 4, 5:7] = np.nan, np.inf
        with pytest.raises(InputError, match=r"2 voxels that are NaN or infinite"):
            read_image(write(path, with_nan, packed))

    def test_upper_case_suffix(self, tmp_path: Path, suffix: str, packed: bool, part: str) -> None:
        path = write(tmp_path / f"a{suffix}", compressed=packed)
        for name in (f"A{suffix.upper()}", f"b{suffix.title()}"):
            np.testing.assert_array_equal(voxels(path.rename(tmp_path / name)), NOISE)
            path = tmp_path / name


@pytest.mark.parametrize("suffix", [".nii.gz", ".mha", ".mhd", ".nrrd"])
@pytest.mark.parametrize("where", [0.3, 0.5, 0.7, 0.97])
def test_a_flipped_bit_in_compressed_data_is_found(tmp_path: Path, suffix: str, where: float) -> None:
    path = write(tmp_path / f"a{suffix}", compressed=True)
    part = path.with_suffix(".zraw") if suffix == ".mhd" else path
    data = bytearray(part.read_bytes())
    data[int(len(data) * where)] ^= 0x10
    part.write_bytes(bytes(data))
    with pytest.raises(InputError, match=r"damaged|end too early"):
        read_image(path)


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd"])
def test_a_wrong_checksum_is_found_when_every_voxel_unpacks(tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path / f"a{suffix}", compressed=True)
    data = bytearray(path.read_bytes())
    data[-6] ^= 1  # the CRC itself
    path.write_bytes(bytes(data))
    with pytest.raises(InputError, match=r"damaged \(incorrect (data check|checksum found)\)"):
        read_image(path)


@pytest.mark.parametrize(("suffix", "packed", "part"), ONE_FILE)
def test_trailing_bytes_do_no_harm(tmp_path: Path, suffix: str, packed: bool, part: str) -> None:
    path = write(tmp_path / f"a{suffix}", compressed=packed)
    path.write_bytes(path.read_bytes() + b"\x1f and more")
    np.testing.assert_array_equal(voxels(path), NOISE)


@pytest.mark.parametrize("other", [".nii", ".NII"])
def test_a_nifti_twin_does_not_lend_its_voxels(tmp_path: Path, other: str) -> None:
    packed = write(tmp_path / "a.nii.gz", NOISE)
    plain = write(tmp_path / "b.nii", -NOISE[:, :5]).rename(tmp_path / f"a{other}")
    np.testing.assert_array_equal(voxels(packed), NOISE)
    np.testing.assert_array_equal(voxels(plain), -NOISE[:, :5])
    assert read_header(packed).size == NOISE.shape
    if other == ".nii":  # the trap is real: SimpleITK alone falls into it
        assert not np.array_equal(sitk.GetArrayFromImage(sitk.ReadImage(str(packed))), NOISE)


def test_a_twin_is_avoided_by_copying_where_links_cannot_be_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "a.nii.gz", NOISE)
    write(tmp_path / "a.nii", -NOISE)

    def refuse(*_: object) -> None:
        raise OSError("a privilege is missing")

    monkeypatch.setattr(Path, "symlink_to", refuse)
    np.testing.assert_array_equal(voxels(path), NOISE)


def test_a_nifti_is_not_replaced_by_its_missing_twin(tmp_path: Path) -> None:
    write(tmp_path / "b.nii.gz")
    for function in (read_header, read_image, file_sha256):
        with pytest.raises(InputError, match="No such file"):
            function(tmp_path / "b.nii")


def test_content_counts_not_the_name(tmp_path: Path) -> None:
    plain = write(tmp_path / "a.nii").rename(tmp_path / "plain.nii.gz")
    packed = write(tmp_path / "a.nii.gz").rename(tmp_path / "packed.nii")
    np.testing.assert_array_equal(voxels(plain), NOISE)
    np.testing.assert_array_equal(voxels(packed), NOISE)


@pytest.mark.parametrize("block", [1, 100, stream.BLOCK])
@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd"])
def test_several_gzip_members_are_one_stream(
    tmp_path: Path, suffix: str, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "BLOCK", block)
    path = write(tmp_path / f"a{suffix}", compressed=True)
    stored = path.read_bytes()
    start = stored.index(b"\x1f\x8b")
    raw = gzip.decompress(stored[start:])
    path.write_bytes(stored[:start] + gzip.compress(raw[:500], mtime=0) + gzip.compress(raw[500:], mtime=0))
    np.testing.assert_array_equal(voxels(path), NOISE)
    path.write_bytes(stored[:start] + gzip.compress(raw[:500], mtime=0) + gzip.compress(raw[500:], mtime=0)[:-9])
    with pytest.raises(InputError, match="end too early"):
        read_image(path)


def test_a_bomb_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a.nii.gz", NOISE)
    monkeypatch.setattr(stream, "SURPLUS_LIMIT", 1 << 20)
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()) + bytes(3 << 20), mtime=0))
    with pytest.raises(InputError, match="unpacks to far more"):
        read_image(path)


class TestPaths:
    @pytest.mark.parametrize("suffix", SUFFIXES)
    def test_what_is_no_file(self, tmp_path: Path, suffix: str) -> None:
        (tmp_path / f"folder{suffix}").mkdir()
        (tmp_path / f"empty{suffix}").touch()
        (tmp_path / f"dangling{suffix}").symlink_to(tmp_path / "nowhere")
        (tmp_path / f"loop{suffix}").symlink_to(tmp_path / f"loop{suffix}")
        expected = {
            "folder": "is a folder",
            "empty": "is empty",
            "dangling": "leads to no file",
            "loop": "leads to no file",
            "absent": "No such file",
            "nul\0": "null",
        }
        for stem, reason in expected.items():
            for function in (read_header, read_image, file_sha256):
                with pytest.raises(InputError, match=reason) as caught:
                    function(tmp_path / f"{stem}{suffix}")
                assert stem.rstrip("\0") in str(caught.value)
                assert str(caught.value).isprintable()

    @pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no FIFOs")
    def test_a_fifo_does_not_block(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "a.nii.gz")
        with pytest.raises(InputError, match="no regular file"):
            read_image(tmp_path / "a.nii.gz")
        os.mkfifo(tmp_path / "a.raw")
        header = write(tmp_path / "b.mhd")
        header.write_text(header.read_text().replace("b.raw", "a.raw"))
        with pytest.raises(InputError, match="no regular file"):
            read_image(header)

    @pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names themselves")
    def test_a_name_that_is_not_utf8_does_not_end_the_process(self, tmp_path: Path) -> None:
        good = write(tmp_path / "a.nii")
        good.rename(tmp_path / os.fsdecode(b"caf\xe9.nii"))
        code = (
            "import sys; from pathlib import Path\n"
            "from itk_infer.errors import InputError; from itk_infer.volume.read import *\n"
            "for path in Path(sys.argv[1]).iterdir():\n"
            "    for function in (read_header, read_image, file_sha256):\n"
            "        try: function(path)\n"
            "        except InputError as error: print(error)\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, timeout=600, check=False
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.count(r"caf\udce9.nii: the name is not valid UTF-8; rename the file") == 3

    def test_odd_names_are_fine(self, tmp_path: Path) -> None:
        for name in ("größe 腦.nii.gz", "-dash.nrrd", "new\nline.mha"):
            np.testing.assert_array_equal(voxels(write(tmp_path / name)), NOISE)

    def test_a_link_to_a_file_is_fine(self, tmp_path: Path) -> None:
        target = write(tmp_path / "target.nii.gz")
        (tmp_path / "link.nii.gz").symlink_to(target)
        np.testing.assert_array_equal(voxels(tmp_path / "link.nii.gz"), NOISE)

    @pytest.mark.parametrize("function", [read_header, read_image, file_sha256])
    def test_no_permission(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, function: object) -> None:
        path = write(tmp_path / "a.nii.gz")

        def refuse(*_: object) -> None:
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(Path, "open", refuse)  # root may read whatever the mode says
        with pytest.raises(InputError, match=r"a\.nii\.gz: cannot be read \(Permission denied\)"):
            function(path)  # type: ignore[operator]

    def test_unknown_suffix(self, tmp_path: Path) -> None:
        (tmp_path / "notes.txt").write_text("notes")
        with pytest.raises(
            InputError, match=r"notes\.txt: is not an image of a supported format; supported are \.nii\.gz"
        ):
            read_image(tmp_path / "notes.txt")


RUBBISH = {
    "zeros": b"\0" * 400,
    "a magic": b"NRRD0004\n",
    "magics of gzip": b"\x1f\x8b" * 300,
    "every byte": bytes(range(256)) * 4,
    "a letter": b"a",
}


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("content", RUBBISH.values(), ids=RUBBISH)
def test_rubbish_is_refused_in_one_sentence(tmp_path: Path, suffix: str, content: bytes) -> None:
    path = tmp_path / f"a{suffix}"
    path.write_bytes(content)
    for function in (read_header, read_image):
        with pytest.raises(InputError, match=rf"^a{suffix}: ") as caught:
            function(path)
        assert len(str(caught.value)) < 250
        assert str(caught.value).isprintable()


@pytest.mark.parametrize("suffix", [".mha", ".nrrd"])
def test_skewed_axes_are_refused(tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path / f"a{suffix}")
    text = b"TransformMatrix = 0 1 0 -1 0 0 0 0 1" if suffix == ".mha" else b"(0,0.75,0) (-1.5,0,0)"
    skew = b"TransformMatrix = 0 1 0 -1 0.5 0 0 0 1" if suffix == ".mha" else b"(0,0.75,0) (-1.5,0.5,0)"
    assert text in path.read_bytes()
    path.write_bytes(path.read_bytes().replace(text, skew))
    for function in (read_header, read_image):
        with pytest.raises(InputError, match="right angles"):
            function(path)


def test_simpleitk_errors_are_brought_to_the_point(tmp_path: Path) -> None:
    path = write(tmp_path / "a.nrrd")
    path.write_bytes(path.read_bytes().replace(b"encoding: raw", b"encoding: zip"))
    with pytest.raises(InputError, match=r"^a\.nrrd: SimpleITK cannot read it: couldn't parse encoding \"zip\"$"):
        read_image(path)


def test_the_terminal_stays_clean(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    affine = np.diag([2.0, 2.0, 2.0, 1.0])
    image = nib.Nifti1Image(NOISE.T, affine)
    image.header["pixdim"][1:4] = 1.0
    nib.save(image, tmp_path / "a.nii")
    result = read_image(tmp_path / "a.nii")
    assert capfd.readouterr() == ("", "")
    assert sitk.ProcessObject.GetGlobalWarningDisplay()
    assert len(result.warnings) == 1


def test_a_zlib_stream_for_metaimage_must_hold_exactly_the_voxels(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mhd", compressed=True)
    for data in (NOISE.tobytes() + b"\0\0", NOISE.tobytes()[:-2]):
        packed = zlib.compress(data)
        (tmp_path / "a.zraw").write_bytes(packed)
        lines = [
            f"CompressedDataSize = {len(packed)}" if line.startswith("CompressedDataSize") else line
            for line in path.read_text().splitlines()
        ]
        path.write_text("\n".join(lines) + "\n")
        with pytest.raises(
            InputError, match=r"a\.zraw: holds 1,38[48] bytes of voxels where the header announces"
        ):
            read_image(path)


def test_every_real_image_is_read_as_simpleitk_reads_it(shared: Path) -> None:
    paths = [
        path for path in sorted(shared.rglob("*")) if split_suffix(path.name)[1] and not is_picture(path.name)
    ]
    paths = [path for path in paths if "expected" not in path.parts]  # answers, channels last, are no input
    assert len(paths) > 30
    for path in paths:
        result, header, expected = read_image(path), read_header(path), sitk.ReadImage(str(path))
        array = sitk.GetArrayViewFromImage(expected)
        np.testing.assert_array_equal(sitk.GetArrayViewFromImage(result.image), array, err_msg=path.name)
        assert result.image.GetDirection() == expected.GetDirection() == header.direction_xyz
        assert result.image.GetOrigin() == expected.GetOrigin()
        assert (header.size, header.spacing) == (array.shape, expected.GetSpacing()[::-1])
        assert (header.dtype, header.nbytes) == (array.dtype, array.nbytes)
        assert result.warnings == (), path.name
