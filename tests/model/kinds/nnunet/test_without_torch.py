"""Model folders of nnU-Net on a CPU in processes that cannot import torch."""

from __future__ import annotations

import json
import re
import sys

import numpy as np
import pytest
import SimpleITK as sitk
from support.nnunet_folder import architecture, configuration, plans, random_state, write_model
from support.without_torch import blocking, run_blocked

from itk_infer.errors import ConfigError, InferenceError, ModelError
from itk_infer.model.kinds.network_steps import network as network_module
from itk_infer.model.kinds.nnunet import kind as kind_module
from itk_infer.model.registry import load_backend
from itk_infer.model.runtimes import graph as graph_module
from itk_infer.model.runtimes.graph import GraphBackend
from itk_infer.model.runtimes.torch import TorchBackend
from itk_infer.model.spec_sources import SpecSources
from itk_infer.options import Options
from itk_infer.testing import BackendTests

torch = pytest.importorskip("torch", reason="makes the model folders")
pytest.importorskip("openvino", reason="needs the nnunet extra")

WINDOWS = np.random.default_rng(1).standard_normal((2, 1, 8, 16, 12), np.float32)


def load(path, **options):
    return load_backend("nnunet", (path,), SpecSources(), Options(**{"device": "cpu", **options}))


@pytest.fixture
def folder(tmp_path):
    return write_model(tmp_path / "model", ("0", "1"))


class TestGraphBackend(BackendTests):
    """What every backend must do."""

    window = (8, 16, 12)

    @pytest.fixture
    def backend(self, folder):
        backend = load(folder)
        assert isinstance(backend, GraphBackend)
        return backend


class TestGraphBackendOfPlanes(BackendTests):
    window = (1, 16, 12)

    @pytest.fixture
    def backend(self, tmp_path):
        about = architecture(2)
        plan = plans({"3d_fullres": configuration(2, architecture=about)})
        return load(write_model(tmp_path / "m", plan=plan, state=random_state(about, 2), axes=(0, 1)))


# --- whole commands --------------------------------------------------------------------------------


@pytest.fixture
def images(tmp_path):
    (tmp_path / "in").mkdir()
    noise = np.random.default_rng(5).normal(100, 40, (14, 30, 20)).astype(np.float32)
    image = sitk.GetImageFromArray(noise)
    image.SetSpacing((1.25, 1.5, 2.0))
    sitk.WriteImage(image, str(tmp_path / "in" / "case_0000.nii.gz"))
    return tmp_path / "in"


@pytest.fixture
def command(tmp_path):
    """Runs the command where every import of torch fails, in the workers, too."""
    paths = blocking(tmp_path / "before", "torch")
    return lambda *words: run_blocked(paths, *words)


def test_a_folder_is_run_without_torch(command, folder, images, tmp_path):
    flags = ("-m", folder, "--device", "cpu", "--orientation", "input")
    code, text = command("-i", images, "-o", tmp_path / "without", *flags)
    assert code == 0, text
    assert network_module.WITHOUT_TORCH in text
    from itk_infer.cli.main import main

    assert main(["-i", str(images), "-o", str(tmp_path / "with"), "--provider", "cpu", *map(str, flags)]) == 0
    without, with_torch = (
        sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / name / "case.nii.gz")))
        for name in ("without", "with")
    )
    assert len(np.unique(without)) > 1
    assert np.mean(without == with_torch) > 0.999  # random weights: logits are nearly equal in places


def test_the_same_run_counts_as_done_whichever_way_it_was_made(folder):
    """The identity of results does not depend on the way."""
    assert load(folder).digest == load(folder, provider="cpu").digest


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        pytest.param(
            ("--provider", "cpu"), r"pip install 'itk_infer\[nnunet\]' for a CPU", id="torch's own provider"
        ),
        pytest.param(("--device", "cuda"), r"run by OpenVINO on a CPU, and else by torch", id="a GPU"),
        pytest.param(("--mc-dropout", "2"), "torch is not installed", id="dropout"),
    ],
)
def test_what_needs_torch_is_refused_in_a_sentence(command, folder, images, tmp_path, flags, message):
    code, text = command("-i", images, "-o", tmp_path / "out", "-m", folder, "--device", "cpu", *flags)
    assert code == ModelError.exit_code, text
    assert re.search(message, text), text
    assert "Traceback" not in text


def test_a_checkpoint_that_runs_code_is_refused(command, tmp_path, images):
    class Call:
        def __reduce__(self):
            return json.loads, ("1",)

    folder = write_model(tmp_path / "model", evil=Call())
    code, text = command("-i", images, "-o", tmp_path / "out", "-m", folder, "--device", "cpu")
    assert code == ModelError.exit_code, text
    assert "refused, because loading it would call json.loads" in text


# --- which way -------------------------------------------------------------------------------------


