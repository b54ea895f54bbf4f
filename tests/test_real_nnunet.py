"""Model folders of nnU-Net: labels, geometry, network input and logits as nnU-Net's own.

The label maps were written by nnU-Net, which sums in half precision. So those of exact sums may differ in a few
voxels; how many is known for each file, and a few more are allowed for rounding in another order.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from itk_infer import Predictor
from itk_infer.case.clock import Clock
from itk_infer.case.images import volume_of_images
from itk_infer.case.network_run import NetworkRun
from itk_infer.cli.main import main
from itk_infer.engine.host import HostWorkspace
from itk_infer.engine.slabs import finished_slabs

pytest.importorskip("torch", reason="torch is not installed")
HIPPOCAMPUS, REGIONS = "Dataset004_Hippocampus", "Dataset105_HippocampusRegions"
MODELS = {
    "fullres_folds01": (HIPPOCAMPUS, ["nnUNetTrainer__nnUNetPlans__3d_fullres"]),
    "fullres_fold0": (HIPPOCAMPUS, ["nnUNetTrainer__nnUNetPlans__3d_fullres/fold_0"]),
    "2d": (HIPPOCAMPUS, ["nnUNetTrainer__nnUNetPlans__2d"]),
    "lowres": (HIPPOCAMPUS, ["nnUNetTrainer__nnUNetPlans__3d_lowres"]),
    "cascade": (HIPPOCAMPUS, ["nnUNetTrainer__nnUNetPlans__3d_cascade_fullres"]),
    "oldplans": (HIPPOCAMPUS, ["nnUNetTrainer__nnUNetPlansOld__3d_fullres"]),
    "torchres": (HIPPOCAMPUS, ["nnUNetTrainerNoMirroring__nnUNetPlansTorchres__3d_fullres"]),
    "regions": (REGIONS, ["nnUNetTrainerHippocampusRegions__nnUNetPlans__3d_fullres"]),
    "ensemble_fullres_2d": (
        HIPPOCAMPUS,
        ["nnUNetTrainer__nnUNetPlans__3d_fullres/fold_0", "nnUNetTrainer__nnUNetPlans__2d"],
    ),
}
TOLERATED = 1  # voxels a file beyond those of exact sums: ours are in float32
UNCOUNTED = 3  # of files for which it was not counted


@pytest.fixture(scope="session")
def nnunet(shared):
    return shared / "nnunet"


def voxels(path: Path) -> np.ndarray:
    return sitk.GetArrayFromImage(sitk.ReadImage(str(path)))


def models_of(nnunet, name):
    dataset, folders = MODELS[name]
    return [nnunet / "models" / dataset / folder for folder in folders], nnunet / "images" / dataset


def run(nnunet, output, name, *flags):
    models, images = models_of(nnunet, name)
    named = [word for model in models for word in ("-m", str(model))]
    words = ["-i", str(images), "-o", str(output), "--orientation", "input", "--device", "cpu", *named, *flags]
    assert main(words) == 0


def compare(found: Path, expected: Path, tolerated: int) -> None:
    ours, theirs = sitk.ReadImage(str(found)), sitk.ReadImage(str(expected))
    for what in ("GetSize", "GetSpacing", "GetOrigin", "GetDirection"):
        np.testing.assert_allclose(getattr(ours, what)(), getattr(theirs, what)(), atol=1e-5)
    one, other = sitk.GetArrayFromImage(ours), sitk.GetArrayFromImage(theirs)
    differing, foreground = int((one != other).sum()), int((other > 0).sum())
    assert differing <= tolerated, f"{found.name}: {differing} of {foreground} voxels"


@pytest.mark.parametrize("mode", ["no_tta", "tta"])
@pytest.mark.parametrize(
    "name", ["fullres_folds01", "fullres_fold0", "2d", "lowres", "oldplans", "torchres", "regions"]
)
def test_the_labels_are_nnunets(nnunet, tmp_path, capfd, name, mode):
    expected = nnunet / "expected" / name / mode
    if not expected.is_dir():
        pytest.skip("nnU-Net was not run so")
    counted = json.loads((nnunet / "expected_numbers.json").read_text("utf-8"))[name][mode]
    run(nnunet, tmp_path, name, *(["--no-tta"] if mode == "no_tta" else []))
    files = sorted(expected.iterdir())
    assert len(files) == 4
    for file in files:
        exact = counted[file.name.removesuffix(".nii.gz").rpartition("_")[2]]["exact_sums_differ"]
        compare(tmp_path / file.name, file, exact + TOLERATED)


def test_its_postprocessing_is_nnunets(nnunet, tmp_path, capfd):
    run(nnunet, tmp_path, "lowres", "--no-tta", "--nnunet-postprocessing")
    note = (
        "crossval_results_folds_all/postprocessing.json is applied: the largest component of label 1 and 2 is kept"
    )
    assert note in capfd.readouterr().err
    raw = nnunet / "expected" / "lowres" / "no_tta"
    changed = 0
    for file in sorted((nnunet / "expected" / "lowres_postprocessed" / "no_tta").iterdir()):
        compare(tmp_path / file.name, file, TOLERATED + UNCOUNTED)
        changed += int((voxels(file) != voxels(raw / file.name)).sum())
    assert changed > 100  # so that the raw label maps would not do


def test_an_ensemble_is_nnunets(nnunet, tmp_path, capfd):
    run(nnunet, tmp_path, "ensemble_fullres_2d")
    for file in (nnunet / "expected" / "ensemble_fullres_2d").iterdir():
        compare(tmp_path / file.name, file, UNCOUNTED)


def test_a_cascade_runs_both_stages(nnunet, tmp_path, capfd):
    """The first stage's own few voxels come on top: see the next test for the second alone."""
    run(nnunet, tmp_path, "cascade", "--no-tta", "--keep-previous")
    for file in (nnunet / "expected" / "cascade" / "no_tta").iterdir():
        compare(tmp_path / file.name, file, 20)
        first = nnunet / "expected" / "lowres" / "no_tta" / file.name
        compare(tmp_path / file.name.replace(".nii.gz", "_previous.nii.gz"), first, 20)


