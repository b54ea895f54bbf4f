"""Bundles are built, loaded strictly and run; described without torch."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
import warnings

import numpy as np
import pytest
import SimpleITK as sitk
from support.bundles import CONFIG, config, write_bundle

from itk_infer import Predictor
from itk_infer.errors import ModelError
from itk_infer.model.kinds.monai_bundle.graph import ConfigGraph
from itk_infer.model.kinds.monai_bundle.network_def import NETWORKS, read_network

torch = pytest.importorskip("torch", reason="torch is not installed")
nets = pytest.importorskip("monai.networks.nets", reason="monai is not installed")


def small():
    torch.manual_seed(0)
    arguments = {key: value for key, value in CONFIG["network_def"].items() if key != "_target_"}
    return nets.UNet(**arguments).eval()


def labels(path):
    image = sitk.GetImageFromArray(np.random.default_rng(0).normal(size=(9, 10, 11)).astype(np.float32))
    predictor = Predictor.load(path, device="cpu", provider="cpu", orientation="input")
    return sitk.GetArrayFromImage(predictor(image).labels), predictor


@pytest.mark.parametrize("form", ["model", "net", "plain", "module"])
def test_weights_under_any_of_their_keys(tmp_path, form):
    root = write_bundle(tmp_path / "b")
    state = small().state_dict()
    documents = {"plain": state, "module": {f"module.{name}": value for name, value in state.items()}}
    torch.save(documents.get(form, {form: state, "epoch": 3}), root / "models" / "model.pt")
    found, predictor = labels(root)
    assert found.max() > 0
    assert predictor.backend.shape.channels_out == 3
    again = tmp_path / "c"
    write_bundle(again)
    torch.save(state, again / "models" / "model.pt")
    np.testing.assert_array_equal(found, labels(again)[0])


def test_weights_of_another_network(tmp_path):
    root = write_bundle(tmp_path / "b", config(network_def={**CONFIG["network_def"], "channels": [4, 16]}))
    torch.save({"model": small().state_dict()}, root / "models" / "model.pt")
    with pytest.raises(ModelError, match=r"of another shape .*made with MONAI 1.6.1, and this is"):
        Predictor.load(root, device="cpu")


def test_a_pickle_with_code_is_refused(tmp_path):
    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "pwned"), "w"))

    root = write_bundle(tmp_path / "b")
    torch.save({"model": small().state_dict(), "x": Evil()}, root / "models" / "model.pt")
    with pytest.raises(ModelError, match="refused"):
        Predictor.load(root, device="cpu")
    torch.save({"epoch": 1}, root / "models" / "model.pt")
    with pytest.raises(ModelError, match="not weights"):
        Predictor.load(root, device="cpu")
    assert not (tmp_path / "pwned").exists()


def test_arguments_that_monai_refuses(tmp_path):
    root = write_bundle(tmp_path / "b", config(network_def={**CONFIG["network_def"], "shape": 3}))
    torch.save(small().state_dict(), root / "models" / "model.pt")
    with pytest.raises(ModelError, match="MONAI does not build UNet"):
        Predictor.load(root, device="cpu")


def test_torchscript_where_the_class_is_not_known(tmp_path):
    own = {"_target_": "scripts.networks.Own", "in_channels": 1}
    root = write_bundle(tmp_path / "b", config(network_def=own))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.save(torch.jit.script(small()), root / "models" / "model.ts")
    found, predictor = labels(root)
    assert "models/model.ts is run instead" in predictor.notes[0]
    other = write_bundle(tmp_path / "c")
    torch.save(small().state_dict(), other / "models" / "model.pt")
    np.testing.assert_array_equal(found, labels(other)[0])


@pytest.mark.parametrize("missing", ["class", "weights"])
def test_an_onnx_file_where_the_network_cannot_be_built(tmp_path, missing):
    """It needs neither torch nor MONAI, and the config's spec holds for it."""
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    own = {"_target_": "scripts.networks.Own", "in_channels": 1}
    root = write_bundle(tmp_path / "b", config(network_def=own) if missing == "class" else None)
    (root / "models" / "model.pt").unlink()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            small(),
            (torch.zeros(1, 1, 8, 8, 8),),
            root / "models" / "model.onnx",
            dynamo=False,
            dynamic_axes={"input": [0]},
            input_names=["input"],
        )
    found, predictor = labels(root)
    assert "models/model.onnx is run instead" in predictor.notes[0]
    assert predictor.spec.input.axes == "xyz"
    other = write_bundle(tmp_path / "c")
    torch.save(small().state_dict(), other / "models" / "model.pt")
    np.testing.assert_array_equal(found, labels(other)[0])
    blocked = BLOCKED + "from itk_infer import Predictor\nPredictor.load(sys.argv[1], device='cpu')"
    subprocess.run([sys.executable, "-c", blocked, str(root)], check=True, timeout=600)


