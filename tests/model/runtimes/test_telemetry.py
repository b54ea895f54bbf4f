"""Libraries that report their use to their makers are kept from it: nothing leaves the machine."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import itk_infer

DEMO = Path(itk_infer.__file__).parent / "demo"
RUN = """
import sys
from itk_infer.predictor import Predictor
predictor = Predictor.from_onnx(sys.argv[1], device="cpu", provider=sys.argv[2])
assert predictor.backend.provider == sys.argv[2]
predictor(sys.argv[3])
assert "openvino_telemetry" not in sys.modules
"""


@pytest.mark.parametrize("provider", ["cpu", "openvino"])
def test_a_run_leaves_nothing_in_the_home_folder(tmp_path, provider):
    """Both libraries keep an identifier of the user there before they send anything."""
    if provider == "openvino":
        pytest.importorskip("openvino", reason="OpenVINO is not installed")
    # In CI they would keep still by themselves.
    told = {
        key: value for key, value in os.environ.items() if key != "CI" and not key.startswith(("XDG", "GITHUB"))
    }
    words = [sys.executable, "-c", RUN, DEMO / "hippocampus_unet.onnx", provider]
    done = subprocess.run(
        [*map(str, words), str(DEMO / "mni152_hippocampus_left.nii.gz")],
        env={**told, "HOME": str(tmp_path), "USERPROFILE": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")] == []