def test_the_way_is_chosen_in_one_place(folder, monkeypatch):
    assert isinstance(load(folder, provider="openvino"), GraphBackend)
    assert isinstance(load(folder, provider="cpu"), TorchBackend)
    batch = architecture(norm_op="torch.nn.BatchNorm3d", norm_op_kwargs={"track_running_stats": False})
    plan = plans({"3d_fullres": configuration(architecture=batch)})
    other = write_model(folder.parent / "batch", plan=plan, state=random_state(batch))
    assert isinstance(load(other), TorchBackend)
    monkeypatch.setattr(kind_module, "without_torch", lambda *_: (False, []))
    assert isinstance(load(folder), TorchBackend)


def test_folds_each_have_a_backend(folder):
    backend, plain = load(folder), load(folder, provider="cpu")
    assert len(backend.folds) == 2
    for fold, other in zip(backend.folds, plain.folds):
        np.testing.assert_allclose(fold.forward(WINDOWS), other.forward(WINDOWS), atol=1e-4)


def test_dropout_is_run_by_torch(tmp_path):
    about = architecture(dropout_op="torch.nn.Dropout3d", dropout_op_kwargs={"p": 0.5})
    plan = plans({"3d_fullres": configuration(architecture=about)})
    backend = load(write_model(tmp_path / "m", plan=plan, state=random_state(about)))
    one, other = (np.array(sample.forward(WINDOWS)) for sample in backend.dropout_samples(2))
    assert np.abs(one - other).max() > 0.01
    with pytest.raises(ConfigError, match="no dropout layers"):
        load(write_model(tmp_path / "n")).dropout_samples(2)


# --- the proof -------------------------------------------------------------------------------------


@pytest.fixture
def broken(monkeypatch):
    """One weight of OpenVINO's network is wrong."""
    right = network_module.openvino_graph

    def wrong(steps, folds, shape):
        changed = dict(folds[0])
        name = "encoder.stages.1.0.convs.0.conv.weight"
        changed[name] = changed[name] * np.where(np.arange(changed[name].size) == 0, -3, 1).reshape(
            changed[name].shape
        )
        return right(steps, [changed, *folds[1:]], shape)

    monkeypatch.setattr(network_module, "openvino_graph", wrong)


def test_a_wrong_weight_is_found_and_torch_runs_the_network(folder, broken):
    backend = load(folder)
    expected = load(folder, provider="cpu").forward(WINDOWS)
    np.testing.assert_allclose(backend.forward(WINDOWS), expected, atol=1e-6)
    assert (backend.provider, backend.precision) == ("torch", "fp32")
    assert backend.notes[-1] == (
        "OpenVINO cannot run this network (OpenVINO's output differs from NumPy's); torch runs it in fp32 instead"
    )
    np.testing.assert_allclose(
        backend.folds[1].forward(WINDOWS), load(folder, folds=1).forward(WINDOWS), atol=1e-4
    )


def test_a_wrong_weight_is_an_error_where_openvino_was_asked_for(folder, broken):
    with pytest.raises(InferenceError, match="differs from NumPy's; leave `provider=openvino` out, and torch may"):
        load(folder, provider="openvino").forward(WINDOWS)


def test_a_wrong_weight_is_an_error_without_torch(folder, broken, monkeypatch):
    backend = load(folder)
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(
        InferenceError, match=r"differs from NumPy's; torch would run it instead, but torch is not"
    ):
        backend.forward(WINDOWS)


def test_a_window_that_does_not_fit_is_an_error(folder):
    with pytest.raises(InferenceError, match="does the window fit its strides"):
        load(folder).forward(WINDOWS[..., :11])


def test_each_shape_is_proven_once(folder, monkeypatch):
    seen = []
    right = network_module.reference_logits

    def counted(steps, folds, windows):
        seen.append(windows.shape)
        return right(steps, folds, windows)

    monkeypatch.setattr(network_module, "reference_logits", counted)
    backend = load(folder)
    for count in (2, 2, 1, 2, 1):
        backend.forward(WINDOWS[:count])
    assert seen == [(1, 1, 8, 16, 12)] * 2


def test_memory_that_runs_out_is_named_as_such(folder, monkeypatch):
    from itk_infer.errors import OutOfMemoryError

    def full(*_):
        raise MemoryError

    monkeypatch.setattr(network_module, "reference_logits", full)
    with pytest.raises(OutOfMemoryError):
        load(folder).forward(WINDOWS)


def test_reduced_precision_is_held_against_full_precision(folder):
    if "BF16" not in __import__("openvino").Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        pytest.skip("this CPU has no bf16")
    backend = load(folder, precision="bf16")
    full = backend.in_full_precision()
    assert (backend.precision, full.precision) == ("bf16", "fp32")
    assert full.in_full_precision() is full
    one, other = np.array(backend.forward(WINDOWS)), np.array(full.forward(WINDOWS))
    assert 0 < np.abs(one - other).max() < 0.2
    assert graph_module.MAX_RELATIVE_ERROR["bf16"] < 0.1
