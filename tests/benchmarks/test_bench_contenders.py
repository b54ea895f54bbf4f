"""Our own contenders run as the code is today: a benchmark that breaks is found here, not after an hour."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

import itk_infer


def test_the_engine(monkeypatch, tmp_path):
    from contenders import engine

    demo = Path(itk_infer.__file__).parent / "demo" / "hippocampus_unet.onnx"
    shutil.copy(demo, tmp_path / "network.onnx")
    monkeypatch.setattr(engine, "PATCH", (16, 16, 16))
    monkeypatch.setattr(engine, "STRIDE", (8, 8, 8))
    monkeypatch.setattr(engine, "SIZE", (24, 24, 24))
    monkeypatch.setattr(engine, "origins", lambda: [(0, 0, 0)] * 8)
    array = np.random.default_rng(0).normal(size=(24, 24, 24)).astype(np.float32)
    run = engine.CONTENDERS["ours-onnxruntime"](tmp_path, 3, 1, array)
    labels = run()
    assert labels.shape == array.shape
    assert set(np.unique(labels)) <= {0, 1, 2}


def test_evaluation(monkeypatch):
    pytest.importorskip("scipy", reason="scipy is not installed")
    from contenders import evaluate

    monkeypatch.setattr(evaluate, "SHAPE", (16, 20, 20))
    mask, truth = np.zeros((2, 16, 20, 20), np.uint8)
    evaluate.ball(mask, (8, 10, 10), 5, 1)
    evaluate.ball(truth, (8, 10, 11), 5, 1)
    ours, theirs = (evaluate.PROGRAMS[name]("organ", mask, truth) for name in ("ours", "simpleitk"))
    assert ours["dice"] == pytest.approx(theirs["dice"])
    assert 0 < ours["assd"] < ours["hd95"] <= ours["hd"]


def test_postprocessing():
    """The programs that are installed here leave the same voxels."""
    pytest.importorskip("monai", reason="monai is not installed")
    from contenders import postprocess

    rng = np.random.default_rng(0)
    array = np.zeros((16, 20, 20), np.uint8)
    array[2:12, 2:12, 2:9], array[2:12, 2:12, 11:18] = 1, 2
    array[5:7, 5:7, 4:6] = 0
    for z, y, x in rng.integers((13, 14, 1), (15, 19, 19), (8, 3)):
        array[z, y, x] = 1 + (z % 2)
    for task in ("largest", "holes"):
        names = ("ours", "simpleitk", "monai") if task == "largest" else ("ours", "simpleitk")
        found = [postprocess.PROGRAMS[name](task, array) for name in names]
        for other in found[1:]:
            np.testing.assert_array_equal(found[0], other)
        assert not np.array_equal(found[0], array)


def test_the_export(monkeypatch):
    pytest.importorskip("scipy", reason="scipy is not installed")
    from contenders import export

    monkeypatch.setattr(export, "MODEL", (8, 9, 10))
    monkeypatch.setattr(export, "NATIVE", (16, 18, 20))
    logits = export.logits(4)
    labels = export.CONTENDERS["ours"](logits, 1)()
    assert np.mean(labels == export.reference(logits)) > 0.999


def test_the_memory_and_the_limit_of_a_model_of_nnunet(monkeypatch, tmp_path):
    for name in ("torch", "openvino", "onnx"):
        pytest.importorskip(name, reason=f"{name} is not installed")
    import SimpleITK as sitk
    from contenders import nnunet_limit, nnunet_memory
    from support.nnunet_folder import write_model

    model = write_model(tmp_path / "m")
    image = tmp_path / "a.nii.gz"
    noise = np.random.default_rng(0).normal(100, 30, (8, 16, 20)).astype(np.float32)
    stored = sitk.GetImageFromArray(noise)
    stored.SetSpacing((1.25, 1.5, 2.0))
    sitk.WriteImage(stored, str(image))
    found = nnunet_memory.stages(model, image, 1)
    assert [stage["name"] for stage in found] == list(nnunet_memory.STAGES)
    assert all(stage["peak"] > 0 for stage in found)

    monkeypatch.setattr(nnunet_limit, "peak_gflops", lambda *_: 100.0)
    found = nnunet_limit.CONTENDERS["ours"](model, image, 1)
    assert found["windows"] == 3  # of 12 columns, spread over 20
    assert 0 < found["network"] < found["engine"]


def test_operations_of_a_torch_network():
    torch = pytest.importorskip("torch", reason="torch is not installed")
    from contenders.nnunet_limit import convolution_flops

    network = torch.nn.Sequential(
        torch.nn.Conv3d(3, 5, 3, padding=1, stride=2), torch.nn.ReLU(), torch.nn.ConvTranspose3d(5, 7, 2, stride=2)
    )
    # 4^3 places of the strided one, 5 channels of 27 * 3 products; from each of them to 8 * 7 values.
    assert convolution_flops(network, (1, 3, 8, 8, 8)) == 2 * 64 * 5 * 81 + 2 * 64 * 5 * 56
    assert network[0].weight.device.type == "cpu"
