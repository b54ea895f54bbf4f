"""Whole bundles: found, read, refused by name and place; nothing in them runs."""

from __future__ import annotations

import json
import os
import shutil
import zipfile

import pytest
from support.bundles import METADATA, config, write_bundle

from itk_infer.errors import ModelError
from itk_infer.model.kinds.monai_bundle.bundle import read_bundle
from itk_infer.model.kinds.monai_bundle.location import is_bundle
from itk_infer.model.registry import kind_of
from itk_infer.spec import parse_spec


def test_the_spec_of_a_bundle(tmp_path):
    bundle = read_bundle(write_bundle(tmp_path / "b"))
    spec = parse_spec(bundle.document, "test")
    assert (spec.name, spec.input.axes, spec.input.orientation) == ("small", "xyz", "RAS")
    assert [(label.value, label.name) for label in spec.output.labels] == [(1, "liver"), (2, "spleen")]
    assert spec.window.patch_stride == (4, 4, 4)
    assert bundle.weights == tmp_path / "b" / "models" / "model.pt"
    assert bundle.lines[0].theirs.startswith("UNet(spatial_dims=3")


def test_found_as_folder_config_and_zip(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    root = write_bundle(tmp_path / "outer" / "b")
    for path in (root, root.parent, root / "configs" / "inference.json"):
        assert is_bundle(path)
        assert kind_of(path).name == "monai_bundle"
        assert read_bundle(path).root == root
    archive = tmp_path / "b.zip"
    shutil.make_archive(str(archive.with_suffix("")), "zip", root.parent)
    assert kind_of(archive).name == "monai_bundle"
    unpacked = read_bundle(archive)
    assert unpacked.digest == read_bundle(root).digest
    assert "was unpacked into" in unpacked.notes[0]
    for other in (root / "configs", root / "configs" / "metadata.json", tmp_path / "missing", root / "models"):
        assert not is_bundle(other)


def test_several_configs_have_to_be_told_apart(tmp_path):
    root = write_bundle(tmp_path / "b")
    text = (root / "configs" / "inference.json").read_text("utf-8")
    (root / "configs" / "inference.json").unlink()
    with pytest.raises(ModelError, match="has no inference.json"):
        read_bundle(root)
    (root / "configs" / "inference_a.json").write_text(text, "utf-8")
    assert read_bundle(root).source.endswith("inference_a.json")
    (root / "configs" / "inference_b.json").write_text(text, "utf-8")
    with pytest.raises(ModelError, match="inference_a.json.*inference_b.json"):
        read_bundle(root)
    assert read_bundle(root / "configs" / "inference_b.json").source.endswith("inference_b.json")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes in folders")
def test_weights_that_are_a_pipe_are_not_waited_for(tmp_path):
    root = write_bundle(tmp_path / "b")
    (root / "models" / "model.pt").unlink()
    os.mkfifo(root / "models" / "model.pt")
    with pytest.raises(ModelError, match="is no regular file"):
        read_bundle(root)


def loader(path, **more):
    return {"_target_": "CheckpointLoader", "load_path": path, "load_dict": {"net": "@network"}, **more}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        pytest.param(
            {"network_def": {"_target_": "os.system", "command": "touch pwned"}}, "os.system", id="os.system"
        ),
        pytest.param({"network_def": {"_target_": "scripts.net.Net"}}, "scripts.net.Net", id="own code"),
        pytest.param({"network_def": {"_target_": "evil.UNet"}}, "evil.UNet", id="another's UNet"),
        pytest.param(
            {"network_def": {"_target_": "UNet", "in_channels": "$open('pwned', 'w')"}},
            "network_def#in_channels: the expression",
            id="open in an argument",
        ),
        pytest.param(
            {"network_def": {"_target_": "UNet", "act": {"_target_": "os.system"}}},
            "neither a number",
            id="component",
        ),
        pytest.param({"network_def": {"_target_": "UNet", "in_channels": 10**9}}, "in_channels", id="huge"),
        pytest.param({"network_def": {"_target_": "UNet", "spatial_dims": 4}}, "spatial_dims", id="4D"),
        pytest.param({"network_def": {"_target_": "UNet", "pretrained": True}}, "download", id="download"),
        pytest.param(
            {"network_def": {"_target_": "UNet", "channels": [4, 8], "num_res_units": 10**6}},
            r"network_def.*has 2,000,000 blocks \(num_res_units\); networks of up to 1,000",
            id="a million residual units",
        ),
        pytest.param(
            {"network_def": {"_target_": "SegResNet", "blocks_down": [1, 900], "blocks_up": [900, 101]}},
            r"has 1,001 blocks \(blocks_up\)",
            id="blocks of stages",
        ),
        pytest.param(
            {"network_def": {"_target_": "HighResNet", "layer_params": [{"kernels": [3, 3], "repeat": 501}]}},
            r"has 1,002 blocks \(layer_params\)",
            id="repetitions",
        ),
        pytest.param({"network_def": "$__import__('os').system('touch pwned')"}, "is refused", id="import"),
        pytest.param({"network_def": 3}, "has no network_def", id="number"),
        pytest.param({"preprocessing": "$exec('x')"}, "preprocessing: the expression", id="exec"),
        pytest.param({"preprocessing": ["x"]}, "is no transform", id="text for a transform"),
        pytest.param({"inferer": "x"}, "is no inferer", id="text for an inferer"),
        pytest.param({"checkpointloader": loader("../../secret.pt")}, "outside the bundle", id="path with .."),
        pytest.param({"checkpointloader": loader("/etc/passwd")}, "outside the bundle", id="absolute path"),
        pytest.param({"checkpointloader": loader("$open('pwned', 'w')")}, "is refused", id="open for a path"),
        pytest.param({"checkpointloader": loader(3)}, "load_path=3", id="number for a path"),
        pytest.param({"checkpointloader": loader("models/other.pt")}, "large_files.yml", id="no weights"),
    ],
)
def test_what_is_refused(tmp_path, monkeypatch, changes, words):
    monkeypatch.chdir(tmp_path)
    root = write_bundle(tmp_path / "b", config(**changes))
    with pytest.raises(ModelError, match=words):
        read_bundle(root)
    assert not (tmp_path / "pwned").exists()


