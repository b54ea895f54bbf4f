"""Real networks on real scans, with the results they must give."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from openpyxl import load_workbook

from itk_infer import Predictor
from itk_infer.cli.main import main
from itk_infer.run.folder import run_folder
from itk_infer.run.settings import RunSettings


def array(path: Path) -> np.ndarray:
    return sitk.GetArrayFromImage(sitk.ReadImage(str(path)))


def on_grid_of(labels: Path | sitk.Image, reference: Path) -> np.ndarray:
    """Label values at the voxel centres of a reference image, wherever both lie."""
    image = labels if isinstance(labels, sitk.Image) else sitk.ReadImage(str(labels))
    return sitk.GetArrayFromImage(
        sitk.Resample(image, sitk.ReadImage(str(reference)), sitk.Transform(), sitk.sitkNearestNeighbor)
    )


def dice(found: np.ndarray, truth: np.ndarray, label: int) -> float:
    one, two = found == label, truth == label
    return 2 * np.count_nonzero(one & two) / (np.count_nonzero(one) + np.count_nonzero(two))


def itk_infer(*args: object) -> int:
    return main([str(arg) for arg in args])


def mean_dice(output: Path, shared: Path) -> tuple[float, float]:
    truths = sorted((shared / "hippocampus" / "labels").iterdir())
    assert len(truths) == 8
    scores = [[dice(on_grid_of(output / t.name, t), array(t), label) for label in (1, 2)] for t in truths]
    anterior, posterior = np.mean(scores, axis=0)
    return float(anterior), float(posterior)


@pytest.fixture(scope="session")
def by_onnx(shared, tmp_path_factory):
    """The 8 hippocampus cases through ONNX, in one window each."""
    output = tmp_path_factory.mktemp("onnx")
    model = shared / "demo" / "hippocampus_unet.onnx"
    assert itk_infer("-i", shared / "hippocampus/images", "-o", output, "--onnx", model, "--device", "cpu") == 0
    return output


def test_hippocampus_dice(by_onnx, shared):
    anterior, posterior = mean_dice(by_onnx, shared)
    assert anterior >= 0.88
    assert posterior >= 0.86


@pytest.fixture(scope="session")
def in_small_windows(shared, tmp_path_factory):
    output = tmp_path_factory.mktemp("small")
    model = shared / "demo" / "hippocampus_unet.onnx"
    source = shared / "hippocampus/images"
    assert (
        itk_infer("-i", source, "-o", output, "--onnx", model, "--patch-size", 32, 40, 32, "--device", "cpu") == 0
    )
    return output


def test_hippocampus_dice_in_several_windows(in_small_windows, shared):
    anterior, posterior = mean_dice(in_small_windows, shared)
    assert anterior == pytest.approx(0.882, abs=0.005)
    assert posterior == pytest.approx(0.861, abs=0.005)


def test_blending_equals_a_float64_reference_that_holds_everything(in_small_windows, shared):
    """The whole pipeline written down plainly: orient, z-score, pad, windows, weights, divide, argmax."""
    import itertools

    import onnxruntime

    session = onnxruntime.InferenceSession(
        str(shared / "demo/hippocampus_unet.onnx"), providers=["CPUExecutionProvider"]
    )
    name = session.get_inputs()[0].name
    patch, stride = (32, 40, 32), (16, 20, 16)
    weight = np.ones(patch)
    for axis, p in enumerate(patch):
        shape = [1, 1, 1]
        shape[axis] = p
        weight = weight * np.exp(-0.5 * ((np.arange(p) - (p - 1) / 2) / (p / 8)) ** 2).reshape(shape)
    agree = voxels = windows = 0
    for path in sorted((shared / "hippocampus/images").iterdir()):
        image = sitk.DICOMOrient(sitk.ReadImage(str(path)), "RAS")
        x = sitk.GetArrayFromImage(image).astype(np.float64)
        x = (x - x.mean()) / x.std()
        pads = [(max(0, p - n) // 2, max(0, p - n) - max(0, p - n) // 2) for n, p in zip(x.shape, patch)]
        padded = np.pad(x, pads)
        total, count = np.zeros((3, *padded.shape)), np.zeros(padded.shape)
        starts = [sorted({*range(0, n - p, s), n - p}) for n, p, s in zip(padded.shape, patch, stride)]
        for origin in itertools.product(*starts):
            where = tuple(slice(o, o + p) for o, p in zip(origin, patch))
            logits = session.run(None, {name: padded[where][None, None].astype(np.float32)})[0][0]
            total[(slice(None), *where)] += logits.astype(np.float64) * weight
            count[where] += weight
            windows += 1
        crop = tuple(slice(before, before + n) for (before, _), n in zip(pads, x.shape))
        expected = np.argmax((total / count)[(slice(None), *crop)], axis=0)
        found = sitk.GetArrayFromImage(sitk.DICOMOrient(sitk.ReadImage(str(in_small_windows / path.name)), "RAS"))
        agree += np.count_nonzero(found == expected)
        voxels += expected.size
    assert windows >= 8 * 4  # so that blending is real
    assert agree / voxels >= 0.9999


def test_mmengine_agrees_with_onnx(by_onnx, shared, configs, tmp_path):
    pytest.importorskip("mmengine", reason="needs the mmengine extra")
    weights = shared / "demo/hippocampus_unet_state_dict.pth"
    source = shared / "hippocampus/images"
    assert (
        itk_infer(
            "-i",
            source,
            "-o",
            tmp_path,
            "-cfg",
            configs / "hippocampus_unet.py",
            "-ckpt",
            weights,
            "--device",
            "cpu",
        )
        == 0
    )
    for path in source.iterdir():
        assert np.mean(array(tmp_path / path.name) == array(by_onnx / path.name)) >= 0.999


def test_a_real_training_checkpoint(shared, configs, trained_checkpoint, tmp_path):
    """Optimizer state, message hub and all. These cases were seen in its training."""
    source = shared / "hippocampus/images"
    config = configs / "hippocampus_unet.py"
    assert (
        itk_infer(
            "-i",
            source,
            "-o",
            tmp_path,
            "--backend",
            "mmengine",
            "-cfg",
            config,
            "-ckpt",
            trained_checkpoint,
            "--device",
            "cpu",
        )
        == 0
    )
    assert min(mean_dice(tmp_path, shared)) >= 0.85


@pytest.mark.parametrize("model", ["meshnet_gwm.onnx", "meshnet_gwm_fixed256.onnx"])
def test_meshnet(shared, tmp_path, model):
    folder = shared / "meshnet_gwm"
    spec = folder / "meshnet_gwm.spec.json"
    template = folder / "mni_icbm152_t1_tal_nlin_sym_09a_converted.nii.gz"
    predictor = Predictor.from_onnx(folder / model, device="cpu", spec=spec)
    truth = folder / "mni_tissue_labels_derived.nii.gz"
    found = on_grid_of(predictor(template).labels, truth)
    assert dice(found, array(truth), 1) >= 0.86
    assert dice(found, array(truth), 2) >= 0.81
    result = predictor(folder / "t1_crop.nii.gz")
    stored = folder / "t1_crop__meshnet_gwm.nii.gz"
    agreement = np.mean(on_grid_of(result.labels, stored) == array(stored))
    voxels = [measured.voxels for measured in result.measurements.labels]
    if model == "meshnet_gwm.onnx":
        assert voxels == [518540, 735212]
    assert voxels == pytest.approx([518540, 735212], rel=1e-3)
    assert agreement >= 0.999


@pytest.mark.parametrize("model", ["deepbrain_v1_logits2_zyx", "deepbrain_v1_sigmoid1_zyx"])
def test_deepbrain(shared, model):
    folder = shared / "deepbrain"
    result = Predictor.from_onnx(folder / f"{model}.onnx", device="cpu")(folder / "example_brain_t1.nii.gz")
    assert result.volumes_ml["brain"] == pytest.approx(1345, rel=0.03)


@pytest.mark.parametrize(
    "scan", ["spine/t2.nii.gz", "brain_tumour/brain1_image.nrrd", "mr_small/example_mr_sm.nii.gz"]
)
@pytest.mark.parametrize("suffix", ["same", "nrrd", "mha", "nii.gz"])
def test_orientation(shared, tmp_path, scan, suffix):
    """Input grid exactly; LPI on the same anatomy. The network is a threshold in the model's orientation."""
    from itk_infer.model.kinds.fake import FakeBackend
    from itk_infer.spec import parse_spec

    path = shared / scan
    image = sitk.ReadImage(str(path))
    level = float(np.percentile(sitk.GetArrayViewFromImage(image), 75))
    spec = parse_spec({"input": {"orientation": "RAS"}}, "test")

    def threshold(windows):
        return np.concatenate([level - windows, windows - level], axis=1)

    for orientation in ("input", "LPI"):
        predictor = Predictor(FakeBackend(threshold, spec), orientation=orientation)
        assert run_folder(predictor, RunSettings(path, tmp_path / orientation, format=suffix)).exit_code == 0
    (in_input,) = [p for p in (tmp_path / "input").iterdir() if p.name.startswith(path.name.split(".")[0])]
    (in_lpi,) = [p for p in (tmp_path / "LPI").iterdir() if p.name.startswith(path.name.split(".")[0])]
    mask = sitk.ReadImage(str(in_input))
    assert mask.GetSize() == image.GetSize()
    np.testing.assert_allclose(mask.GetSpacing(), image.GetSpacing(), rtol=1e-6)
    np.testing.assert_allclose(mask.GetOrigin(), image.GetOrigin(), atol=1e-4)
    np.testing.assert_allclose(mask.GetDirection(), image.GetDirection(), atol=1e-6)
    expected = sitk.GetArrayFromImage(image) > level
    np.testing.assert_array_equal(sitk.GetArrayFromImage(mask), expected)
    turned = sitk.ReadImage(str(in_lpi))
    code = sitk.DICOMOrientImageFilter.GetOrientationFromDirectionCosines(turned.GetDirection())
    assert code == "LPI"
    np.testing.assert_array_equal(on_grid_of(turned, path), expected)


