"""TorchScript and torch.export files: equal to the network they were made of, and refused where they do more."""

from __future__ import annotations

import io
import json
import warnings
import zipfile

import numpy as np
import pytest
import SimpleITK as sitk

from itk_infer import Predictor
from itk_infer.errors import ConfigError, ModelError
from itk_infer.model.kinds.torch_location import is_torch_file
from itk_infer.model.registry import kind_of

torch = pytest.importorskip("torch", reason="torch is not installed")
nn = torch.nn
SPEC = {
    "spec": 1,
    "input": {"intensity": []},
    "window": {"patch_size": [8, 8, 8]},
    "output": {"decision": "argmax"},
}


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Conv3d(1, 4, 3, padding=1)
        self.norm = nn.InstanceNorm3d(4, affine=True)
        self.ops = nn.Conv3d(4, 3, 1)  # a name that the language of TorchScript has, too

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.norm(self.first(x)))
        return self.ops(nn.functional.interpolate(x, scale_factor=1.0, mode="trilinear", align_corners=False))


def scripted(module, path, extra=None):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.save(torch.jit.script(module.eval()), str(path), _extra_files=extra or {})
    return path


def exported(module, path, extra=None):
    free = {0: torch.export.Dim.DYNAMIC}
    program = torch.export.export(module.eval(), (torch.zeros(2, 1, 8, 8, 8),), dynamic_shapes=(free,))
    torch.export.save(program, str(path), extra_files=extra or {})
    return path


MAKERS = {"ts": scripted, "pt2": exported}


@pytest.mark.parametrize("ending", MAKERS)
def test_answers_are_the_networks_own(tmp_path, ending):
    network = Network()
    path = MAKERS[ending](network, tmp_path / f"model.{ending}", {"itk_infer.json": json.dumps(SPEC)})
    assert kind_of(path).name == "torch_file"
    backend = Predictor.load(path, device="cpu", provider="cpu").backend
    windows = np.random.default_rng(0).normal(size=(3, 1, 8, 8, 8)).astype(np.float32)
    with torch.no_grad():
        expected = network(torch.from_numpy(windows)).numpy()
    np.testing.assert_allclose(backend.forward(windows), expected, atol=1e-6)
    assert backend.spec.window.patch_size == (8, 8, 8)
    assert any("a TorchScript file is a program" in note for note in backend.notes) == (ending == "ts")


@pytest.mark.parametrize("ending", MAKERS)
def test_openvino_runs_them_behind_its_comparison_with_torch(tmp_path, ending):
    """Also the loops of a script, which OpenVINO does not convert."""
    pytest.importorskip("openvino", reason="openvino is not installed")
    path = MAKERS[ending](Network(), tmp_path / f"model.{ending}", {"itk_infer.json": json.dumps(SPEC)})
    backend = Predictor.load(path, device="cpu", provider="openvino", precision="fp32").backend
    windows = np.random.default_rng(0).normal(size=(2, 1, 8, 8, 8)).astype(np.float32)
    answers = [backend.forward(windows) for _ in range(2)]  # the second without a comparison
    with torch.no_grad():
        expected = Network().eval()(torch.from_numpy(windows)).numpy()
    for answer in answers:
        np.testing.assert_allclose(answer, expected, atol=1e-4)
    assert backend.provider == "openvino"


def test_a_file_without_a_spec_needs_one(tmp_path):
    path = scripted(Network(), tmp_path / "model.pt")
    with pytest.raises(ConfigError, match="has no intensity settings"):
        Predictor.load(path, device="cpu")
    (tmp_path / "model.spec.json").write_text(json.dumps(SPEC), "utf-8")
    assert Predictor.load(path, device="cpu", provider="cpu").spec.window.patch_size == (8, 8, 8)


def test_the_spec_of_monais_extra_files(tmp_path):
    from support.bundles import METADATA, config

    extra = {"metadata.json": json.dumps(METADATA), "inference.json": json.dumps(config())}
    predictor = Predictor.load(scripted(Network(), tmp_path / "model.ts", extra), device="cpu", provider="cpu")
    assert predictor.spec.input.orientation == "RAS"
    assert [label.name for label in predictor.spec.output.labels] == ["liver", "spleen"]


@pytest.mark.parametrize("what", ["state dict", "module"])
def test_weights_alone_are_refused_with_what_to_do(tmp_path, what):
    network = nn.Conv3d(1, 1, 1)
    torch.save(network.state_dict() if what == "state dict" else network, tmp_path / "model.pt")
    assert is_torch_file(tmp_path / "model.pt")
    with pytest.raises(ModelError, match="no program to run them; give the folder"):
        Predictor.load(tmp_path / "model.pt", device="cpu")


