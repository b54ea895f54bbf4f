"""``itk_infer node`` as a program: a real network, a real Orthanc, the objects that archives take."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from support import child_environment
from support.dicom_files import save_series, uid
from support.dicom_results import measurements, seg_points
from support.onnx_files import sign_network
from support.orthanc import Orthanc, storescu
from support.ports import free_port

import itk_infer
from itk_infer.cli.main import main
from itk_infer.testing.faulty import wait_until

pytest.importorskip("onnxruntime")
pytest.importorskip("highdicom", reason="the extra `dicom` is not installed")


def command(home, model, *words):
    return ("node", "-m", str(model), "--device", "cpu", "--home", str(home), "--min-free", "1M", *words)


@pytest.fixture
def model(tmp_path):
    pytest.importorskip("onnx")
    labels = [{"value": 1, "name": "bright"}]
    spec = {"spec": 1, "input": {"orientation": None}, "output": {"labels": labels}}
    return sign_network(tmp_path / "model.onnx", metadata={"itk_infer": json.dumps(spec)})


def study(folder, name):
    """4 slices of 6 x 5 voxels of 1.2 x 1 x 2 mm, of which 8 are above zero."""
    voxels = np.full((4, 6, 5), -1, np.int16)
    voxels[1:3, 2:4, 1:3] = 100
    patient = {"PatientName": "Canary^Patricia", "PatientID": "CANARY-4711", "AccessionNumber": "CANARYACC8"}
    return save_series(folder / name, voxels, study=name, **patient)


def summary_of_the_study(home):
    (path,) = (home / "jobs").glob("*/summary.json")
    return json.loads(path.read_text("utf-8"))


def test_from_study_to_seg_sr_and_report(tmp_path, model):
    """A program of its own, stopped by SIGTERM; the results belong to the study, and are not taken for input."""
    home = tmp_path / "home"
    with Orthanc(tmp_path / "orthanc") as server:
        words = ("--orthanc", server.url, "--quiet", "0", "--poll", "0.2", "--page", "127.0.0.1:0")
        call = [sys.executable, "-m", "itk_infer", *command(home, model, *words)]
        program = subprocess.Popen(call, env=child_environment(), stderr=subprocess.PIPE, text=True)
        try:
            assert program.stderr.readline().startswith("Status: http://127.0.0.1:")
            assert storescu(server.dicom, *study(tmp_path, "whole")).returncode == 0
            wait_until(lambda: len(server.instances()) == 7)
        finally:
            program.send_signal(signal.SIGTERM)
            said = program.stderr.read()
            program.stderr.close()
            assert program.wait(60) == 0
        assert "Stopping" in said
        modalities = sorted(item["MainDicomTags"]["Modality"] for item in server.get("/series?expand"))
        assert modalities == ["CT", "OT", "SEG", "SR"]
        (found,) = server.get("/studies?expand")
        assert found["MainDicomTags"]["StudyInstanceUID"] == uid("whole")
        wait_until(lambda: server.get("/studies?expand")[0]["IsStable"])
        # What it left is done: another start computes and sends nothing.
        assert main(command(home, model, "--orthanc", server.url, "--quiet", "0", "--once")) == 0
        assert len(server.arrivals()) == 7
    kept = [path for path in home.rglob("*") if path.suffix in (".db", ".json")]
    assert {path.name for path in kept} == {"jobs.db", "node.db", "outbox.db", "itk_infer.db", "summary.json"}
    assert not any(
        b"canary" in content.lower() for content in (said.encode(), *(path.read_bytes() for path in kept))
    )
    assert not any(uid("whole").encode() in path.read_bytes() for path in kept)
    (case,) = summary_of_the_study(home)["cases"]
    assert case["volumes_ml"] == {"bright": pytest.approx(8 * 1.2 * 2.0 / 1000)}
    assert case["series"] == ["series 7 'made up' (CT, 4 axial slices of 2 mm): the only one that may be meant"]
    assert (case["state"], case["reason"], case["seconds"] > 0) == ("done", "", True)
    assert [path.partition(".")[2] for path in case["outputs"]] == ["nii.gz", "report.dcm", "seg.dcm", "sr.dcm"]
    assert case["pushed"] == {f"orthanc={server.url}": {"sent": 3}}


def test_once(tmp_path, model, capsys):
    """Exit code 0 if nothing is left; 3 if something failed, or could not be sent."""
    home = tmp_path / "home"
    with Orthanc(tmp_path / "orthanc") as server:
        words = ("--orthanc", server.url, "--quiet", "0", "--once", "--dicom", "seg")
        assert main(command(home, model, *words)) == 0
        server.upload(*study(tmp_path, "first"))
        wait_until(lambda: server.get("/studies?expand")[0]["IsStable"])
        down = ("--send", f"orthanc=http://127.0.0.1:{free_port()}")
        assert main(command(home, model, *words, *down)) == 3
        assert "cannot be reached" in capsys.readouterr().err
        # The results of the first start still wait for their destination.
        assert main(("status", str(home))) == 0
        assert "1 waiting, 0 sent" in capsys.readouterr().out
        assert summary_of_the_study(home)["cases"][0]["pushed"] == {down[1]: {"waiting": 1}}
        assert main(("push", str(home), "--wait", "0")) == 4


def test_a_model_that_cannot_be_loaded(tmp_path, capsys):
    wrong = tmp_path / "wrong.onnx"
    wrong.write_bytes(b"no model")
    words = ("--listen", "NODE@127.0.0.1:0", "--no-send", "--page", "none")
    assert main(command(tmp_path / "home", wrong, *words)) == 5
    assert (
        main(command(tmp_path / "home", wrong, *words, "--once")) == 0
    )  # nothing was received, nothing is loaded
    assert "Listening: NODE" in capsys.readouterr().err


def test_the_hippocampus_study_from_archive_to_archive(tmp_path, shared):
    """A real scan and the demo network; its volumes were measured before there was this program."""
    source, demo = shared / "dicom" / "study", Path(itk_infer.__file__).parent / "demo" / "hippocampus_unet.onnx"
    if not source.is_dir():
        pytest.skip("the study is not in ../shared/data/dicom")
    (tmp_path / "rule.json").write_text(
        json.dumps(json.loads((source / "expected.json").read_text())["cases"]["hippocampus-study"]["rule"])
    )
    files = [path for path in sorted((source / "hippocampus-study").rglob("*")) if path.is_file()]
    with Orthanc(tmp_path / "orthanc") as server:
        assert storescu(server.dicom, *files).returncode == 0
        images = server.instances()
        wait_until(lambda: server.get("/studies?expand")[0]["IsStable"])
        words = ("--orthanc", server.url, "--quiet", "0", "--once", "--series", str(tmp_path / "rule.json"))
        assert main(command(tmp_path / "home", demo, *words, "--dicom", "seg,sr")) == 0
        (study,) = server.get("/studies")  # the results are in the same study
        assert len(server.instances()) == len(images) + 2
        for modality in ("SEG", "SR"):
            (uid,) = server.instances(modality)
            (found,) = json.loads(server.ask("POST", "/tools/lookup", uid.encode()))
            (tmp_path / modality).write_bytes(server.ask("GET", f"/instances/{found['ID']}/file"))
            assert server.get(f"/instances/{found['ID']}/study")["ID"] == study
    anterior, posterior = measurements(tmp_path / "SR")
    assert anterior["Volume"] == (pytest.approx(1.743, rel=0.02), "ml")
    assert posterior["Volume"] == (pytest.approx(1.943, rel=0.02), "ml")
    for number, group in enumerate((anterior, posterior), 1):  # voxels of 1 mm3
        assert len(seg_points(tmp_path / "SEG", number)) / 1000 == pytest.approx(group["Volume"][0], rel=1e-3)
    (case,) = summary_of_the_study(tmp_path / "home")["cases"]
    assert "fits the rule" in case["series"][0]
    assert sorted(case["volumes_ml"].values()) == pytest.approx([1.743, 1.943], rel=0.02)
