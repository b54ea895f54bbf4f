from __future__ import annotations

import importlib.util
import math
import sqlite3
import subprocess
import sys

import numpy as np
import pytest
from ItkInferLib.about import About, about_html, read_about
from ItkInferLib.cleanup import result_path, sweep
from ItkInferLib.command import Model, Options, inspect_argv
from ItkInferLib.environment import MAPS
from ItkInferLib.measurements import Measurement, read_measurements

PARTIAL = ".partial-0123456789ab."


@pytest.fixture(scope="session")
def finished(tmp_path_factory, demo, itk_infer):
    """A run of the program with everything it can write."""
    folder = tmp_path_factory.mktemp("finished")
    words = [*itk_infer, "-i", demo / "mni152_hippocampus_left.nii.gz", "-o", folder, "--device", "cpu"]
    words += ["--onnx", demo / "hippocampus_unet.onnx", "--format", "seg.nrrd", "--orientation", "input"]
    subprocess.run([*words, "--save-logits", "--quiet"], check=True)
    return folder


@pytest.mark.parametrize(
    ("case", "name"),
    [("a.nii.gz", "a"), ("b/a.NII.GZ", "b/a"), ("a.mhd", "a"), ("a.b.nrrd", "a.b"), ("a.seg.nrrd", "a")],
)
def test_where_a_result_lies(case, name, tmp_path):
    assert result_path(str(tmp_path), case) == str(tmp_path / f"{name}.seg.nrrd")


def test_results_are_where_the_program_writes_them(finished):
    from pathlib import Path

    assert Path(result_path(str(finished), "mni152_hippocampus_left.nii.gz")).is_file()


@pytest.mark.parametrize("recursive", [False, True])
def test_sweeping_takes_partials_and_nothing_else(tmp_path, recursive):
    (tmp_path / "sub").mkdir()
    (tmp_path / f"{PARTIAL}a.zarr").mkdir()
    names = [f"{PARTIAL}a.nrrd", "a.nrrd", ".partial-mine.nrrd", f"{PARTIAL}a.zarr/c", f"sub/{PARTIAL}b.nrrd"]
    for name in names:
        (tmp_path / name).touch()
    assert sweep(str(tmp_path), recursive) == (3 if recursive else 2)
    left = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert left == {"a.nrrd", ".partial-mine.nrrd"} | (set() if recursive else {f"sub/{PARTIAL}b.nrrd"})


def test_measurements_are_those_of_the_ledger(finished):
    anterior, posterior = read_measurements(str(finished), "mni152_hippocampus_left.nii.gz", {})
    assert anterior.name == "anterior hippocampus"
    assert anterior.volume_ml == pytest.approx(2.078, rel=0.02)
    assert posterior.volume_ml == pytest.approx(1.966, rel=0.02)
    assert 0.8 < posterior.confidence < 1


def test_without_a_ledger_the_event_counts(tmp_path):
    expected = [Measurement("liver", 2.0, None)]
    assert read_measurements(str(tmp_path), "a", {"liver": 2.0}) == expected
    ledger = sqlite3.connect(tmp_path / "itk_infer.db")
    ledger.execute("CREATE TABLE cases (name, results)")
    ledger.close()
    assert read_measurements(str(tmp_path), "a", {"liver": 2.0}) == expected
    (tmp_path / "itk_infer.db").write_bytes(b"torn")
    assert read_measurements(str(tmp_path), "a", {"liver": 2.0}) == expected


def test_a_model_is_described(demo, itk_infer):
    words = inspect_argv(itk_infer, Model(onnx=str(demo / "hippocampus_unet.onnx")), Options(device="cpu"))
    said = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    about = read_about(["noise", *said.splitlines()])
    assert about is not None
    assert about.name == "hippocampus_unet 1.0"
    assert [(label.value, label.name, label.color) for label in about.labels] == [
        (1, "anterior hippocampus", "#e6194b"),
        (2, "posterior hippocampus", "#ffe119"),
    ]
    assert (about.patch, about.stride, about.device, about.decision) == ("40 56 40", "20 28 20", "cpu", "argmax")
    assert (about.level, about.width, about.intensity) == (None, None, "zscore")
    assert "anterior&nbsp;hippocampus" in about_html(about)


def test_what_a_model_says_is_shown_as_text_not_as_html():
    text = about_html(About(name="<b>x</b>", description="<img src='http://there'>"))
    assert "<img" not in text
    assert "&lt;b&gt;" in text


@pytest.mark.parametrize("line", ["", "{}", "[]", '{"spec": {}}', '{"spec": {"input": []}}'])
def test_no_model_is_none(line):
    assert read_about([line]) is None


def test_maps_of_the_logits(finished, tmp_path):
    import SimpleITK as sitk

    logits = finished / "mni152_hippocampus_left.zarr"
    subprocess.run([sys.executable, MAPS, logits, tmp_path, "argmax", "all"], check=True)
    entropy = sitk.ReadImage(tmp_path / "entropy.nrrd")
    labels = sitk.ReadImage(finished / "mni152_hippocampus_left.seg.nrrd")
    for grid in (entropy.GetSize, entropy.GetSpacing, entropy.GetOrigin, entropy.GetDirection):
        assert grid() == getattr(labels, grid.__name__)()
    channels = np.stack([sitk.GetArrayFromImage(sitk.ReadImage(tmp_path / f"logits_{k}.nrrd")) for k in range(3)])
    assert np.mean(channels.argmax(0) == sitk.GetArrayFromImage(labels)) > 0.999
    power = np.exp(channels.astype(np.float64) - channels.max(0))
    p = power / power.sum(0)
    expected = -(p * np.log(np.maximum(p, 1e-300))).sum(0) / math.log(3)
    np.testing.assert_allclose(sitk.GetArrayFromImage(entropy), expected, atol=2e-4)


def test_the_entropy_of_a_threshold_is_that_of_the_least_certain_channel():
    spec = importlib.util.spec_from_file_location("maps", MAPS)
    maps = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(maps)
    logits = np.array([0.0, 20.0]).reshape(2, 1, 1, 1)
    assert maps.entropy(logits, "threshold", "logits").item() == pytest.approx(1.0)
    assert maps.entropy(logits[1:], "threshold", "logits").item() == pytest.approx(0.0, abs=1e-5)
    assert maps.entropy(np.full((4, 1, 1, 1), 0.25), "argmax", "probabilities").item() == pytest.approx(1.0)
