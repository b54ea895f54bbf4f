"""A DICOM study to a server as a zip, DICOM objects back: those of the command line, byte for byte."""

from __future__ import annotations

import io
import json
import zipfile

import numpy as np
import pytest
from support.servers import scan, serving

from itk_infer.cli.main import main
from itk_infer.executors.loader import ModelRequest
from itk_infer.options import Options

pytest.importorskip("onnxruntime")
pytest.importorskip("highdicom", reason="the extra `dicom` is not installed")
from support.dicom_files import save_series
from support.dicom_results import measurements, seg_points
from support.onnx_files import sign_network

ML = 1.2 * 1.0 * 2.0 / 1000  # of a voxel of `save_series`
PLACES = [(0, -4.5, 10 + 2.0 * k) for k in range(4)]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    labels = [{"value": 1, "name": "left kidney", "code": {"type": "Kidney", "side": "Left"}}]
    document = {"spec": 1, "input": {"orientation": None}, "output": {"labels": labels}}
    path = tmp_path_factory.mktemp("model") / "model.onnx"
    return sign_network(path, metadata={"itk_infer": json.dumps(document)})


@pytest.fixture(scope="module")
def server(tmp_path_factory, model):
    request = ModelRequest((model,), None, Options(device="cpu"))
    with serving(tmp_path_factory.mktemp("server") / "home", {"kidney": request}) as client:
        yield client


@pytest.fixture
def study(tmp_path):
    """A folder with 4 slices of 6 x 5 voxels, of which 8 are above zero."""
    voxels = np.full((4, 6, 5), -1, np.int16)
    voxels[1:3, 2:4, 1:3] = 100
    save_series(tmp_path / "study", voxels, position=PLACES, PatientName="Canary^Patricia")
    return tmp_path / "study"


def zipped(folder):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for number, path in enumerate(sorted(folder.iterdir(), reverse=True)):  # in another order than on the disk
            archive.write(path, f"{number}.dcm")
    return packed.getvalue()


def send(server, content, *save):
    return server.post("/v1/jobs", params={"model": "kidney", "save": save}, content=content)


def by_command_line(model, study, output, objects):
    words = ("-i", study, "-o", output, "-m", model, "--device", "cpu", "--dicom", objects, "--progress", "none")
    assert main([str(word) for word in words]) == 0
    return output


def test_objects_are_those_of_the_command_line(server, model, study, tmp_path):
    answer = send(server, zipped(study), "dicom_seg", "dicom_sr", "dicom_report")
    assert answer.status_code == 202, answer.text
    job = server.ended(answer.json()["id"])
    assert (job["state"], job["reason"]) == ("done", "")
    assert set(job["files"]) == {"mask", "dicom_seg", "dicom_sr", "dicom_report"}
    output = by_command_line(model, study, tmp_path / "out", "seg,sr,report")
    for kind, name in (("seg", "study.seg.dcm"), ("sr", "study.sr.dcm"), ("report", "study.report.dcm")):
        about = job["files"][f"dicom_{kind}"]
        assert about["ending"] == f".{kind}.dcm"
        content = server.get(about["url"])
        assert content.headers["content-disposition"].startswith(f'attachment; filename="{job["id"]}_dicom_{kind}')
        assert content.content == (output / name).read_bytes()
        (tmp_path / name).write_bytes(content.content)
    # As pydicom alone reads them: the voxels lie where they were made (rows are 1.2 mm apart), and count as many.
    points = seg_points(tmp_path / "study.seg.dcm", 1)
    expected = [(x, y - 4.5, 10 + 2 * z) for z in (1, 2) for y in (2.4, 3.6) for x in (1, 2)]
    assert np.allclose(sorted(map(tuple, points)), sorted(expected), atol=1e-6)
    (group,) = measurements(tmp_path / "study.sr.dcm")
    assert group["Volume"] == (pytest.approx(8 * ML), "ml")
    home = server.service.settings.home
    assert not any(b"canary" in path.read_bytes().lower() for path in home.rglob("*.jsonl"))


def test_what_no_server_can_write_is_refused_before_the_queue(server, study, tmp_path, monkeypatch):
    jobs = len(server.service.queue.ids())
    image = scan(tmp_path / "a.nii").read_bytes()
    for content, save, words in (
        (image, ["dicom_seg"], "dicom_seg is of a DICOM series; send the study as a zip"),
        (zipped(study), ["dicom_sr"], "dicom_sr refers to dicom_seg; ask for both"),
    ):
        answer = send(server, content, *save)
        assert (answer.status_code, words in answer.json()["detail"]) == (422, True), answer.text
    monkeypatch.setattr("itk_infer.outputs.output_kind.find_spec", lambda name: None)
    answer = send(server, zipped(study), "dicom_seg")
    assert answer.status_code == 422
    assert "needs highdicom, which this server does not have" in answer.json()["detail"]
    assert len(server.service.queue.ids()) == jobs
    assert not list((server.service.settings.home / "incoming").iterdir())
