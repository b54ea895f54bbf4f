"""Names under which findings are kept: the same for the same machine, another for another."""

from __future__ import annotations

import sys

from itk_infer.model.batch_size import hardware


def test_a_processor_has_a_name_and_threads(tmp_path, monkeypatch):
    (tmp_path / "cpuinfo").write_text(
        "processor\t: 0\nmodel name\t: Some CPU 9000\n\nmodel name\t: Some CPU 9000\n"
    )
    monkeypatch.setattr(hardware, "CPUINFO", tmp_path / "cpuinfo")
    name = hardware.device_name.__wrapped__
    assert name("cpu", 2) == "Some CPU 9000, 2 thread(s)"
    assert name("cpu", 4) != name("cpu", 2)
    monkeypatch.setattr(hardware, "CPUINFO", tmp_path / "absent")
    assert name("cpu", 2).endswith(", 2 thread(s)")


def test_a_gpu_has_the_name_that_the_driver_tells(tmp_path, monkeypatch):
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    monkeypatch.setattr(hardware, "GPUS", tmp_path)
    name = hardware.device_name.__wrapped__
    assert name("cuda:1", 2) == "cuda:1"
    for bus in ("0000:01:00.0", "0000:02:00.0"):
        (tmp_path / bus).mkdir()
        (tmp_path / bus / "information").write_text("Model: \t\t NVIDIA X100\nIRQ:   \t\t 24\n")
    assert name("cuda:1", 2) == "NVIDIA X100"


def test_a_provider_has_a_version():
    import onnxruntime

    assert hardware.provider_name("cpu") == f"cpu (onnxruntime {onnxruntime.__version__})"
    assert hardware.provider_name("fake") != hardware.provider_name("cpu")
