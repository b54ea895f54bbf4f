"""What doctor says of environments that are made up."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from itk_infer.doctor.extras import EXTRAS
from itk_infer.doctor.facts import Cpu, Facts, Folder, Torch, numbers
from itk_infer.doctor.known import findings
from itk_infer.doctor.page import devices, page

GIB = 2**30
GOOD = {"onnxruntime": "1.31.1", "openvino": "2026.4.1", "torch": "2.13.0+cpu"}
GPU = Torch("13.0", 91900, (("Test GPU", 8 * GIB),))


def facts(packages=None, **more):
    """A good environment but for what is given."""
    return Facts("3.11.7", "Linux 6 x86_64", {**GOOD, **(packages or {})}, **more)


def gpu(cudnn, version="2.13.0"):
    return facts({"torch": version}, torch=Torch("13.0", cudnn, (("Test GPU", 8 * GIB),)), driver="580.1")


@pytest.mark.parametrize(
    "good",
    [
        facts(torch=Torch()),
        gpu(91900),
        gpu(91600),
        facts({"onnxruntime": "1.26.0"}),
        facts({"mmengine": "0.10.7", "setuptools": "80.10.2", "mmcv-lite": "2.1.0", "mmsegmentation": "1.2.2"}),
        Facts("3.12.1", "Darwin arm64", {"onnxruntime": "1.31.1", "openvino": "2026.4"}),
    ],
    ids=["cpu", "gpu", "repaired cudnn", "repaired runtime", "mmengine", "mac"],
)
def test_nothing_is_said_of_good_environments(good):
    assert findings(good) == []


@pytest.mark.parametrize(
    ("bad", "level", "text"),
    [
        (
            facts({"onnxruntime-gpu": "1.31.1"}),
            "problem",
            "onnxruntime and onnxruntime-gpu are installed together",
        ),
        (facts({"torch": "2.9.1"}), "problem", "torch 2.9.1 cannot read checkpoints safely"),
        (gpu(91002, "2.9.0"), "problem", "3D convolutions in half precision 10 to 20 times slower"),
        (gpu(91002), "problem", "cuDNN 9.10.2 computes some 3D convolutions in bf16 wrongly"),
        (gpu(91500), "advice", "TF32 kernels for 3D convolutions are broken in cuDNN 9.15.0"),
        (facts({"onnxruntime": "1.25.1"}), "problem", "onnxruntime 1.25.1 takes many times the memory"),
        (facts({"onnxruntime": "1.23.2"}), "problem", "onnxruntime 1.23.2 takes many times the memory"),
        (
            facts({"mmengine": "0.10.7", "setuptools": "84.2.1"}),
            "problem",
            "which setuptools 84.2.1 no longer has",
        ),
        (
            facts({"mmsegmentation": "1.2.2", "mmcv": "2.2.0"}),
            "problem",
            "mmsegmentation 1.2.2 refuses mmcv 2.2.0",
        ),
        (facts({"mmcv": "2.1.0", "mmcv-lite": "2.1.0"}), "problem", "mmcv and mmcv-lite are installed together"),
        (facts({"mmengine": "1", "onedl-mmengine": "1"}), "problem", "mmengine and onedl-mmengine are installed"),
        (facts(driver="580.1", torch=Torch()), "advice", "the installed torch is a CPU build"),
        (facts(driver="580.1", torch=Torch("13.0", 91900)), "problem", "finds no device with the driver 580.1"),
        (facts(driver="580.1", onnxruntime=("CPUExecutionProvider",)), "advice", "onnxruntime is a CPU build"),
        (facts(broken={"openvino": "no library"}), "problem", "openvino 2026.4.1 is installed and cannot be"),
        (Facts("3.11", "Linux"), "problem", "nothing is installed that runs networks"),
        (Facts("3.11", "Linux", {"onnxruntime": "1.31"}), "advice", "OpenVINO runs most networks faster"),
        (facts(folders=(Folder("outputs", "/data", free=2**20),)), "advice", "/data (outputs) has 1 MiB left"),
        (facts(folders=(Folder("caches", None),)), "advice", "the folder for caches (there is none) cannot"),
        (
            Facts("3.11", "Linux", {"onnxruntime-gpu": "1.26.0", "torch": "2.13.0", "openvino": "1"}, torch=GPU),
            "advice",
            "onnxruntime-gpu is built for CUDA 12, and torch for CUDA 13",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_known_is_said(bad, level, text):
    found = [finding for finding in findings(bad) if text in finding.text]
    assert [finding.level for finding in found] == [level]
    assert found[0].remedy


def test_openvino_alone_runs_models_of_nnunet():
    assert not [
        one for one in findings(Facts("3.11", "Linux", {"openvino": "2026.4.1"})) if one.level == "problem"
    ]


def test_problems_come_first():
    found = findings(facts({"torch": "2.9.1"}, driver="580", torch=Torch()))
    assert [finding.level for finding in found] == ["problem", "advice"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [("2.13.0+cpu", (2, 13, 0)), ("1.31rc1", (1, 31)), ("2026.4.1", (2026, 4, 1)), ("unknown", ())],
)
def test_versions_are_compared_as_numbers(text, expected):
    assert numbers(text) == expected


def test_the_extras_are_those_of_the_package():
    """Each is declared, and the packages that tell whether it is there are those that it installs."""
    project = tomllib.loads((Path(__file__).resolve().parents[2] / "pyproject.toml").read_text())["project"]
    declared = project["optional-dependencies"]
    for extra in EXTRAS:
        requirements = " ".join(declared[extra.name])
        for name in (item for item in declared[extra.name] if item.startswith("itk_infer[")):
            requirements += " ".join(declared[name[len("itk_infer[") : -1]])
        for names in extra.packages:
            assert any(name in requirements for name in names.split("|")), (extra.name, names)


def test_the_page():
    shown = page(
        facts(
            torch=GPU,
            onnxruntime=("CUDAExecutionProvider",),
            cpu=Cpu("Test CPU", 4, ("avx2",), ("fp32", "bf16")),
            memory=(3 * GIB, "that the limit of its container leaves of 4,096 MiB"),
            machine_memory=2 * GIB,
            folders=(Folder("outputs here", "/data", 5 * GIB, 2**20), Folder("caches", "/none", 0, 0, False)),
            environment={"OMP_NUM_THREADS": "1"},
        ),
        [],
    )
    for text in (
        "Test CPU; 4 cores may be used",
        "memory: 3.0 GiB that the limit of its container leaves",
        "cuda:0  Test GPU, 8.0 GiB; torch, onnxruntime: fp32; `precision=half`: fp16",
        "cpu     OpenVINO for every kind of model: fp32; `precision=half`: bf16",
        "mmengine    missing MMEngine configs with checkpoints (no mmengine, mmsegmentation, mmcv-lite)",
        "pip install 'itk_infer[mmengine]'",
        "/data, 5.0 GiB free, 1.0 MiB used",
        "caches: /none, cannot be written",
        "OMP_NUM_THREADS=1",
        "reports of onnxruntime and OpenVINO to their makers: switched off",
        "no problem is known",
    ):
        assert text in shown
    assert devices(Facts("3.11", "Linux")) == ["cpu     nothing is installed that runs networks"]
    assert "the NVIDIA driver is 580" in devices(facts(torch=Torch(), driver="580"))[-1]
