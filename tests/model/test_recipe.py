"""Recipes: each model gives some of the labels, later ones replace earlier ones, every number is of the merged map."""

from __future__ import annotations

import json

import numpy as np
import pytest
import SimpleITK as sitk

from itk_infer import Predictor
from itk_infer.errors import ConfigError, ModelError
from itk_infer.model.kinds.fake import FakeBackend
from itk_infer.model.kinds.recipe import is_recipe
from itk_infer.model.recipe import Recipe, RecipePart
from itk_infer.run.folder import run_folder
from itk_infer.run.settings import RunSettings
from itk_infer.spec import parse_spec

IMAGE = np.arange(6 * 7 * 8, dtype=np.float32).reshape(6, 7, 8)


def part(name, above, values=None, orientation=None, labels=("organ", "lesion"), channels=1):
    """Label 1 above a number, label 2 above twice as much."""

    def network(windows):
        first = windows[:, :1]
        return np.concatenate([0 * first, first - above, 2 * (first - 1.5 * above)], axis=1)

    document = {
        "input": {"orientation": orientation, "channels": [""] * channels},
        "window": {"patch_size": [3, 4, 5]},
        "output": {"labels": [{"value": number, "name": label} for number, label in enumerate(labels, 1)]},
    }
    return RecipePart(name, FakeBackend(network, parse_spec(document, "test")), values)


def own_labels(array, above):
    return np.select([array > 2 * above, array > above], [2, 1], 0)


def recipe(*parts):
    return Recipe("both", parts, "text")


def test_later_labels_replace_earlier_ones_under_their_new_values():
    backend = recipe(
        part("a", 100.0, {"organ": 7, "lesion": 300}),
        part("b", 120.0, {"scar": 5}, orientation="RAS", labels=("other", "scar")),
    )
    image = sitk.GetImageFromArray(IMAGE)
    result = Predictor(backend, orientation="input")(image)
    found = sitk.GetArrayFromImage(result.labels)
    expected = np.select([own_labels(IMAGE, 100) == 2, own_labels(IMAGE, 100) == 1], [300, 7], 0)
    expected[own_labels(IMAGE, 120) == 2] = 5
    np.testing.assert_array_equal(found, expected)
    assert {item.label.value: item.voxels for item in result.measurements.labels} == {
        value: int((expected == value).sum()) for value in (5, 7, 300)
    }
    assert result.measurements.windows == 2 * len(Predictor(part("a", 1.0).backend).plan(_grid(), 4).windows)


def _grid():
    from itk_infer.case.images import volume_of_images

    return volume_of_images(sitk.GetImageFromArray(IMAGE))[0].grid


def test_a_folder_is_run_and_resumed_by_the_recipe(tmp_path):
    (tmp_path / "scans").mkdir()
    sitk.WriteImage(sitk.GetImageFromArray(IMAGE), str(tmp_path / "scans" / "a.mha"))
    settings = RunSettings(tmp_path / "scans", tmp_path / "masks")
    backend = recipe(part("a", 100.0), part("b", 150.0, {"lesion": 2}))
    assert run_folder(Predictor(backend), settings).done == ["a.mha"]
    assert run_folder(Predictor(backend), settings).skipped
    other = Recipe("both", backend.parts, "another text")
    assert run_folder(Predictor(other), settings).done == ["a.mha"]
    failed = run_folder(
        Predictor(other), RunSettings(tmp_path / "scans", tmp_path / "more", save_logits=True)
    ).failed
    assert "has no logits" in failed["a.mha"]


def test_what_does_not_fit_together():
    with pytest.raises(ConfigError, match="b: has no label liver; it has organ, lesion"):
        recipe(part("a", 1.0), part("b", 1.0, {"liver": 3}))
    with pytest.raises(ConfigError, match="b: its label liver and organ of another model both have the value 1"):
        recipe(part("a", 1.0), part("b", 1.0, labels=("liver", "lesion")))
    with pytest.raises(ConfigError, match="two models have the label lesion under different values"):
        recipe(part("a", 1.0), part("b", 1.0, {"lesion": 9}))
    with pytest.raises(ConfigError, match="b: takes 2 channels, and a 1"):
        recipe(part("a", 1.0), part("b", 1.0, channels=2))


def test_a_file_names_models_specs_and_labels(tmp_path, configs):
    demo = configs.parent / "itk_infer" / "demo" / "hippocampus_unet.onnx"
    content = {
        "recipe": 1,
        "name": "hippocampi",
        "spec": {"window": {"patch_size": [32, 40, 32]}},
        "models": [
            {"model": str(demo), "labels": {"anterior hippocampus": 17}},
            {
                "model": str(demo),
                "spec": {"input": {"orientation": "LPS"}},
                "labels": {"posterior hippocampus": 53},
            },
        ],
    }
    path = tmp_path / "recipe.json"
    path.write_text(json.dumps(content), "utf-8")
    assert is_recipe(path)
    assert not is_recipe(demo)
    predictor = Predictor.load(path, device="cpu")
    assert [member.spec.input.orientation for member in predictor.model.members] != ["LPS", "LPS"]
    assert [member.window.patch for member in predictor.model.members] == [(32, 40, 32)] * 2
    assert [(label.value, label.name) for label in predictor.spec.output.labels] == [
        (17, "anterior hippocampus"),
        (53, "posterior hippocampus"),
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"recipe": 2, "models": [{"model": "a"}]}, 'a recipe has "recipe": 1'),
        ({"recipe": 1, "models": []}, 'a recipe has "recipe": 1'),
        ({"recipe": 1, "model": []}, "unknown key model; did you mean models?"),
        ({"recipe": 1, "models": [{}]}, r"models\[0\] needs a model"),
        ({"recipe": 1, "models": [{"model": "a", "labels": {"x": 0}}]}, r"models\[0\].labels.x is 0"),
        ({"recipe": 1, "models": [{"model": "absent"}]}, "absent: no such file or folder"),
    ],
)
def test_a_wrong_file_is_refused_with_the_place(tmp_path, content, message):
    path = tmp_path / "r.json"
    path.write_text(json.dumps(content), "utf-8")
    with pytest.raises(ModelError, match=message):
        Predictor.load(path)
