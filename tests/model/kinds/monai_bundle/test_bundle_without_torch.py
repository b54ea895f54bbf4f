"""Bundles on a CPU in processes that can import neither torch nor MONAI."""

from __future__ import annotations

import re
import sys
import warnings

import numpy as np
import pytest
import SimpleITK as sitk
from support.bundles import CONFIG, config, write_bundle
from support.without_torch import blocking, run_blocked

from itk_infer.errors import ConfigError, InferenceError, ModelError
from itk_infer.model.kinds.monai_bundle import kind as kind_module
from itk_infer.model.kinds.network_steps import network as network_module
from itk_infer.model.registry import load_backend
from itk_infer.model.runtimes.graph import GraphBackend
from itk_infer.model.runtimes.torch import TorchBackend
from itk_infer.model.spec_sources import SpecSources
from itk_infer.options import Options
from itk_infer.testing import BackendTests

torch = pytest.importorskip("torch", reason="makes the bundles")
nets = pytest.importorskip("monai.networks.nets", reason="makes the bundles")
pytest.importorskip("openvino", reason="needs the monai extra")

WINDOWS = np.random.default_rng(1).standard_normal((2, 1, 8, 16, 12), np.float32)
UNET = CONFIG["network_def"]


def bundle(path, about=None, changes=None, **saved):
    """A bundle of a network with random weights, which are not those of a new one; `changes` are of its config."""
    about = about or UNET
    arguments = {key: value for key, value in about.items() if key != "_target_"}
    torch.manual_seed(2)
    network = getattr(nets, about["_target_"])(**arguments)
    state = network.state_dict()
    for name, value in state.items():
        if value.is_floating_point():
            value.copy_(torch.rand(value.shape) + (0.5 if "running_var" in name else -0.5))
    root = write_bundle(path, config(network_def=about, **(changes or {})))
    torch.save({"model": state}, root / "models" / "model.pt", **saved)
    return root


def load(path, **options):
    return load_backend("monai_bundle", (path,), SpecSources(), Options(**{"device": "cpu", **options}))


@pytest.fixture
def unet(tmp_path):
    return bundle(tmp_path / "unet")


class TestBackendOfSteps(BackendTests):
    """What every backend must do."""

    window = (8, 16, 12)

    @pytest.fixture
    def backend(self, unet):
        backend = load(unet)
        assert isinstance(backend, GraphBackend)
        return backend


class TestBackendOfPlanesOfSteps(BackendTests):
    window = (1, 16, 12)

    @pytest.fixture
    def backend(self, tmp_path):
        load_image, _, _, scale = CONFIG["preprocessing"]["transforms"]
        changes = {
            "preprocessing": {"_target_": "Compose", "transforms": [load_image, scale]},
            "inferer": {"_target_": "SliceInferer", "roi_size": [16, 12], "spatial_dim": 2},
        }
        backend = load(bundle(tmp_path / "b", {**UNET, "spatial_dims": 2}, changes))
        assert isinstance(backend, GraphBackend)
        return backend


# --- whole commands --------------------------------------------------------------------------------


@pytest.fixture
def images(tmp_path):
    (tmp_path / "in").mkdir()
    noise = np.random.default_rng(5).normal(100, 40, (14, 30, 20)).astype(np.float32)
    sitk.WriteImage(sitk.GetImageFromArray(noise), str(tmp_path / "in" / "case.nii.gz"))
    return tmp_path / "in"


@pytest.fixture
def command(tmp_path):
    """Runs the command where every import of torch and MONAI fails, in the workers, too."""
    paths = blocking(tmp_path / "before", "torch", "monai")
    return lambda *words: run_blocked(paths, *words)