@pytest.mark.parametrize("mode", ["no_tta", "tta"])
def test_the_second_stage_is_nnunets_where_the_first_is(nnunet, tmp_path, capfd, mode):
    """With the label maps that nnU-Net's first stage wrote."""
    masks = nnunet / "expected" / "lowres" / mode
    run(nnunet, tmp_path, "cascade", "--previous-stage", str(masks), *(["--no-tta"] if mode == "no_tta" else []))
    counted = json.loads((nnunet / "expected_numbers.json").read_text("utf-8"))["cascade"][mode]
    for case, numbers in counted.items():
        file = f"hippocampus_{case}.nii.gz"
        compare(
            tmp_path / file,
            nnunet / "expected" / "cascade" / mode / file,
            numbers["exact_sums_differ"] + TOLERATED,
        )


REFERENCES = ["2d_094r", "cascade_084", "fullres_folds01_094r", "regions_094", "torchres_094r"]


def logits_on_the_models_grid(prepared_run: NetworkRun) -> np.ndarray:
    """Blended logits of one case, without padding, (C, Z, Y, X)."""
    slabs = finished_slabs(
        prepared_run.prepared.volume, prepared_run.plan.windows, prepared_run.forward, HostWorkspace()
    )
    return np.concatenate([slab.logits.copy() for slab in slabs], axis=1)


@pytest.mark.parametrize("provider", ["cpu", "openvino"])
@pytest.mark.parametrize("reference", REFERENCES)
def test_what_enters_the_network_and_what_leaves_it(nnunet, reference, provider):
    """Against float64 sums over nnU-Net's own preprocessing; by torch, and by OpenVINO without torch."""
    if provider == "openvino":
        pytest.importorskip("openvino", reason="needs the nnunet extra")
    name, _, case = reference.rpartition("_")
    with np.load(nnunet / "logits" / f"{reference}.npz") as file:
        expected = {key: file[key] for key in file.files}
    (model,), images = models_of(nnunet, name)
    files = sorted(images.glob(f"*_{case}_0*.nii.gz"))
    for key, tta in (("logits", False), ("logits_tta", True)):
        if key not in expected:
            continue
        predictor = Predictor.load(model, device="cpu", provider=provider, tta=tta, orientation="input")
        volume, _ = volume_of_images([str(file) for file in files])
        loaded = predictor.model
        plan = loaded.plan(volume.grid, volume.array.itemsize)
        previous = None
        if loaded.previous is not None:
            labels = voxels(nnunet / "expected" / "lowres" / "no_tta" / f"hippocampus_{case}.nii.gz")
            previous = plan.reorientation.apply(labels)
        prepared_run = NetworkRun(loaded, HostWorkspace(), volume, previous, plan, Clock())
        inside = tuple(
            slice(before, before + size)
            for (before, _), size in zip(prepared_run.plan.windows.pads, expected["input"].shape[1:], strict=True)
        )
        entering = prepared_run.prepared.volume[:][(slice(None), *inside)]
        np.testing.assert_allclose(entering, expected["input"], rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(logits_on_the_models_grid(prepared_run), expected[key], atol=1e-3)


def test_a_model_may_lie_in_a_zip(nnunet, tmp_path, capfd, monkeypatch):
    """As nnUNetv2_export_model_to_zip makes it: the folders below a data set's."""
    import zipfile

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = nnunet / "models" / HIPPOCAMPUS / "nnUNetTrainer__nnUNetPlansOld__3d_fullres"
    with zipfile.ZipFile(tmp_path / "model.zip", "w") as archive:
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                archive.write(file, Path(HIPPOCAMPUS) / folder.name / file.relative_to(folder))
    zipped, plain = (
        Predictor.load(path, device="cpu", provider="cpu") for path in (tmp_path / "model.zip", folder)
    )
    assert zipped.identity == plain.identity
    assert zipped.spec == plain.spec
