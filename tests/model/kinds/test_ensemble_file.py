"""Ensemble files: what they may say, and that they do it."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import SimpleITK as sitk
from support.onnx_files import sign_network

from itk_infer.errors import ConfigError, ModelError, SpecError
from itk_infer.model.kinds.ensemble_file import ensemble_document, is_ensemble, read_ensemble
from itk_infer.model.registry import kind_of, load_backend
from itk_infer.model.spec_sources import SpecSources
from itk_infer.options import Options
from itk_infer.predictor import Predictor

SPEC = {"spec": 1, "name": "sign", "input": {"orientation": None}, "window": {"patch_size": [2, 3, 4]}}
SHARP = {
    **SPEC,
    "name": "sharp",
    "input": {"orientation": None, "intensity": [{"op": "window", "level": 0, "width": 1}]},
}


@pytest.fixture
def models(tmp_path):
    for name, spec in (("a", SPEC), ("b", SPEC), ("c", SHARP)):
        sign_network(tmp_path / f"{name}.onnx", metadata={"itk_infer": json.dumps(spec)})
    return tmp_path


def write(folder, file="ens.json", **content):
    path = folder / file
    path.write_text(json.dumps({"ensemble": 1, **content}), "utf-8")
    return path


def load(path, **options):
    return load_backend(None, [path], SpecSources(), Options(device="cpu", provider="cpu", **options))


def test_it_is_recognised_by_its_content(models):
    path = write(models, members=["a.onnx", "b.onnx"])
    assert kind_of(path).name == "ensemble"
    assert not is_ensemble(models / "a.onnx")
    assert not is_ensemble(models)
    (models / "other.json").write_text('["ensemble"]')
    assert not is_ensemble(models / "other.json")


def test_groups_weights_and_names(models):
    group = {"members": ["a.onnx", {"model": "b.onnx", "kind": "onnx"}], "mean": "logits", "weight": 3}
    path = write(models, "whole.json", members=[group, "c.onnx"])
    read = read_ensemble(path)
    assert read.weights == (3, 1)
    assert read.members[0].content.mean == "logits"
    assert read.members[0].content.members[1].kind == "onnx"
    backend = load(path)
    assert backend.weights == (0.75, 0.25)
    assert [member.spec.name for member in backend.members] == ["sign", "sharp"]
    assert load(path, weights=(1, 1)).weights == (0.5, 0.5)


def test_the_named_models_run(models):
    """Probabilities 1 / (1 + exp(-2 x)) of the sign networks, and of x clipped to 0 ... 1 after a window."""
    values = np.linspace(-2, 2, 7 * 6 * 5, dtype=np.float32).reshape(7, 6, 5)
    path = write(
        models, members=[{"members": ["a.onnx", "b.onnx"], "mean": "logits"}, {"model": "c.onnx", "weight": 2}]
    )
    predictor = Predictor.load(path, device="cpu", provider="cpu", orientation="input")
    labels = sitk.GetArrayFromImage(predictor(sitk.GetImageFromArray(values)).labels)
    scaled = np.clip(values.astype(np.float64) + 0.5, 0, 1)
    share = (1 / (1 + np.exp(-2 * values)) + 2 / (1 + np.exp(-2 * scaled))) / 3
    clear = np.abs(share - 0.5) > 1e-3
    np.testing.assert_array_equal(labels[clear], (share > 0.5)[clear])
    assert 0.1 < labels.mean() < 0.9


def test_a_file_may_name_another_one_but_not_itself(models):
    write(models, "inner.json", members=["a.onnx", "b.onnx"], name="inner")
    outer = write(models, "outer.json", members=["inner.json", "c.onnx"])
    assert read_ensemble(outer).members[0].content.name == "inner"
    write(models, "inner.json", members=["a.onnx", "outer.json"])
    with pytest.raises(SpecError, match=r"outer\.json: is a member of itself"):
        read_ensemble(outer)


def test_the_folder_can_be_moved(models, tmp_path_factory):
    path = write(models, **ensemble_document(["a.onnx", "b.onnx"], "logits"))
    moved = tmp_path_factory.mktemp("elsewhere") / "models"
    digest = load(path).digest
    shutil.move(models, moved)
    assert load(moved / "ens.json").digest == digest


DEEP = ["a.onnx", "b.onnx"]
for _ in range(12):
    DEEP = [{"members": DEEP}, "a.onnx"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param({"members": ["a.onnx"]}, "at least two", id="one"),
        pytest.param(
            {"members": ["a.onnx", "z.onnx"]}, r"members\[1\] names z.onnx, and there is no", id="missing"
        ),
        pytest.param({"members": ["a.onnx", 3]}, r"members\[1\] must be a file name", id="number"),
        pytest.param({"members": ["a.onnx", {}]}, r"members\[1\] must be a file name", id="empty"),
        pytest.param({"members": ["a.onnx", "b.onnx"], "mean": "max"}, "mean is 'max'", id="mean"),
        pytest.param({"members": ["a.onnx", "b.onnx"], "wieght": 1}, "wieght is not known", id="key"),
        pytest.param({"members": ["a.onnx", {"model": "b.onnx", "weight": 0}]}, "weight is 0", id="weight"),
        pytest.param({"members": ["a.onnx", {"model": "b.onnx", "weight": 10**400}]}, "weight is 1", id="huge"),
        pytest.param({"members": ["a.onnx"] * 257}, "more than 256 models", id="many"),
        pytest.param({"members": ["a.onnx", {"model": "b.onnx", "mean": "logits"}]}, "is for a group", id="group"),
        pytest.param(
            {"members": ["a.onnx", {"members": DEEP[:2], "kind": "onnx"}]}, "kind is for a member", id="kind"
        ),
        pytest.param({"members": DEEP}, "groups lie more than 8 deep", id="deep"),
        pytest.param({"ensemble": 2, "members": DEEP}, "version 2; only 1", id="version"),
        pytest.param({"members": ["a.onnx", {"model": 3}]}, "must be text", id="text"),
        pytest.param({"members": ["a.onnx", "b.onnx"], "name": 3}, "name must be text", id="name"),
    ],
)
def test_what_is_wrong_is_named(models, content, message):
    path = models / "ens.json"
    path.write_text(json.dumps({"ensemble": 1, **content}), "utf-8")
    with pytest.raises(SpecError, match=message):
        read_ensemble(path)


def test_files_that_multiply_are_not_all_read(models):
    """Seven files, each of which names the next one ten times: ten million models."""
    for number in range(7):
        write(models, f"e{number}.json", members=[f"e{number + 1}.json" if number < 6 else "a.onnx"] * 10)
    with pytest.raises(SpecError, match="more than 256 models"):
        read_ensemble(models / "e0.json")


def test_recipes_and_ensembles_cannot_lead_back_to_themselves(models):
    recipe = models / "r.json"
    recipe.write_text(json.dumps({"recipe": 1, "models": [{"model": "r.json"}]}), "utf-8")
    with pytest.raises(ModelError, match="is a recipe, too"):
        Predictor.load(recipe)
    recipe.write_text(json.dumps({"recipe": 1, "models": [{"model": "ens.json"}]}), "utf-8")
    write(models, members=["a.onnx", "r.json"])
    with pytest.raises(ConfigError, match="r.json is a recipe"):
        Predictor.load(recipe)


def test_a_file_that_cannot_be_read(tmp_path):
    path = tmp_path / "ens.json"
    path.write_text("{")
    with pytest.raises(SpecError, match="cannot be read as an ensemble file"):
        read_ensemble(path)


def test_weights_are_for_several_models(models):
    with pytest.raises(ConfigError, match="`weights` is for ensemble models; this onnx model has no members"):
        load(models / "a.onnx", weights=(1, 1))
    options = Options(device="cpu", provider="cpu", weights=(1, 3))
    two = load_backend(None, [models / "a.onnx", models / "c.onnx"], SpecSources(), options)
    assert two.weights == (0.25, 0.75)
    with pytest.raises(ConfigError, match=r"ens\.json: .*3 are given for 2 models"):
        load(write(models, members=["a.onnx", "b.onnx"]), weights=(1, 1, 1))