NETWORKS = [
    pytest.param(UNET, id="UNet"),
    pytest.param(
        {
            **{
                "_target_": "DynUNet",
                "spatial_dims": 3,
                "in_channels": 1,
                "out_channels": 3,
                "filters": [4, 6, 8],
            },
            **{"kernel_size": [3, 3, 3], "strides": [1, 2, 2], "upsample_kernel_size": [2, 2]},
        },
        id="DynUNet",
    ),
    pytest.param(
        {"_target_": "SegResNet", "out_channels": 3, "blocks_down": [1, 1], "blocks_up": [1]}, id="SegResNet"
    ),
]


@pytest.mark.parametrize("about", NETWORKS)
def test_a_bundle_is_run_without_torch(command, images, tmp_path, about):
    """Parent and workers: an import of torch or MONAI would fail."""
    flags = ("-m", bundle(tmp_path / "bundle", about), "--device", "cpu", "--orientation", "input")
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


OTHER = {"_target_": "BasicUNet", "in_channels": 1, "out_channels": 3, "features": [4, 4, 4, 4, 4, 4]}


@pytest.mark.parametrize(
    ("about", "flags", "message"),
    [
        pytest.param(
            UNET,
            ("--provider", "cpu"),
            r"'itk_infer\[monai\]' for a CPU, or 'itk_infer\[monai-torch\]'",
            id="torch's provider",
        ),
        pytest.param(
            UNET, ("--device", "cuda"), "run by OpenVINO on a CPU, and else by torch and MONAI", id="a GPU"
        ),
        pytest.param(UNET, ("--mc-dropout", "2"), r"not installed: pip install 'itk_infer\[monai-", id="dropout"),
        pytest.param(
            OTHER,
            (),
            r"only MONAI and torch can run this network \(BasicUNet is not one of .*'itk_infer\[monai-torch\]'",
            id="another network",
        ),
        pytest.param(
            {**UNET, "act": "gelu"}, (), r"\(UNet: activation 'gelu'; .*\[monai-torch\]'", id="another layer"
        ),
    ],
)
def test_what_needs_torch_is_refused_in_a_sentence(command, images, tmp_path, about, flags, message):
    root = bundle(tmp_path / "b", about)
    code, text = command("-i", images, "-o", tmp_path / "out", "-m", root, "--device", "cpu", *flags)
    assert code == ModelError.exit_code, text
    assert re.search(message, text), text
    assert "Traceback" not in text


def test_a_program_of_torch_is_refused_in_a_sentence(command, images, tmp_path):
    root = write_bundle(tmp_path / "b", config(network_def={"_target_": "scripts.Own", "in_channels": 1}))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.save(torch.jit.script(torch.nn.Conv3d(1, 3, 1)), root / "models" / "model.ts")
    code, text = command("-i", images, "-o", tmp_path / "out", "-m", root, "--device", "cpu")
    assert code == ModelError.exit_code, text
    assert re.search(r"model\.ts: torch runs it .*'itk_infer\[torch\]'", text), text


def test_weights_that_cannot_be_read_are_named(command, images, tmp_path, unet):
    class Call:
        def __reduce__(self):
            return re.compile, ("1",)

    torch.save({"model": torch.load(unet / "models" / "model.pt")["model"], "x": Call()}, unet / "models/model.pt")
    code, text = command("-i", images, "-o", tmp_path / "out", "-m", unet, "--device", "cpu")
    assert code == ModelError.exit_code, text
    assert "refused, because loading it would call re.compile" in text


# --- which way -------------------------------------------------------------------------------------


def test_the_way_is_chosen_in_one_place(unet, tmp_path, monkeypatch):
    assert isinstance(load(unet, provider="openvino"), GraphBackend)
    assert isinstance(load(unet, provider="cpu"), TorchBackend)
    assert isinstance(load(bundle(tmp_path / "other", OTHER)), TorchBackend)
    assert isinstance(
        load(bundle(tmp_path / "layer", {**UNET, "norm": ["localresponse", {"size": 2}]})), TorchBackend
    )
    monkeypatch.setattr(kind_module, "without_torch", lambda *_: (False, []))
    assert isinstance(load(unet), TorchBackend)


