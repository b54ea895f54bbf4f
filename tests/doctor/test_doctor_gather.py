"""What doctor finds out of this machine, and of made-up ones."""

from __future__ import annotations

import json
import re
import sys
from importlib import metadata

import numpy as np
import pytest
import SimpleITK as sitk
from support.onnx_files import sign_network

from itk_infer.cli.main import main
from itk_infer.doctor import gather as gather_module
from itk_infer.doctor.gather import gather
from itk_infer.doctor.known import findings
from itk_infer.doctor.one_case import one_case
from itk_infer.doctor.speed import seconds_per_call, speeds
from itk_infer.doctor.trial import windows_of_case
from itk_infer.executors.loader import ModelRequest
from itk_infer.model.kinds.fake import FakeBackend
from itk_infer.options import Options
from itk_infer.predictor import Predictor

CPUINFO = """processor\t: 0
model name\t: Test CPU 9000
flags\t\t: fpu sse4_2 avx2 fma avx512_bf16 unknown
"""
NVIDIA = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.95.05  Tue Sep 23 10:11:16 UTC 2025\n"


@pytest.fixture
def machine(tmp_path):
    """A file system of a made-up machine: 2 GiB of memory, of which its container may use 1."""
    (tmp_path / "proc/driver/nvidia").mkdir(parents=True)
    (tmp_path / "proc/self").mkdir()
    (tmp_path / "proc/cpuinfo").write_text(CPUINFO)
    (tmp_path / "proc/driver/nvidia/version").write_text(NVIDIA)
    (tmp_path / "proc/meminfo").write_text("MemTotal: 2097152 kB\nMemAvailable: 1048576 kB\n")
    (tmp_path / "proc/self/status").write_text("VmRSS: 1024 kB\nVmHWM: 2048 kB\nRssAnon: 1024 kB\n")
    return tmp_path


def test_a_made_up_machine(machine):
    facts = gather(machine)
    assert facts.cpu.name == "Test CPU 9000"
    assert facts.cpu.instructions == ("sse4_2", "avx2", "fma", "avx512_bf16")
    assert facts.driver == "580.95.05"
    assert facts.memory[0] == 2 * 2**30 - 2**20
    assert "this machine" in facts.memory[1]


def test_this_machine():
    facts = gather()
    for name in ("numpy", "SimpleITK"):
        assert facts.packages[name] == metadata.version(name)
    assert facts.cpu.cores >= 1
    assert json.loads(json.dumps(facts.to_dict()))["python"] == ".".join(map(str, sys.version_info[:3]))
    assert not [finding for finding in findings(facts) if finding.level == "problem"]


def test_a_machine_without_proc(tmp_path):
    facts = gather(tmp_path)
    assert facts.driver is None
    assert facts.cpu.instructions == ()


def test_packages_that_cannot_be_imported(monkeypatch):
    monkeypatch.setattr(gather_module, "IMPORTED", {"zarr": "no_such_module"})
    monkeypatch.setattr(gather_module.openvino, "why_not", lambda: "no plugin")
    facts = gather()
    assert "no_such_module" in facts.broken["zarr"]
    if "openvino" in facts.packages:
        assert facts.broken["openvino"] == "no plugin"
        assert facts.cpu.precisions is None


