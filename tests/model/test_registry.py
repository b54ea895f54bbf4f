"""Kinds of models: recognised by name and content, named by flags, loaded by one function."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from importlib import import_module

import pytest

from itk_infer.cli.main import main
from itk_infer.errors import ConfigError, ModelError
from itk_infer.model import registry
from itk_infer.model.ensemble import Ensemble
from itk_infer.model.kinds.fake import FakeBackend
from itk_infer.model.kinds.mmengine_folder import model_files
from itk_infer.model.registry import MODEL_KINDS, ModelKind, kind_of, load_backend
from itk_infer.model.spec_sources import SpecSources
from itk_infer.options import Options
from itk_infer.predictor import Predictor

DEMO = "itk_infer/demo/hippocampus_unet.onnx"
OPTIONS = Options(device="cpu")


@pytest.fixture
def demo(configs):
    return configs.parent / DEMO


def load_fake(paths, spec_sources, options):
    backend = FakeBackend()
    backend.notes = (f"loaded {paths[0].name} on {options.device}",)
    return backend


def is_fake(path):
    return path.suffix == ".fake"


@pytest.fixture
def fake(monkeypatch):
    """A kind as a newcomer adds it: one file, this one, and one entry."""
    kind = ModelKind("fake", "a .fake file", f"{__name__}:is_fake", f"{__name__}:load_fake", "none")
    monkeypatch.setitem(sys.modules, __name__, sys.modules[__name__])
    monkeypatch.setattr(registry, "MODEL_KINDS", (*MODEL_KINDS, kind))
    return kind


def folder(path, **files):
    path.mkdir(exist_ok=True)
    for name, content in files.items():
        (path / name.replace("__", ".")).write_text(content)
    return path


@pytest.mark.parametrize("kind", MODEL_KINDS, ids=lambda kind: kind.name)
def test_every_function_of_a_kind_is_there(kind):
    for name in (kind.recognises, kind.load):
        module, _, attribute = name.partition(":")
        assert callable(getattr(import_module(module), attribute))


def test_kinds_and_their_recognition_import_nothing_heavy(demo):
    heavy = ("onnxruntime", "torch", "mmengine", "openvino")
    program = (
        "import sys; from pathlib import Path\nfrom itk_infer.model.registry import kind_of\n"
        "found = [n for n in ('numpy', 'click') if n in sys.modules]\n"
        f"kind_of(Path({str(demo)!r}))\nfound += [n for n in {heavy!r} if n in sys.modules]\nsys.exit(str(found) if found else 0)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


# --- recognition ------------------------------------------------------------------------------


def test_an_onnx_file_is_recognised_by_its_name_or_its_content(demo, tmp_path):
    assert kind_of(demo).name == "onnx"
    (tmp_path / "model.bin").write_bytes(demo.read_bytes())
    assert kind_of(tmp_path / "model.bin").name == "onnx"
    (tmp_path / "Damaged.ONNX").write_bytes(b"")  # for the runtime to refuse, with its reason
    assert kind_of(tmp_path / "Damaged.ONNX").name == "onnx"


@pytest.mark.parametrize(
    "config",
    [
        {"net__py": "raise SystemExit('never run')\nmodel = dict(type='x')"},
        {"net__py": "_base_ = ['a.py']"},
        {"net__py": "from mmengine.config import read_base\nwith read_base():\n    from .a import *"},
        {"net__json": '{"wl": 0, "model": {}}'},
        {"net__yaml": "wl: 0\nmodel:\n  type: x\n"},
    ],
    ids=["python", "base", "lazy", "json", "yaml"],
)
def test_a_folder_with_config_and_checkpoint_is_mmengine(tmp_path, config):
    path = folder(tmp_path / "m", net__pth="", own_network__py="import torch", net__spec__json="{}", **config)
    assert kind_of(path).name == "mmengine"
    found, checkpoint = model_files(path)
    assert found.stem == "net"
    assert checkpoint.name == "net.pth"


@pytest.mark.parametrize(
    "files",
    [
        {"net__py": "model = dict()"},
        {"net__pth": ""},
        {"net__pth": "", "net__json": '{"nested": {"model": 1}}'},
        {"net__pth": "", "net__spec__json": '{"model": 1}'},
        {"net__pth": "", "net__json": "no JSON"},
    ],
    ids=["no checkpoint", "no config", "nested key", "sidecar", "no JSON"],
)
def test_other_folders_are_not(tmp_path, files):
    with pytest.raises(ModelError, match=r"m: not recognised as a model; .*ONNX file \(onnx\).*\(mmengine\)"):
        kind_of(folder(tmp_path / "m", **files))


def test_several_checkpoints_are_named(tmp_path):
    path = folder(tmp_path / "m", net__py="model = dict()", epoch_1__pth="", epoch_2__pth="")
    assert kind_of(path).name == "mmengine"
    with pytest.raises(
        ModelError, match=r"one checkpoint is needed, and there are 2 \(epoch_1.pth, epoch_2.pth\)"
    ):
        load_backend(None, [path], SpecSources(), OPTIONS)


def test_what_is_missing_or_of_no_kind_is_said_with_the_kinds(tmp_path):
    with pytest.raises(ModelError, match=r"absent: no such file or folder; a model is an ONNX file \(onnx\)"):
        kind_of(tmp_path / "absent")
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(ModelError, match="notes.txt: not recognised as a model"):
        kind_of(tmp_path / "notes.txt")


def test_what_can_be_two_kinds_needs_a_kind(demo, fake, monkeypatch):
    both = (*MODEL_KINDS, replace(fake, recognises="itk_infer.model.kinds.onnx_location:is_onnx"))
    monkeypatch.setattr(registry, "MODEL_KINDS", both)
    with pytest.raises(ConfigError, match="can be loaded as onnx or fake; choose one of these with `kind`"):
        kind_of(demo)
    assert load_backend("fake", [demo], SpecSources(), OPTIONS).provider == "fake"


@pytest.mark.parametrize("kind", [None, "onnx"])
def test_several_models_are_an_ensemble(demo, kind):
    backend = load_backend(kind, [demo, demo], SpecSources(), OPTIONS)
    assert isinstance(backend, Ensemble)
    assert "the probabilities of 2 models are averaged" in backend.notes


def test_an_unknown_kind_is_answered_with_the_known_ones(demo):
    with pytest.raises(ConfigError, match="kind 'onx': give onnx or mmengine"):
        Predictor.load(demo, kind="onx")


# --- loading ----------------------------------------------------------------------------------


def test_a_new_kind_is_a_file_and_an_entry(fake, tmp_path):
    (tmp_path / "m.fake").write_text("")
    predictor = Predictor.load(tmp_path / "m.fake", device="cpu")
    assert predictor.backend.notes == ("loaded m.fake on cpu",)


def test_a_package_that_is_missing_is_named_with_its_extra(fake, tmp_path, monkeypatch):
    def load(paths, spec_sources, options):
        raise ModuleNotFoundError("No module named 'torch'")

    monkeypatch.setattr(sys.modules[__name__], "load_fake", load)
    (tmp_path / "m.fake").write_text("")
    with pytest.raises(ModelError, match=r"No module named 'torch'.*pip install 'itk_infer\[none\]'"):
        Predictor.load(tmp_path / "m.fake")


def test_one_function_loads_every_kind(demo):
    by_itself, by_name = Predictor.load(demo, device="cpu"), Predictor.from_onnx(demo, device="cpu")
    assert by_itself.identity == by_name.identity


# --- the command line -------------------------------------------------------------------------


@pytest.mark.parametrize("words", [("-m",), ("--model",), ("--backend", "onnx", "-m"), ("--onnx",)])
def test_every_way_to_name_a_model(demo, capfd, words):
    assert main(("inspect", "--device", "cpu", *words, str(demo))) == 0
    assert "hippocampus_unet" in capfd.readouterr().out


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ((), 2, "no model: give --onnx MODEL.onnx, or -cfg CONFIG and -ckpt CHECKPOINT, or -m MODEL"),
        (("-m", "a", "--onnx", "b"), 2, "-m and --onnx name two models; give one of them"),
        (("--onnx", "a", "-cfg", "b"), 2, "--onnx and -cfg/-ckpt name two models; give one of them"),
        (("-m", "a", "-m", "b"), 5, "a: no such file or folder"),
        (("-m", "absent"), 5, "absent: no such file or folder"),
        (("--backend", "onnx"), 2, "--backend onnx needs --onnx MODEL.onnx"),
        (("-cfg", "a"), 2, "--backend mmengine needs both -cfg CONFIG and -ckpt CHECKPOINT"),
        (("--backend", "mmengine", "-m", "absent"), 5, "absent: no such folder; give a config and a checkpoint"),
    ],
    ids=["none", "m and onnx", "onnx and cfg", "several", "absent", "backend alone", "half", "no folder"],
)
def test_models_that_are_not_one(capfd, words, code, message):
    assert main(("inspect", *words)) == code
    assert message in " ".join(capfd.readouterr().err.split())
