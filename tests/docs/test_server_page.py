"""What docs/server.md tells clients to type, typed, with a server behind its addresses."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("fastapi", reason="the extra `server` is not installed")
pytest.importorskip("highdicom", reason="the extra `dicom` is not installed")
pytest.importorskip("httpx", reason="the extra `client` is not installed")
pytest.importorskip("onnxruntime")

from support.dicom_files import save_series, voxels
from support.servers import serving

from itk_infer.cli.main import main
from itk_infer.executors.loader import ModelRequest
from itk_infer.options import Options

REPOSITORY = Path(__file__).resolve().parents[2]
DEMO = REPOSITORY / "itk_infer" / "demo"
ADDRESS = re.compile(r"http://127\.0\.0\.1:8000|https://segment\.example")


def test_clients_of_the_page(tmp_path, monkeypatch):
    page = (REPOSITORY / "docs" / "server.md").read_text("utf-8")
    monkeypatch.chdir(tmp_path)
    Path("scans").mkdir()
    for side in ("left", "right"):
        shutil.copyfile(DEMO / f"mni152_hippocampus_{side}.nii.gz", f"scans/{side}.nii.gz")
    place = {"position": [(0.0, 0.0, float(k)) for k in range(20)], "spacing": (1.0, 1.0)}
    save_series(tmp_path / "studies" / "p1" / "T1", voxels((20, 30, 24), np.int16), **place)
    Path("token").write_text("0" * 32, "utf-8")
    request = ModelRequest((DEMO / "hippocampus_unet.onnx",), None, Options(device="cpu"))
    with serving(tmp_path / "home", {"hippocampus": request}) as server:
        lines = [line for line in page.splitlines() if line.startswith("itk_infer submit http")]
        assert len(lines) == 3
        for line in lines:
            words = shlex.split(ADDRESS.sub(str(server.base_url).rstrip("/"), line))
            assert main(words[1:]) == 0, line
    assert {path.name for path in Path("masks").iterdir()} == {"left.nii.gz", "right.nii.gz", "T1.nii.gz"}
    assert {path.name for path in Path("objects").iterdir()} == {"T1.nii.gz", "T1.seg.dcm", "T1.sr.dcm"}
