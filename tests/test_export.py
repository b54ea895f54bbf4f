"""`itk_infer export` from a model on the disk to masks: those of the file are those of the model."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
import SimpleITK as sitk
from onnx import TensorProto, helper, numpy_helper
from support.nnunet_folder import write_model
from support.onnx_files import save, sign_network

from itk_infer.cli.main import main
from itk_infer.errors import ConfigError
from itk_infer.export import export_model
from itk_infer.model.mean_of_networks import MeanOfNetworks
from itk_infer.options import Options
from itk_infer.predictor import Predictor

# A process that cannot import torch, as an environment without it.
WITHOUT_TORCH = """
import sys
for name in ("torch", "onnx", "onnxscript", "mmengine", "monai"):
    sys.modules[name] = None
from itk_infer.cli.main import main
sys.exit(main(sys.argv[1:]))
"""


def labels(path):
    return sitk.GetArrayFromImage(sitk.ReadImage(str(path)))


def run_without_torch(*words):
    command = [sys.executable, "-c", WITHOUT_TORCH, *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def nnunet(tmp_path_factory):
    """A model of two folds with an image, and what `export` made of it."""
    pytest.importorskip("torch")
    pytest.importorskip("onnxscript")
    folder = tmp_path_factory.mktemp("nnunet")
    write_model(folder / "model", folds=("0", "1"))
    values = np.random.default_rng(3).normal(100, 30, (14, 24, 20)).astype(np.float32)
    image = sitk.GetImageFromArray(values)
    image.SetSpacing((1.4, 1.5, 1.8))
    sitk.WriteImage(image, str(folder / "scan.nii.gz"))
    words = ["export", "-m", str(folder / "model"), "-o", str(folder / "small.onnx")]
    assert main([*words, "--verify", str(folder / "scan.nii.gz")]) == 0
    return folder


def test_folds_become_files_and_an_ensemble(nnunet):
    assert {path.name for path in nnunet.iterdir()} == {
        *("model", "scan.nii.gz"),
        *("small.json", "small_fold_0.onnx", "small_fold_1.onnx"),
    }
    document = json.loads((nnunet / "small.json").read_text())
    assert document["mean"] == "logits"
    assert document["name"] == "Dataset001_Small 3d_fullres"


def test_the_ensemble_runs_without_torch_and_makes_the_same_mask(nnunet, tmp_path):
    one = Predictor.load(nnunet / "model", device="cpu", provider="cpu", orientation="input")
    predictor = Predictor.load(nnunet / "small.json", device="cpu", provider="cpu")
    assert isinstance(predictor.backend, MeanOfNetworks)
    expected = sitk.GetArrayFromImage(one(nnunet / "scan.nii.gz").labels)
    words = ["-i", nnunet / "scan.nii.gz", "-o", tmp_path, "-m", nnunet / "small.json", "--orientation", "input"]
    run_without_torch(*words, "--provider", "cpu", "--device", "cpu")
    found = labels(tmp_path / "scan.nii.gz")
    assert np.count_nonzero(found != expected) <= 1  # a tie
    assert len(np.unique(found)) > 1


def test_what_is_there_is_kept(nnunet, capsys):
    before = (nnunet / "small_fold_0.onnx").read_bytes()
    assert main(["export", "-m", str(nnunet / "model"), "-o", str(nnunet / "small.onnx")]) == 2
    assert "small_fold_0.onnx: is there already; --overwrite replaces it" in capsys.readouterr().err
    assert (nnunet / "small_fold_0.onnx").read_bytes() == before


def test_the_demo_network(shared, configs, tmp_path, capsys):
    """An MMEngine config with its checkpoint, against the ONNX file that was made of it elsewhere."""
    pytest.importorskip("mmengine")
    pytest.importorskip("onnxscript")
    demo = configs.parent / "itk_infer" / "demo"
    image = demo / "mni152_hippocampus_left.nii.gz"
    checkpoint = shared / "demo" / "hippocampus_unet_state_dict.pth"
    words = ["export", "-cfg", configs / "hippocampus_unet.py", "-ckpt", checkpoint, "--verify", image]
    assert main([*map(str, words), "-o", str(tmp_path / "demo.onnx")]) == 0
    printed = capsys.readouterr().out
    assert "openvino: 6 windows" in printed
    assert "mni152_hippocampus_left.nii.gz: 0 of" in printed
    for name, model in (("new", tmp_path / "demo.onnx"), ("old", demo / "hippocampus_unet.onnx")):
        run_without_torch("-i", image, "-o", tmp_path / f"{name}.nii.gz", "-m", model, "--device", "cpu")
    np.testing.assert_array_equal(labels(tmp_path / "new.nii.gz"), labels(tmp_path / "old.nii.gz"))
    new, old = (
        Predictor.load(path, device="cpu").spec.output.labels
        for path in (tmp_path / "demo.onnx", demo / "hippocampus_unet.onnx")
    )
    assert new == old
    assert [label.code.words for label in new] == [
        "Hippocampus (SCT 5366008), Anterior",
        "Hippocampus (SCT 5366008), Posterior",
    ]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"output": "model.pt"}, "must end in .onnx"),
        ({"options": Options(precision="bf16")}, "`precision=bf16`: weights are stored in fp32 or fp16"),
        ({"merge_folds": True}, "does not have several folds"),
        ({"paths": ("a.onnx", "a.onnx")}, "an ensemble is not one network"),
    ],
    ids=["ending", "precision", "folds", "ensemble"],
)
def test_what_is_refused_before_anything_is_written(tmp_path, settings, message):
    sign_network(tmp_path / "a.onnx")
    paths = [tmp_path / name for name in settings.get("paths", ("a.onnx",))]
    with pytest.raises(ConfigError, match=message):
        list(
            export_model(
                paths,
                None,
                settings.get("options", Options(window_level=0, window_width=1)),
                tmp_path / settings.get("output", "out.onnx"),
                merge_folds=settings.get("merge_folds", False),
            )
        )
    assert [path.name for path in tmp_path.iterdir()] == ["a.onnx"]


def test_the_options_of_the_spec_are_written(tmp_path):
    sign_network(tmp_path / "a.onnx")
    words = ["export", "-m", tmp_path / "a.onnx", "-o", tmp_path / "b.onnx", "--wl", 40, "--ww", 400]
    assert main([*map(str, words), "--patch-size", "8", "8", "8"]) == 0
    spec = Predictor.load(tmp_path / "b.onnx", device="cpu").spec
    assert spec.window.patch_size == (8, 8, 8)
    assert (spec.input.intensity[0].level, spec.input.intensity[0].width) == (40, 400)


def test_a_missing_package_is_named(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    path = sign_network(tmp_path / "a.onnx")
    assert main(["export", "-m", str(path), "-o", str(tmp_path / "b.onnx")]) == 5
    assert "pip install 'itk_infer[export]'" in capsys.readouterr().err


def test_masks_that_differ_leave_no_file(tmp_path, monkeypatch, capsys):
    from itk_infer import export

    sign_network(tmp_path / "a.onnx", metadata={"itk_infer": json.dumps({"spec": 1})})
    image = sitk.GetImageFromArray(np.random.default_rng(0).normal(size=(5, 6, 7)).astype(np.float32))
    sitk.WriteImage(image, str(tmp_path / "scan.mha"))
    predictor = export.Predictor
    other = sign_network(
        tmp_path / "other.onnx",
        out_channels=1,
        metadata={"itk_infer": json.dumps({"output": {"decision": "threshold", "threshold": 0.9}})},
    )

    class Other(predictor):
        @classmethod
        def load(cls, path, *args, **keywords):
            return predictor.load(other, *args, **keywords)

    monkeypatch.setattr(export, "Predictor", Other)
    words = ["export", "-m", tmp_path / "a.onnx", "-o", tmp_path / "b.onnx", "--verify", tmp_path / "scan.mha"]
    assert main([*map(str, words)]) == 5
    assert "masks of the exported file differ from the model's (scan.mha:" in capsys.readouterr().err
    assert not (tmp_path / "b.onnx").exists()


def test_an_image_of_several_channels(tmp_path, capsys):
    shape = ("n", 2, "d", "h", "w")
    nodes = [helper.make_node("ReduceSum", ["x", "axes"], ["s"]), helper.make_node("Neg", ["s"], ["m"])]
    nodes.append(helper.make_node("Concat", ["m", "s"], ["y"], axis=1))
    spec = {"itk_infer": json.dumps({"spec": 1, "input": {"channels": ["T1", "T2"]}})}
    kinds = {"x": (TensorProto.FLOAT, shape)}, {"y": (TensorProto.FLOAT, shape)}
    axes = numpy_helper.from_array(np.int64([1]), "axes")
    save(tmp_path / "a.onnx", nodes, *kinds, spec, [axes])
    values = np.random.default_rng(0).normal(size=(2, 5, 6, 7)).astype(np.float32)
    for number in range(2):
        sitk.WriteImage(sitk.GetImageFromArray(values[number]), str(tmp_path / f"scan_000{number}.mha"))
    words = ["export", "-m", tmp_path / "a.onnx", "-o", tmp_path / "b.onnx", "--verify"]
    assert main([*map(str, words), str(tmp_path / "scan_0000.mha")]) == 0
    foreground = np.count_nonzero(values.sum(0) > 0)
    assert f"0 of 210 voxels differ, {foreground} have a label" in capsys.readouterr().out
    assert main([*map(str, words), str(tmp_path / "scan_0001.mha"), "--overwrite"]) == 2
    assert "give the file of the first one" in capsys.readouterr().err