def test_the_same_run_counts_as_done_whichever_way_it_was_made(unet):
    """The identity of results does not depend on the way."""
    one, other = load(unet), load(unet, provider="cpu")
    assert (one.digest, one.spec) == (other.digest, other.spec)
    assert (one.shape.channels_in, one.shape.channels_out) == (other.shape.channels_in, other.shape.channels_out)


@pytest.mark.parametrize("about", NETWORKS)
def test_logits_are_those_of_torch(tmp_path, about):
    root = bundle(tmp_path / "b", about)
    backend = load(root)
    expected = load(root, provider="cpu").forward(WINDOWS)
    np.testing.assert_allclose(
        backend.forward(WINDOWS), expected, atol=1e-5 * max(1, np.abs(expected).max()), rtol=0
    )
    assert backend.provider == "openvino"


@pytest.mark.parametrize("form", ["old", "half", "module", "safetensors"])
def test_weights_in_other_forms(tmp_path, form):
    """Read without torch, by torch as arrays, or by torch."""
    root = bundle(tmp_path / "b", _use_new_zipfile_serialization=form != "old")
    expected = load(root, provider="cpu").forward(WINDOWS)
    path = root / "models" / "model.pt"
    state = torch.load(path, weights_only=True)["model"]
    if form == "half":
        torch.save(
            {name: value.half() if value.is_floating_point() else value for name, value in state.items()}, path
        )
    if form == "module":
        torch.save({f"module.{name}": value for name, value in state.items()}, path)
    if form == "safetensors":
        save = pytest.importorskip("safetensors.torch", reason="safetensors is not installed").save_file
        path.unlink()
        save(state, root / "models" / "model.safetensors")
        own = {**CONFIG["checkpointloader"], "load_path": "$@bundle_root + '/models/model.safetensors'"}
        write_bundle(root, config(checkpointloader=own))
        path.unlink()
    backend = load(root)
    assert isinstance(backend, TorchBackend) == (form == "safetensors")
    np.testing.assert_allclose(backend.forward(WINDOWS), expected, atol=0.02 if form == "half" else 1e-5)


def test_names_of_another_version_are_left_to_monai(unet):
    path = unet / "models" / "model.pt"
    state = torch.load(path, weights_only=True)["model"]
    torch.save({name.replace("model.", "net.", 1): value for name, value in state.items()}, path)
    with pytest.raises(ModelError, match=r"missing .*made with MONAI 1.6.1, and this is"):
        load(unet)


def test_dropout_is_run_by_torch(tmp_path):
    backend = load(bundle(tmp_path / "b", {**UNET, "dropout": 0.5}))
    assert isinstance(backend, GraphBackend)
    one, other = (np.array(sample.forward(WINDOWS)) for sample in backend.dropout_samples(2))
    assert np.abs(one - other).max() > 0.01
    with pytest.raises(ConfigError, match="no dropout layers"):
        load(bundle(tmp_path / "c")).dropout_samples(2)


def test_an_output_of_another_size_is_an_error(unet):
    """Sides that are halved with a rest come back larger."""
    with pytest.raises(InferenceError, match="must keep Z, Y and X"):
        load(unet).forward(WINDOWS[..., :11])


def test_a_wrong_weight_is_found_and_torch_runs_the_network(unet, monkeypatch):
    right = network_module.openvino_graph

    def wrong(steps, folds, shape):
        name = "model.0.conv.unit0.conv.weight"
        return right(steps, [{**folds[0], name: folds[0][name] * np.float32(0.5)}], shape)

    monkeypatch.setattr(network_module, "openvino_graph", wrong)
    backend = load(unet)
    np.testing.assert_allclose(backend.forward(WINDOWS), load(unet, provider="cpu").forward(WINDOWS), atol=1e-6)
    assert (backend.provider, backend.precision) == ("torch", "fp32")
    backend = load(unet)
    monkeypatch.setitem(sys.modules, "monai", None)
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(
        InferenceError, match=r"torch would run it instead, but torch or MONAI is not .*monai-torch"
    ):
        backend.forward(WINDOWS)