# The program, which gets its signal while it tells of the third case, however slow the reader of its events is.
INTERRUPTED = """
import signal, sys
from itk_infer.cli import progress
from itk_infer.cli.main import main
from itk_infer.events import CaseDone

tell, done = progress.JsonLines.__call__, []

def tell_and_interrupt(self, event):
    tell(self, event)
    done.extend([event] * isinstance(event, CaseDone))
    if len(done) == 3 and isinstance(event, CaseDone):
        signal.raise_signal(signal.SIGINT)

progress.JsonLines.__call__ = tell_and_interrupt
sys.exit(main(sys.argv[1:]))
"""


def test_a_run_of_eight_interrupted_after_the_third(shared, tmp_path):
    model = shared / "demo/hippocampus_unet.onnx"
    source = shared / "hippocampus/images"
    words = ["-i", source, "-o", tmp_path, "--onnx", model, "--device", "cpu", "--save-conf", "--progress", "json"]

    def run(*python):
        command = [sys.executable, *python, *map(str, words)]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)

    interrupted = run("-c", INTERRUPTED)
    assert interrupted.returncode == 130
    finished = sum(json.loads(line)["event"] == "case_done" for line in interrupted.stdout.splitlines())
    assert 3 <= finished < 8  # one that had begun may end
    assert "Interrupted" in interrupted.stderr
    assert not [p for p in tmp_path.iterdir() if "partial" in p.name or p.name.endswith(".lock")]
    again = run("-m", "itk_infer")
    assert again.returncode == 0
    kinds = [json.loads(line)["event"] for line in again.stdout.splitlines()]
    assert kinds.count("case_done") == 8 - finished
    assert kinds.count("case_skipped") == finished
    assert len(list(load_workbook(tmp_path / "confidences.xlsx").active.values)) == 9
