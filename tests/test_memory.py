"""What a case needs is what was predicted, and too much is refused before anything is computed."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import SimpleITK as sitk

from itk_infer.errors import InputError
from itk_infer.model.kinds.fake import FakeBackend
from itk_infer.predictor import Predictor

# Pages of libraries that are in memory before the run, and that the system takes back during it.
LIBRARIES = 8 << 20
MEASURE = """
import pathlib, sys
import numpy as np
from itk_infer.run.folder import run_folder
from itk_infer.run.settings import RunSettings
from itk_infer.model.backend import NetworkShape
from itk_infer.model.kinds.fake import FakeBackend
from itk_infer.predictor import Predictor
from itk_infer.spec import parse_spec
from itk_infer.volume.read import read_header
from itk_infer.volume.grid import Grid
import SimpleITK

source, output, channels, patch = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
spec = parse_spec({"window": {"patch_size": [patch] * 3}, "input": {"intensity": [{"op": "zscore"}]}}, "t")
rng = np.random.default_rng(0)
network = lambda w: rng.random((len(w), channels, *w.shape[2:]), np.float32)
predictor = Predictor(FakeBackend(network, spec, NetworkShape(channels_out=channels)))
header = read_header(pathlib.Path(source))
plan = predictor.plan(Grid(header.size, header.spacing), header.dtype.itemsize)

def status(key):
    lines = pathlib.Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(key)) * 1024

pathlib.Path("/proc/self/clear_refs").write_text("5")
before = status("VmRSS")
assert run_folder(predictor, RunSettings(pathlib.Path(source), pathlib.Path(output))).exit_code == 0
print(plan.memory.peak, status("VmHWM") - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux resets its high-water mark")
@pytest.mark.parametrize(("channels", "patch"), [(3, 96), (14, 64)])
def test_the_prediction_is_within_a_fifth(tmp_path, channels, patch):
    rng = np.random.default_rng(0)
    image = sitk.GetImageFromArray(rng.integers(0, 1000, (200, 256, 256)).astype(np.int16))
    sitk.WriteImage(image, str(tmp_path / "a.mha"))
    words = [sys.executable, "-c", MEASURE, tmp_path / "a.mha", tmp_path / "out", channels, patch]
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    predicted, measured = map(int, done.stdout.split())
    assert abs(predicted - measured) < 0.2 * measured + LIBRARIES


def test_what_cannot_fit_is_refused_with_the_numbers():
    ran = []
    predictor = Predictor(FakeBackend(lambda w: ran.append(1) or w), max_ram=10_000)
    with pytest.raises(InputError, match=r"about \d+ MiB .* `patch_size`"):
        predictor(sitk.Image([64, 64, 64], sitk.sitkInt16))
    assert not ran
