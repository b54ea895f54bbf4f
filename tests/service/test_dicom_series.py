"""DICOM series that come as zip files: segmented as on the command line, and never more than is allowed."""

from __future__ import annotations

import io
import stat
import struct
import zipfile

import numpy as np
import pytest
from support.servers import serving

from itk_infer.service import dicom_series
from itk_infer.service.refusal import Refusal
from itk_infer.testing.faulty import FaultyModel, wait_until

pytest.importorskip("pydicom", reason="writes the series")
from support.dicom_files import save_series

HEAD = b"\0" * 128 + b"DICM"
VOXELS = np.random.default_rng(5).integers(-90, 90, (4, 6, 7)).astype(np.int16)


def zipped(*entries, method=zipfile.ZIP_STORED):
    """A zip of pairs of name and content."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", method) as archive:
        for name, content in entries:
            archive.writestr(name, content)
    return packed.getvalue()


def series(folder, **attributes):
    return [(path.name, path.read_bytes()) for path in save_series(folder, VOXELS, **attributes)]


def send(client, content):
    return client.post("/v1/jobs?model=sign&format=nii.gz", content=content)


@pytest.fixture(scope="module")
def small(tmp_path_factory, scratch):
    """A server that takes images of up to 1 MiB."""
    home = tmp_path_factory.mktemp("small") / "home"
    with serving(home, {"sign": FaultyModel(scratch)}, max_image=1 << 20) as client:
        yield client


def test_a_series_gets_the_mask_of_the_command_line(client, scratch, tmp_path):
    from itk_infer import RunSettings, run_folder

    files = series(tmp_path / "study" / "ct")
    named = [
        (f"../../{name}" if k else f"Mueller^Hans/{name}", content) for k, (name, content) in enumerate(files)
    ]
    content = zipped(*named, ("readme.txt", b"hello"), ("/etc/passwd", HEAD[:60]), ("empty/", b""))
    job = client.ended(send(client, content).json()["id"])
    assert job["state"] == "done", job
    settings = RunSettings(tmp_path / "study" / "ct", tmp_path / "masks")
    assert run_folder(FaultyModel(scratch).load(), settings).exit_code == 0
    mask = client.get(job["files"]["mask"]["url"]).content
    assert mask == (tmp_path / "masks" / "ct.nii.gz").read_bytes()
    home = client.service.settings.home
    assert sorted(path.name for path in (home / "jobs" / job["id"]).iterdir()) == ["events.jsonl", "result.nii.gz"]
    assert not [path for path in home.parent.rglob("*") if "Mueller" in path.name or "passwd" in path.name]


def test_a_link_in_a_zip_is_no_link_here(tmp_path):
    packed = zipfile.ZipInfo("link.dcm")
    packed.external_attr = (stat.S_IFLNK | 0o777) << 16
    (tmp_path / "a.zip").write_bytes(zipped((packed, HEAD + b"/etc/passwd")))
    dicom_series.unpack(tmp_path / "a.zip", tmp_path / "out", 1 << 20, lambda: None)
    (path,) = (tmp_path / "out").iterdir()
    assert (path.name, path.is_symlink(), path.stat().st_mode & 0o111) == ("000000.dcm", False, 0)


def corrupt():
    content = bytearray(zipped(("a.dcm", HEAD + bytes(range(256)) * 40), method=zipfile.ZIP_DEFLATED))
    content[60] ^= 0xFF
    return bytes(content)


def with_flags(offset_local, offset_central, value):
    """A zip whose headers say something else of its one file."""
    content = bytearray(zipped(("a.dcm", HEAD + b"\0" * 999)))
    struct.pack_into("<H", content, offset_local, value)
    struct.pack_into("<H", content, content.index(b"PK\x01\x02") + offset_central, value)
    return bytes(content)


def end_says(offset, value):
    """A zip whose end states something else."""
    content = bytearray(zipped(("a.dcm", HEAD + b"\0" * 999)))
    struct.pack_into("<I", content, len(content) - 22 + offset, value)
    return bytes(content)


def zip64():
    content = zipped(("a.dcm", HEAD + b"\0" * 999))
    return content[:-22] + b"PK\x06\x07" + b"\0" * 16 + content[-22:]


BAD = {
    "zip of zips": (zipped(*[(f"{k}.zip", zipped(("0.dll", b"0" * 9999))) for k in range(16)]), 415),
    "nothing": (zipped(("empty/", b"")), 415),
    "truncated": (zipped(("a.dcm", HEAD + b"\0" * 999))[:-30], 422),
    "corrupt": (corrupt(), 422),
    "encrypted": (with_flags(6, 8, 1), 422),
    "unknown method": (with_flags(8, 10, 97), 422),
    "unpacks to much": (zipped(("a.dcm", HEAD + b"\0" * (64 << 20)), method=zipfile.ZIP_DEFLATED), 413),
    "unpacks to much in all": (
        zipped(*[(f"{k}.dcm", HEAD + b"\0" * (1 << 18)) for k in range(5)], method=zipfile.ZIP_DEFLATED),
        413,
    ),
    "bzip2": (zipped(("a.dcm", HEAD + b"\0" * 999), method=zipfile.ZIP_BZIP2), 422),
    "long list": (end_says(12, 1 << 30), 413),
    "long list behind a false end": (end_says(12, 1 << 30) + end_says(12, 9)[-22:-2] + b"\1\0x", 422),
    "zip64": (zip64(), 413),
    "many files": (zipped(*[(str(k), b"") for k in range(dicom_series.MOST_FILES + 1)]), 413),
}


@pytest.mark.parametrize("name", list(BAD))
def test_other_zips_are_refused(small, name):
    content, status = BAD[name]
    answer = send(small, content)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json"), (
        answer.text
    )
    home = small.service.settings.home
    wait_until(lambda: not list((home / "incoming").iterdir()))
    assert {path.name for path in (home / "jobs").iterdir()} <= small.service.queue.ids()


def test_a_full_disk_ends_the_unpacking(tmp_path):
    def full():
        raise Refusal("no_space", "full")

    (tmp_path / "a.zip").write_bytes(zipped(("a.dcm", HEAD)))
    with pytest.raises(Refusal, match="full"):
        dicom_series.unpack(tmp_path / "a.zip", tmp_path / "out", 1 << 20, full)


def failed(client, content):
    job = client.ended(send(client, content).json()["id"])
    assert job["state"] == "failed"
    client.kept(job["id"], "events.jsonl")
    return job["reason"]


def test_a_zip_that_is_no_one_series_fails_with_its_reason(small, tmp_path):
    other = [(f"b{name}", content) for name, content in series(tmp_path / "b", series="other", study="other")]
    assert "2 studies" in failed(small, zipped(*series(tmp_path / "a"), *other))
    assert "0 studies" in failed(small, zipped(("a.dcm", HEAD + b"\0" * 500)))
    gap = series(tmp_path / "c")
    assert failed(small, zipped(gap[0], gap[1], gap[3]))
    large = np.zeros((3, 512, 512), np.int16)
    files = [(path.name, path.read_bytes()) for path in save_series(tmp_path / "d", large)]
    packed = zipped(*files, method=zipfile.ZIP_DEFLATED)
    small_limit = small.service.settings.max_image
    assert len(packed) < small_limit < large.nbytes
    assert send(small, packed).status_code == 413
    # The next job runs with the same worker.
    assert small.ended(send(small, zipped(*series(tmp_path / "e"))).json()["id"])["state"] == "done"


def test_a_series_larger_than_allowed_by_its_headers_is_refused(tmp_path):
    from itk_infer.errors import InputError
    from itk_infer.spec import InputSpec

    save_series(tmp_path / "a", VOXELS)
    assert dicom_series.series_case(tmp_path / "a", "x", InputSpec(), VOXELS.nbytes).name == "x"
    with pytest.raises(InputError, match="MiB of voxels"):
        dicom_series.series_case(tmp_path / "a", "x", InputSpec(), VOXELS.nbytes - 1)