def test_the_command(capsys):
    assert main(["doctor"]) == 0
    assert (
        "no problem is known of this environment" in capsys.readouterr().out
        or "advice:" in capsys.readouterr().out
    )
    assert main(["doctor", "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert {"packages", "cpu", "memory", "folders", "findings", "speed", "case"} <= content.keys()


def test_a_problem_is_exit_code_1(monkeypatch, capsys):
    monkeypatch.setattr(gather_module, "IMPORTED", {"numpy": "no_such_module"})
    assert main(["doctor"]) == 1
    assert "problem: numpy" in capsys.readouterr().out


def test_a_model_without_an_image_is_refused(tmp_path, capsys):
    assert main(["doctor", "-m", str(sign_network(tmp_path / "a.onnx"))]) == 2
    assert "belong together" in capsys.readouterr().err


class Ticking:
    """A clock that each call of a network moves by its own time, and that moves by nothing else."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now

    def backend(self, seconds):
        backend = FakeBackend()
        forward = backend.forward

        def slow(windows):
            self.now += seconds
            return forward(windows)

        backend.forward = slow
        return backend


def test_the_shortest_call_counts():
    clock = Ticking()
    windows = np.zeros((1, 1, 4, 4, 4), np.float32)
    assert seconds_per_call(clock.backend(0.25), windows, 1.0, clock) == pytest.approx(0.25)
    assert clock.now == pytest.approx(0.25 * 5)  # one uncounted


def test_what_an_image_would_take(tmp_path, monkeypatch):
    """Windows of 4 voxels on 12, half of them overlapping: 5 along each axis, 3 with a stride of 3."""
    spec = {"spec": 1, "window": {"patch_size": [4, 4, 4], "mirror_axes": [0, 2], "mirror": True}}
    path = sign_network(tmp_path / "a.onnx", metadata={"itk_infer": json.dumps(spec)})
    image = sitk.GetImageFromArray(np.zeros((12, 12, 12), np.int16))
    sitk.WriteImage(image, str(tmp_path / "scan.nii.gz"))
    clock, tried = Ticking(), []

    def run(self, volume, make_sinks):
        """Half a second per window, and two for the first case."""
        windows = windows_of_case(self.model, volume.grid, 2)
        clock.now += 0.5 * windows + 2 * (not tried)
        tried.append(windows)

    monkeypatch.setattr(Predictor, "run", run)
    request = ModelRequest((path,), None, Options(device="cpu", provider="cpu"))
    case = one_case(request, tmp_path / "scan.nii.gz", seconds=14.0, clock=clock)
    assert tried[:4] == [1, 1, 27, 27]  # 28 would fit, and 4 along an axis are 64
    assert case.size == (12, 12, 12)
    assert case.windows == 125
    assert case.seconds == pytest.approx(2 + 125 * 0.5)
    assert case.once == pytest.approx(2)
    assert [(knob.option, round(knob.factor, 4)) for knob in case.knobs] == [
        ("`step_size=0.75`", round(64 / 125, 4)),
        ("`tta=False`", 0.25),
    ][::-1]
    assert case.fits == ""
    small = one_case(ModelRequest((path,), None, Options(device="cpu", max_ram=1000)), tmp_path / "scan.nii.gz")
    assert "would need about" in small.fits
    assert "would be refused" in small.lines()[-1]


def test_an_image_for_an_ensemble(tmp_path, capsys):
    spec = {"spec": 1, "window": {"patch_size": [4, 4, 4]}}
    path = sign_network(tmp_path / "a.onnx", metadata={"itk_infer": json.dumps(spec)})
    sitk.WriteImage(sitk.GetImageFromArray(np.zeros((12, 12, 12), np.int16)), str(tmp_path / "scan.nii.gz"))
    (tmp_path / "r.json").write_text(json.dumps({"recipe": 1, "models": [{"model": "a.onnx"}]}), "utf-8")
    for models, windows in (["-m", path, "-m", path], 250), (["-m", tmp_path / "r.json"], 125):
        words = ["doctor", *models, "-i", tmp_path / "scan.nii.gz", "--device", "cpu"]
        assert main([*map(str, words)]) == 0
        told = capsys.readouterr().out
        assert f"12 x 12 x 12 voxels, {windows} windows" in told
        assert re.search(r"time: about [\d.]+ s, estimated from a smaller image of noise", told)


def test_the_speed_of_this_machine():
    pytest.importorskip("onnxruntime")
    found = list(speeds(0.05))
    assert ("cpu", "onnxruntime", "fp32") in [(one.device, one.provider, one.precision) for one in found]
    assert len({(one.device, one.provider, one.precision) for one in found}) == len(found)
    assert all(one.voxels_per_second > 0 for one in found)
    assert "million voxels per second" in str(found[0])