class Saves(nn.Module):
    def __init__(self, path: str) -> None:
        super().__init__()
        self.path = path
        self.first = nn.Conv3d(1, 2, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        torch.save(x, self.path)
        return self.first(x)


class Maps(nn.Module):
    def __init__(self, path: str) -> None:
        super().__init__()
        self.path = path
        self.first = nn.Conv3d(1, 2, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.first(x) + torch.from_file(self.path, True, 8).sum()


@pytest.mark.parametrize("module", [Saves, Maps], ids=["save", "from_file"])
def test_a_program_that_writes_files_is_refused(tmp_path, module):
    path = scripted(module(str(tmp_path / "pwned")), tmp_path / "model.ts")
    with pytest.raises(ModelError, match=r"its program uses torch\.(save|from_file)"):
        Predictor.load(path, device="cpu")
    assert not (tmp_path / "pwned").exists()


def rewritten(path, change):
    """The archive with its entries changed: `change` takes name and content, and gives the content, or None."""
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in entries.items():
            archive.writestr(name, change(name, content))
    return path


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("_9 = ops.aten.save(x, 'pwned')", "ops.aten.save"),
        ("_9 = ops.evil.run(x)", "ops.evil.run"),
        ("_9 = x.save('pwned')", "save"),
        ("_9 = x.save", "save"),
        ("_9 = torch", "torch"),
        ("_9 = ops", "ops"),
        ("_9 = getattr(torch, 'save')", "torch"),
        ("_9 = torch.ops.aten.save", "torch.ops.aten.save"),
        ("_9 = fork(x)", "fork"),
        ("_9 = __torch__.torch.classes.evil.X()", "__torch__.torch.classes.evil.X"),
        ("import os", "import"),
    ],
)
def test_other_ways_to_reach_an_operator_are_refused(tmp_path, line, name):
    def change(entry, content):
        if not entry.endswith(".py") or b"Network" not in content:
            return content
        head, colon, rest = content.decode().partition("-> Tensor:\n")
        return f"{head}{colon}    {line}\n{rest}".encode()

    path = rewritten(scripted(Network(), tmp_path / "model.ts"), change)
    with pytest.raises(ModelError, match=rf"program uses {name} "):
        Predictor.load(path, device="cpu")


def test_an_entry_that_is_there_twice_is_refused(tmp_path):
    path = scripted(Network(), tmp_path / "model.ts")
    with zipfile.ZipFile(path, "a") as archive:
        code = next(name for name in archive.namelist() if name.endswith(".py"))
        archive.writestr(code.upper(), "x = 1")
    with pytest.raises(ModelError, match="twice"):
        Predictor.load(path, device="cpu")


class Pwned:
    def __init__(self, path) -> None:
        self.path = str(path)

    def __reduce__(self):
        return (open, (self.path, "w"))


def test_sample_inputs_of_an_archive_of_torch_export_are_never_read(tmp_path):
    """torch's own reader unpickles them."""
    import pickle

    def change(entry, content):
        return pickle.dumps(Pwned(tmp_path / "pwned")) if "sample_inputs" in entry else content

    network = Network()
    path = exported(network, tmp_path / "model.pt2", {"itk_infer.json": json.dumps(SPEC)})
    backend = Predictor.load(rewritten(path, change), device="cpu", provider="cpu").backend
    windows = np.ones((1, 1, 8, 8, 8), np.float32)
    with torch.no_grad():
        np.testing.assert_allclose(backend.forward(windows), network(torch.ones(1, 1, 8, 8, 8)).numpy(), atol=1e-6)
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize("code", ["open({!r}, 'w')", "Max(1, (lambda: open({!r}, 'w'))())", "[].__class__.mro()"])
@pytest.mark.parametrize("place", ["guards_code", "expr_str"])
def test_code_in_the_conditions_of_an_archive_of_torch_export_is_refused(tmp_path, place, code):
    """torch's own reader evaluates ``guards_code`` and the expressions of sizes as Python."""
    code = code.format(str(tmp_path / "pwned"))

    def change(entry, content):
        if not entry.endswith("models/model.json"):
            return content
        model = json.loads(content)
        if place == "guards_code":
            model["guards_code"].append(code)
            return json.dumps(model).encode()
        text, before = json.dumps(model), '"expr_str": "'
        assert before in text
        return text.replace(before, f"{before}{code} or ").encode()

    path = exported(Network(), tmp_path / "model.pt2", {"itk_infer.json": json.dumps(SPEC)})
    with pytest.raises(ModelError, match=rf"refused, because a condition on sizes in it \({place}\) uses \w+"):
        Predictor.load(rewritten(path, change), device="cpu", provider="cpu")
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ('"torch.ops.aten.relu.default"', '"torch.ops.aten.save.default"', "its graph uses torch.ops.aten.save"),
        ('"torch.ops.aten.relu.default"', '"torch.os.system"', "its graph uses torch.os.system"),
        ('"torch.ops.aten.relu.default"', '"_operator.call"', "its graph uses _operator.call"),
        ('"use_pickle": false', '"use_pickle": true', "as a pickle"),
        ('"graph_module"', '"other"', "not an archive of a known form"),
        ('"as_float"', '"as_custom_obj"', "as_custom_obj|known form"),
    ],
    ids=["save", "os.system", "operator", "pickle", "form", "object"],
)
def test_an_archive_of_torch_export_with_more_is_refused(tmp_path, before, after, words):
    path = exported(Network(), tmp_path / "model.pt2")
    rewritten(path, lambda entry, content: content.replace(before.encode(), after.encode()))
    with pytest.raises(ModelError, match=words):
        Predictor.load(path, device="cpu")