def test_slices_are_those_of_monai(tmp_path):
    """A 2D network over the planes of the last axis, which MONAI's arrays have as z."""
    from monai.inferers import SliceInferer

    torch.manual_seed(0)
    about = {"spatial_dims": 2, "in_channels": 1, "out_channels": 3, "channels": [4, 8], "strides": [2]}
    network = nets.UNet(**about).eval()
    load, _, _, scale = CONFIG["preprocessing"]["transforms"]
    root = write_bundle(
        tmp_path / "b",
        config(
            network_def={"_target_": "UNet", **about},
            preprocessing={"_target_": "Compose", "transforms": [load, scale]},
            inferer={"_target_": "SliceInferer", "roi_size": [8, 6], "spatial_dim": 2, "overlap": 0.5},
        ),
    )
    torch.save(network.state_dict(), root / "models" / "model.pt")
    voxels = np.random.default_rng(0).normal(size=(9, 10, 11)).astype(np.float32)
    found, _ = labels(root)
    scaled = (voxels - voxels.min()) / (voxels.max() - voxels.min())
    inferer = SliceInferer(spatial_dim=2, roi_size=(8, 6), overlap=0.5)
    with torch.no_grad():
        theirs = inferer(torch.from_numpy(scaled.transpose(2, 1, 0).copy())[None, None], network)
    np.testing.assert_array_equal(found, theirs[0].argmax(0).numpy().transpose(2, 1, 0))


BLOCKED = """
import sys
class Blocked:
    def find_spec(self, name, *rest):
        if name.split(".")[0] in ("torch", "monai"):
            raise ImportError(name)
sys.meta_path.insert(0, Blocked())
"""
INSPECT = """
from itk_infer.cli.main import main
sys.exit(main(["inspect", "-m", *sys.argv[1:]]))
"""


def test_inspect_needs_neither_torch_nor_monai(tmp_path):
    root = write_bundle(tmp_path / "b")
    command = [sys.executable, "-c", BLOCKED + INSPECT, str(root)]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=600, check=True).stdout
    assert (
        "preprocessing#transforms#2: Orientationd(axcodes=RAS) -> input.orientation RAS, input.axes xyz" in shown
    )
    assert "EnsureChannelFirstd() -> left out, changes nothing" in shown
    about = json.loads(subprocess.run([*command, "--json"], capture_output=True, text=True, check=True).stdout)
    assert about["network"]["channels_out"] == 3
    assert [label["name"] for label in about["labels"]] == ["liver", "spleen"]


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_channels_that_a_config_does_not_name_are_monais(name):
    """Its own defaults; where it has none, the config must name them, and MONAI says so."""
    arguments = inspect.signature(getattr(nets, name)).parameters
    for key in ("in_channels", "out_channels"):
        own = arguments[key].default
        given = {} if own is not inspect.Parameter.empty else {key: 1}
        raw = {"_target_": name, "spatial_dims": 3, **given}
        found = read_network(ConfigGraph({"network_def": raw}, "test").get("network_def"))
        assert (found.inputs if key == "in_channels" else found.outputs) == (given.get(key, own))