def test_a_link_out_of_the_bundle_is_not_followed(tmp_path):
    root = write_bundle(tmp_path / "b")
    (tmp_path / "secret.pt").write_bytes(b"x")
    (root / "models" / "model.pt").unlink()
    try:
        (root / "models" / "model.pt").symlink_to(tmp_path / "secret.pt")
    except OSError:
        pytest.skip("no links here")
    with pytest.raises(ModelError, match="outside the bundle"):
        read_bundle(root)


def test_a_zip_that_climbs_out_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as archive:
        archive.writestr("b/configs/metadata.json", json.dumps(METADATA))
        archive.writestr("b/../../pwned", "x")
    with pytest.raises(ModelError, match="outside its folder"):
        read_bundle(tmp_path / "b.zip")
    assert not list(tmp_path.rglob("pwned"))


def test_the_loader_may_be_a_handler_and_switched_off(tmp_path):
    content = config(handlers=[{"_target_": "StatsHandler"}, loader("$'models/' + 'a.pt'", _disabled_=True)])
    del content["checkpointloader"]
    root = write_bundle(tmp_path / "b", content)
    (root / "models" / "a.pt").write_bytes(b"x")
    bundle = read_bundle(root)
    assert bundle.weights.name == "a.pt"
    assert bundle.keys[0] == "net"


def test_networks_of_earlier_versions(tmp_path):
    swin = {"_target_": "SwinUNETR", "img_size": 96, "in_channels": 1, "out_channels": 3, "feature_size": 12}
    bundle = read_bundle(write_bundle(tmp_path / "b", config(network_def=swin)))
    assert "img_size" not in bundle.network.arguments
    assert "img_size is left out" in bundle.notes[0]
    content = config(
        network="$@other.to(@device)", other={"_target_": "VNet", "in_channels": 1, "out_channels": 3}
    )
    del content["network_def"]
    assert read_bundle(write_bundle(tmp_path / "c", content)).network.name == "VNet"


def test_names_of_channels(tmp_path):
    named = json.loads(json.dumps(METADATA))
    named["network_data_format"]["inputs"]["image"]["channel_def"] = {"0": "CT"}
    named["network_data_format"]["outputs"]["pred"]["channel_def"] = {"0": "background", "1": "rib", "2": "rib"}
    bundle = read_bundle(write_bundle(tmp_path / "b", None, named))
    spec = parse_spec(bundle.document, "test")
    assert spec.input.channels == ("CT",)
    assert [label.name for label in spec.output.labels] == ["rib 1", "rib 2"]
    named["network_data_format"]["outputs"]["pred"]["channel_def"] = {str(n): f"c{n}" for n in range(9)}
    bundle = read_bundle(write_bundle(tmp_path / "c", None, named))
    assert [label.name for label in parse_spec(bundle.document, "test").output.labels] == ["label 1", "label 2"]
    del named["network_data_format"]["outputs"]["pred"]["channel_def"]
    content = config(labels={"background": 0, "left": 1, "right": 2}, inferer={"_target_": "SimpleInferer"})
    spec = parse_spec(read_bundle(write_bundle(tmp_path / "d", content, named)).document, "test")
    assert [label.name for label in spec.output.labels] == ["left", "right"]
    assert spec.window.multiple_of == (2, 2, 2)