@pytest.mark.parametrize(
    ("maker", "entry", "megabytes", "words"),
    [
        (exported, "models/model.json", 260, r"its \S+models/model.json has \d+ bytes"),
        (exported, "extra/itk_infer.json", 2, "its extra/itk_infer.json is larger than 1 MiB"),
        (scripted, "extra/itk_infer.json", 2, "its extra/itk_infer.json is larger than 1 MiB"),
        (scripted, "code/__torch__/more.py", 40, "its code has more than"),
    ],
    ids=["graph", "spec", "spec of a script", "code"],
)
def test_far_too_much_text_is_refused_and_not_read(tmp_path, maker, entry, megabytes, words):
    """A gigabyte of blanks is a megabyte in an archive."""
    path = maker(Network(), tmp_path / "model.pt", {"itk_infer.json": json.dumps(SPEC)})
    with zipfile.ZipFile(path) as archive:
        kept = {name: archive.read(name) for name in archive.namelist()}
    root = next(iter(kept)).partition("/")[0]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, content in kept.items():
            if name != f"{root}/{entry}":
                archive.writestr(name, content, zipfile.ZIP_STORED)
        archive.writestr(f"{root}/{entry}", b" " * (megabytes << 20))
    assert path.stat().st_size < 10 << 20
    with pytest.raises(ModelError, match=words):
        Predictor.load(path, device="cpu")


def test_a_damaged_file_is_an_error_in_one_sentence(tmp_path):
    path = exported(Network(), tmp_path / "model.pt2")
    rewritten(path, lambda entry, content: content[:10] if "weight_0" in entry else content)
    with pytest.raises(ModelError, match="weight_0 cannot be read"):
        Predictor.load(path, device="cpu")
    path = scripted(Network(), tmp_path / "model.ts")
    rewritten(path, lambda entry, content: b"" if entry.endswith("data.pkl") else content)
    with pytest.raises(ModelError, match="cannot load it"):
        Predictor.load(path, device="cpu")
    (tmp_path / "text.pt").write_text("x")
    assert not is_torch_file(tmp_path / "text.pt")
    buffer = io.BytesIO()
    torch.save({"a": torch.zeros(1)}, buffer, _use_new_zipfile_serialization=False)
    (tmp_path / "old.pt").write_bytes(buffer.getvalue())
    assert is_torch_file(tmp_path / "old.pt")


def test_the_demo_network_gives_the_masks_of_its_onnx_file(shared, demo_image, tmp_path):
    pytest.importorskip("onnxruntime")
    unet = pytest.importorskip("itk_infer.networks.unet3d", reason="mmengine is not installed")
    network = unet.UNet3D(1, 3)
    network.load_state_dict(torch.load(shared / "demo" / "hippocampus_unet_state_dict.pth", weights_only=True))
    spec = (shared / "demo" / "hippocampus_unet.spec.json").read_text("utf-8")
    extra = {"itk_infer.json": spec}
    onnx = Predictor.load(shared / "demo" / "hippocampus_unet.onnx", device="cpu", provider="cpu")
    expected = sitk.GetArrayFromImage(onnx(demo_image).labels)
    program = Predictor.load(scripted(network, tmp_path / "demo.ts", extra), device="cpu", provider="cpu")
    assert np.count_nonzero(sitk.GetArrayFromImage(program(demo_image).labels) != expected) <= 1


@pytest.fixture
def demo_image(shared):
    return shared / "demo" / "mni152_hippocampus_left.nii.gz"
