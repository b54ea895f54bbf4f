"""Networks that people have, small, as ONNX files: the answers agree, and the file runs without torch."""

from __future__ import annotations

import functools
import json
import re

import numpy as np
import pytest
import SimpleITK as sitk
from support.bundles import config, write_bundle
from support.nnunet_folder import architecture, configuration, plans, random_state, write_model
from support.without_torch import run_without_torch

from itk_infer.cli.main import main
from itk_infer.predictor import Predictor

torch = pytest.importorskip("torch", reason="torch is not installed")
nets = pytest.importorskip("monai.networks.nets", reason="monai is not installed")
pytest.importorskip("onnxscript", reason="onnxscript is not installed")
BLOCKS = {"spatial_dims": 3, "norm_name": "instance", "kernel_size": [3, 3, 3], "strides": [1, 2, 2]}
ENDS = {"in_channels": 1, "out_channels": 3}
NETWORKS = {
    "DynUNet": {**BLOCKS, **ENDS, "upsample_kernel_size": [2, 2], "filters": [4, 8, 8]},
    "SegResNet": {**ENDS, "init_filters": 8, "blocks_down": [1, 1], "blocks_up": [1]},
    "UNETR": {
        **ENDS,
        "img_size": [16, 16, 16],
        "feature_size": 4,
        "hidden_size": 12,
        "mlp_dim": 24,
        "num_heads": 2,
    },
    "SwinUNETR": {**ENDS, "feature_size": 12, "depths": [1] * 4, "num_heads": [1] * 4},
}
PARITY = re.compile(r"(\w+): (\d+) windows, largest difference (\S+) of (\S+), labels equal (\S+)%")


def bundle(folder, name):
    torch.manual_seed(0)
    size, inferer = (16, 16, 16), {"_target_": "SlidingWindowInferer", "roi_size": [16] * 3, "overlap": 0.25}
    if name == "SwinUNETR":  # it halves its windows five times, and normalises over what is left of them
        size = (64, 32, 32)
        inferer = {**inferer, "roi_size": [*size]}
    root = write_bundle(folder, config(network_def={"_target_": name, **NETWORKS[name]}, inferer=inferer))
    torch.save(getattr(nets, name)(**NETWORKS[name]).state_dict(), root / "models" / "model.pt")
    return root, size


def residual(folder):
    """nnU-Net's residual encoder."""
    about = architecture(name="ResidualEncoderUNet")
    plan = plans({"3d_fullres": configuration(architecture=about)})
    write_model(folder, plan=plan, state=random_state(about))
    return folder, (8, 16, 12)


def script(folder, traced):
    """A network of MONAI as TorchScript, as a bundle's model.ts: scripted or traced, with its spec."""
    torch.manual_seed(0)
    about = {**ENDS, "spatial_dims": 3, "channels": [4, 8], "strides": [2], "num_res_units": 1}
    network = (nets.SegResNet(**NETWORKS["SegResNet"]) if traced else nets.UNet(**about)).eval()
    example = torch.zeros(1, 1, 16, 16, 16)
    made = torch.jit.trace(network, example) if traced else torch.jit.script(network)
    spec = {
        "spec": 1,
        "name": "script",
        "input": {"intensity": [{"op": "zscore"}]},
        "window": {"patch_size": [16, 16, 16]},
        "output": {"labels": [{"value": 1}, {"value": 2}]},
    }
    path = folder.with_suffix(".ts")
    torch.jit.save(made, path, _extra_files={"itk_infer.json": json.dumps(spec)})
    return path, (16, 16, 16)


def only_traced(export):
    def traced(*given, dynamo, **more):
        if dynamo:
            raise RuntimeError("not in this test")
        return export(*given, dynamo=False, **more)

    return traced


MADE = {
    **{name: functools.partial(bundle, name=name) for name in NETWORKS},
    "ResidualEncoderUNet": residual,
    "a scripted UNet": functools.partial(script, traced=False),
    "a traced SegResNet": functools.partial(script, traced=True),
}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch.jit announces its successor
@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
@pytest.mark.parametrize("name", MADE)
def test_the_file_answers_as_the_network_and_runs_without_torch(tmp_path, capsys, monkeypatch, name):
    if name == "SwinUNETR":  # torch.export takes half a minute for it; docs/export.md has what it gives
        monkeypatch.setattr(torch.onnx, "export", only_traced(torch.onnx.export))
    model, size = MADE[name](tmp_path / "model")
    assert main(["export", "-m", str(model), "-o", str(tmp_path / "out.onnx")]) == 0
    printed = PARITY.findall(capsys.readouterr().out)
    assert printed[0][:2] == ("onnxruntime", "6")
    for _, _, difference, largest, equal in printed:
        assert float(difference) <= 1e-4 * float(largest)
        assert float(equal) >= 99.99
    voxels = np.random.default_rng(1).normal(100, 30, [side + 3 for side in size]).astype(np.float32)
    sitk.WriteImage(sitk.GetImageFromArray(voxels), str(tmp_path / "scan.mha"))
    scan, mask = tmp_path / "scan.mha", tmp_path / "ours.mha"
    words = ["-i", scan, "-m", tmp_path / "out.onnx", "-o", mask, "--device", "cpu", "--provider", "cpu"]
    run_without_torch(*words)
    ours = sitk.GetArrayFromImage(sitk.ReadImage(str(mask)))
    # In this process, which has imported torch and MONAI: a worker would need seconds to do so.
    theirs = sitk.GetArrayFromImage(Predictor.load(model, device="cpu", provider="cpu")(scan).labels)
    assert ours.shape == theirs.shape
    assert ours.max() > 0
    assert np.count_nonzero(ours != theirs) <= 1e-4 * ours.size
