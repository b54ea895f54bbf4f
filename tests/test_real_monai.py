"""Bundles of MONAI: labels, geometry and network input as MONAI's own."""

from __future__ import annotations

import json

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from itk_infer import Predictor
from itk_infer.case.clock import Clock
from itk_infer.case.images import volume_of_images
from itk_infer.case.network_run import NetworkRun
from itk_infer.cli.main import main
from itk_infer.engine.host import HostWorkspace

pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("monai", reason="monai is not installed")
SMALL = [
    ("ct_spleen_unet", "ct_turned"),
    ("ct_spleen_unet", "example_ct_sm"),
    ("ct_organs_dynunet", "ct_turned"),
    ("ct_organs_dynunet", "example_ct_sm"),
]
MERGED = "brain_mr_segresnet/configs/inference_merged.json"
PER_MILLION = 10  # voxels of a million that may differ, by rounding


def ct(shared, case):
    return (
        shared / "monai" / "images_ct" / f"{case}.nii.gz"
        if case == "ct_turned"
        else shared / "ct" / f"{case}.nii.gz"
    )


def mr(shared, case):
    return [shared / "monai" / "images_mr" / f"{case}_{number:04}.nii.gz" for number in (0, 1)]


def compare(ours: sitk.Image, expected) -> None:
    theirs = sitk.ReadImage(str(expected))
    for what in ("GetSize", "GetSpacing", "GetOrigin", "GetDirection"):
        np.testing.assert_allclose(getattr(ours, what)(), getattr(theirs, what)(), atol=1e-5)
    one, other = sitk.GetArrayFromImage(ours), sitk.GetArrayFromImage(theirs)
    assert np.count_nonzero(one != other) <= PER_MILLION * one.size // 1_000_000


@pytest.mark.parametrize(("bundle", "case"), [*SMALL, ("ct_spleen_unet", "example_ct")])
def test_labels_are_those_of_monai(shared, bundle, case):
    predictor = Predictor.load(shared / "monai" / bundle, device="cpu", orientation="input")
    compare(predictor(ct(shared, case)).labels, shared / "monai" / "expected" / bundle / f"{case}.nii.gz")


@pytest.mark.parametrize("case", ["left", "right"])
def test_channels_are_merged_as_the_lambda_says(shared, case):
    predictor = Predictor.load(shared / "monai" / MERGED, device="cpu", orientation="input")
    expected = shared / "monai" / "expected" / "brain_mr_segresnet_merged" / f"{case}.nii.gz"
    compare(predictor(mr(shared, case)).labels, expected)


def test_channels_that_overlap(shared, tmp_path):
    """MONAI writes them as a 4D file; here they are layers of a segmentation, counted each."""
    words = ["-i", str(shared / "monai" / "images_mr"), "-o", str(tmp_path), "-m"]
    words += [str(shared / "monai" / "brain_mr_segresnet"), "--device", "cpu", "--progress", "json"]
    assert main(words) == 0
    numbers = json.loads((shared / "monai" / "expected" / "expected.json").read_text("utf-8"))[
        "brain_mr_segresnet"
    ]
    predictor = Predictor.load(shared / "monai" / "brain_mr_segresnet", device="cpu")
    for case in ("left", "right"):
        counts = [label.voxels for label in predictor(mr(shared, case)).measurements.labels]
        assert counts == pytest.approx(list(numbers[f"{case}_0000"]["output"]["voxels"].values()), abs=3)


def test_a_4d_file_in_and_a_4d_file_out(shared, tmp_path):
    """As MONAI itself takes and writes them."""
    case = sitk.JoinSeries([sitk.ReadImage(str(path), sitk.sitkUInt16) for path in mr(shared, "right")])
    (tmp_path / "in").mkdir()
    sitk.WriteImage(case, str(tmp_path / "in" / "right.nii.gz"))
    words = ["-i", tmp_path / "in", "-o", tmp_path / "out", "-m", shared / "monai" / "brain_mr_segresnet"]
    words += ["--device", "cpu", "--orientation", "input", "--save-channels", "--format", "nii.gz"]
    assert main([*map(str, words)]) == 0
    ours = nib.load(tmp_path / "out" / "right_channels.nii.gz")
    theirs = nib.load(shared / "monai" / "expected" / "brain_mr_segresnet" / "right.nii.gz")
    assert ours.shape == theirs.shape
    np.testing.assert_allclose(ours.affine, theirs.affine, atol=1e-4)
    assert np.count_nonzero(np.asanyarray(ours.dataobj) != np.asanyarray(theirs.dataobj)) <= 10


@pytest.mark.parametrize(("bundle", "case"), [*SMALL, ("brain_mr_segresnet", "left_0000"), (MERGED, "right_0000")])
def test_what_enters_the_network(shared, bundle, case):
    """Shape, statistics, single voxels and windows, by MONAI's own preprocessing."""
    key = "brain_mr_segresnet inference_merged" if bundle == MERGED else bundle
    expected = json.loads((shared / "monai" / "expected" / "expected.json").read_text("utf-8"))[key][case]
    predictor = Predictor.load(shared / "monai" / bundle, device="cpu", provider="cpu")
    images = mr(shared, case[:-5]) if "000" in case else [ct(shared, case)]
    volume, _ = volume_of_images([str(image) for image in images])
    plan = predictor.plan(volume.grid, volume.array.itemsize)
    run = NetworkRun(predictor.model, HostWorkspace(), volume, None, plan, Clock())
    inside = tuple(
        slice(before, before + size) for (before, _), size in zip(run.plan.windows.pads, run.plan.model.size)
    )
    entering = run.prepared.volume[:][(slice(None), *inside)]
    assert list(entering.shape) == expected["model_shape"]
    assert len(run.plan.windows) == expected["windows"]
    patch = zip(expected["stride"], predictor.window.patch, predictor.window.stride)
    assert all(
        theirs in (ours, size) for theirs, size, ours in patch
    )  # MONAI's is the patch where it is the volume
    statistics = {"mean": np.mean, "std": np.std, "min": np.min, "max": np.max}
    for name, function in statistics.items():
        assert function(entering.astype(np.float64)) == pytest.approx(expected[f"model_{name}"], abs=2e-6)
    for where, value in expected["probe"].items():
        x, y, z = json.loads(where.replace("(", "[").replace(")", "]"))
        assert entering[0, x, y, z] == pytest.approx(value, abs=2e-6)
