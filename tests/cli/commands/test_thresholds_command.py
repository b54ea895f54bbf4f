"""``itk_infer thresholds`` on the command line, with the bundled network and one of known probabilities."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from itk_infer.cli.main import main

DEMO = Path(__file__).resolve().parents[3] / "itk_infer" / "demo"


def save(path, array):
    path.parent.mkdir(exist_ok=True)
    sitk.WriteImage(sitk.GetImageFromArray(array), str(path))


@pytest.fixture
def scratch(tmp_path, monkeypatch):
    """A network that returns its input, which is a logit; truth where the probability is at least 0.3."""
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    monkeypatch.chdir(tmp_path)
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    sides = (helper.make_tensor_value_info(name, kind, ["N", 1, "Z", "Y", "X"]) for name in ("image", "logits"))
    image, logits = sides
    graph = helper.make_graph([helper.make_node("Identity", ["image"], ["logits"])], "same", [image], [logits])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, "same.onnx")
    label = {"value": 1, "name": "liver"}
    spec = {"spec": 1, "output": {"decision": "threshold", "labels": [label]}, "window": {"patch_size": [4, 8, 8]}}
    Path("same.spec.json").write_text(json.dumps(spec))
    rng = np.random.default_rng(0)
    for index in range(2):
        probability = rng.uniform(0.05, 0.95, (6, 9, 10))
        save(tmp_path / f"scans/{index}.nii.gz", np.log(probability / (1 - probability)).astype(np.float32))
        save(tmp_path / f"truths/{index}_seg.nii.gz", (probability >= 0.3).astype(np.uint8))
    return tmp_path


BASIC = ("thresholds", "-m", "same.onnx", "--device", "cpu", "-i", "scans")


def test_the_threshold_behind_the_truth_is_found(scratch, capfd):
    assert main((*BASIC, "-t", "truths", "-o", "better.json")) == 0
    out, err = capfd.readouterr()
    found = re.search(r"^liver  (0\.\d+): mean Dice ([\d.]+) \(at 0\.5: ([\d.]+)\); as good: ([\d.]+) to", out)
    threshold, dice, now, low = map(float, found.groups())
    assert threshold == pytest.approx(0.3, abs=0.004)
    assert dice == pytest.approx(1, abs=1e-3)
    assert now < 0.9
    assert low <= threshold
    assert "only 2 cases have it" in err
    assert "thresholds of cases that the model was trained with are too good" in err
    assert json.loads(Path("better.json").read_text()) == {"spec": 1, "output": {"threshold": threshold}}
    assert main(("inspect", "-m", "same.onnx", "--device", "cpu", "--spec", "better.json", "--json")) == 0
    assert json.loads(capfd.readouterr().out)["spec"]["output"]["threshold"] == threshold


def test_without_truth_it_is_otsus(scratch, capfd):
    assert main((*BASIC, "-o", "otsu.json")) == 0
    found = float(re.search(r"^liver  Otsu (0\.\d+)", capfd.readouterr().out)[1])
    assert found == pytest.approx(0.5, abs=0.02)  # of a uniform distribution
    assert json.loads(Path("otsu.json").read_text())["output"]["threshold"] == pytest.approx(found, abs=5e-4)


def test_a_case_that_fails_and_one_without_truth(scratch, capfd):
    save(scratch / "scans/extra.nii.gz", np.zeros((4, 4, 4), np.float32))
    (scratch / "truths/1_seg.nii.gz").write_bytes(b"no image")
    assert main((*BASIC, "-t", "truths")) == 3
    err = capfd.readouterr().err
    assert "1 images have no truth and do not count: extra.nii.gz" in err
    assert "failed: 1.nii.gz" in err
    (scratch / "truths/0_seg.nii.gz").write_bytes(b"no image")
    assert main((*BASIC, "-t", "truths")) == 4


def test_truth_without_the_label(scratch, capfd):
    for index in range(2):
        save(scratch / f"truths/{index}_seg.nii.gz", np.zeros((6, 9, 10), np.uint8))
    assert main((*BASIC, "-t", "truths", "-o", "none.json")) == 0
    out, err = capfd.readouterr()
    assert out == "liver  in no truth: no threshold\n"
    assert "none.json: not written" in err
    assert not Path("none.json").exists()


def test_one_image_and_one_file(scratch, capfd):
    assert main((*BASIC[:-1], "scans/0.nii.gz", "-t", "truths/0_seg.nii.gz")) == 0
    assert "liver  0." in capfd.readouterr().out


def test_the_bundled_network_takes_the_most_probable_label(tmp_path, capfd):
    pytest.importorskip("onnxruntime")
    scan = sitk.ReadImage(str(DEMO / "mni152_hippocampus_left.nii.gz"))
    model = ("thresholds", "-m", str(DEMO / "hippocampus_unet.onnx"), "--device", "cpu")
    sitk.WriteImage(scan, str(tmp_path / "scan.nii.gz"))
    truth = sitk.Cast(scan, sitk.sitkUInt8) * 0 + 1
    sitk.WriteImage(truth, str(tmp_path / "truth.nii.gz"))
    images = ("-i", str(tmp_path / "scan.nii.gz"))
    assert main((*model, *images, "-t", str(tmp_path / "truth.nii.gz"))) == 0
    out, err = capfd.readouterr()
    assert "anterior hippocampus   0.001: mean Dice" in out
    assert "posterior hippocampus  in no truth" in out
    assert "this model takes the most probable label: -o writes a spec by which" in err
    assert "(at" not in out
    spec = tmp_path / "spec.json"
    assert main((*model, *images, "-t", str(tmp_path / "truth.nii.gz"), "-o", str(spec))) == 0
    assert json.loads(spec.read_text())["output"]["threshold"] == {"anterior hippocampus": 0.001}
    capfd.readouterr()
    inspect = ("inspect", *model[1:], "--spec", str(spec))
    assert main(inspect) == 0
    assert "threshold    anterior hippocampus 0.001" in capfd.readouterr().out
    counts = []
    for number, more in enumerate(((), ("--spec", str(spec)))):
        out = str(tmp_path / f"masks{number}.nii.gz")
        assert main((*images, "-o", out, *model[1:], *more)) == 0
        values = sitk.GetArrayFromImage(sitk.ReadImage(out))
        counts.append(np.count_nonzero(values == 1))
    assert counts[1] > 1.2 * counts[0]  # everything whose probability is above a thousandth


def test_one_threshold_for_each_label(scratch, capfd):
    """Two channels, the first of the truth at 0.3, the second at 0.7."""
    onnx = pytest.importorskip("onnx")
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    image = helper.make_tensor_value_info("image", kind, ["N", 1, "Z", "Y", "X"])
    logits = helper.make_tensor_value_info("logits", kind, ["N", 2, "Z", "Y", "X"])
    twice = helper.make_node("Concat", ["image", "image"], ["logits"], axis=1)
    graph = helper.make_graph([twice], "twice", [image], [logits])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), "same.onnx")
    names = ["wide", 'narrow, "core"']
    labels = [{"value": value, "name": name} for value, name in enumerate(names, 1)]
    spec = {"spec": 1, "output": {"decision": "threshold", "labels": labels}, "window": {"patch_size": [4, 8, 8]}}
    Path("same.spec.json").write_text(json.dumps(spec))
    probability = {}
    for index in range(2):
        logit = sitk.GetArrayFromImage(sitk.ReadImage(f"scans/{index}.nii.gz"))
        probability[index] = 1 / (1 + np.exp(-logit.astype(float)))
    truth = scratch / "truth.seg.nrrd"
    wide, narrow = (probability[0] >= limit for limit in (0.3, 0.7))
    # The truth of one label at a time: a label map cannot hold both.
    for name, value, mask in ((names[0], 1, wide), (names[1], 2, narrow)):
        save(scratch / "one/0.nii.gz", (mask * value).astype(np.uint8))
        assert (
            main((*BASIC[:-1], "scans/0.nii.gz", "-t", "one/0.nii.gz", "-o", f"{value}.json", "--per-label")) == 0
        )
        limits = json.loads(Path(f"{value}.json").read_text())["output"]["threshold"]
        assert limits[name] == pytest.approx(0.3 if value == 1 else 0.7, abs=0.004)
    Path("both.json").write_text(json.dumps({"output": {"threshold": dict(zip(names, (0.3, 0.7), strict=True))}}))
    assert main(("-i", "scans/0.nii.gz", "-o", str(truth), *BASIC[1:5], "--spec", "both.json")) == 0
    capfd.readouterr()
    layers = sitk.GetArrayFromImage(sitk.DICOMOrient(sitk.ReadImage(str(truth)), "LPS"))
    np.testing.assert_array_equal((layers == 1).any(axis=-1), wide)
    np.testing.assert_array_equal((layers == 2).any(axis=-1), narrow)


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (("-i", "gone"), 2, "no such file or folder"),
        (("-i", "scans", "-t", "gone"), 2, "no such file or folder"),
        (("-i", "scans", "-t", "truths/0_seg.nii.gz"), 2, "is one file, and there are 2 images"),
        (("-i", "scans", "-t", "empty"), 6, "No image in the input has a label map"),
    ],
)
def test_wrong_folders(scratch, capfd, options, code, words):
    Path("empty").mkdir()
    assert main((*BASIC[:-2], *options)) == code
    assert words in capfd.readouterr().err
