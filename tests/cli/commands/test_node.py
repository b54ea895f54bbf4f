"""``itk_infer node`` as a program: a real network, a real Orthanc, the objects that archives take."""

from __future__ import annotations

import json
import signal
import subprocess
import sys

import numpy as np
import pytest
from support import child_environment
from support.dicom_files import save_series, uid
from support.onnx_files import sign_network
from support.orthanc import Orthanc, free_port, storescu

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
