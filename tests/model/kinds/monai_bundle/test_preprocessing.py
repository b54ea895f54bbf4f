"""Transforms of intensities and grids, against MONAI's own."""

from __future__ import annotations

import numpy as np
import pytest

from itk_infer.errors import ModelError
from itk_infer.model.kinds.monai_bundle.graph import ConfigGraph
from itk_infer.model.kinds.monai_bundle.preprocessing import read_preprocessing
from itk_infer.model.kinds.monai_bundle.values import components
from itk_infer.spec import parse_spec
from itk_infer.volume.intensity import apply_intensity


def read(*transforms, channels=1):
    listed = [{"keys": "image", **transform} for transform in transforms]
    graph = ConfigGraph({"preprocessing": {"_target_": "Compose", "transforms": listed}}, "inference.json")
    return read_preprocessing(components(graph.get("preprocessing"), "preprocessing", "inference.json"), channels)


INTENSITIES = [
    {"_target_": "ScaleIntensityRanged", "a_min": -57, "a_max": 164, "b_min": 0.0, "b_max": 1.0, "clip": True},
    {"_target_": "ScaleIntensityRanged", "a_min": -200, "a_max": 300, "b_min": -1, "b_max": 1, "clip": True},
    {"_target_": "ScaleIntensityRanged", "a_min": -200, "a_max": 300, "b_min": 2, "b_max": 5, "clip": False},
    {"_target_": "ScaleIntensityRanged", "a_min": -200, "a_max": 300},
    {"_target_": "ScaleIntensityd"},
    {"_target_": "ScaleIntensityd", "minv": -1.0, "maxv": 1.0, "channel_wise": True},
    {"_target_": "NormalizeIntensityd"},
    {"_target_": "NormalizeIntensityd", "nonzero": "True", "channel_wise": True},
    {"_target_": "NormalizeIntensityd", "subtrahend": 100.0, "divisor": 50.0},
    {
        "_target_": "ScaleIntensityRangePercentilesd",
        **{"lower": 2, "upper": 97, "b_min": 0, "b_max": 1, "clip": True, "channel_wise": True},
    },
    {"_target_": "ClipIntensityPercentilesd", "lower": 5, "upper": 90, "channel_wise": True},
]


@pytest.mark.parametrize("transform", INTENSITIES, ids=[f"{n} {t['_target_']}" for n, t in enumerate(INTENSITIES)])
@pytest.mark.parametrize("channels", [1, 2])
def test_intensities_are_those_of_monai(transform, channels):
    torch = pytest.importorskip("torch")
    transforms = pytest.importorskip("monai.transforms")
    rng = np.random.default_rng(0)
    voxels = rng.normal(50, 150, size=(channels, 6, 7, 8)).astype(np.float32) * np.arange(1, channels + 1)[
        :, None, None, None
    ].astype(np.float32)
    voxels[rng.random(voxels.shape) < 0.3] = 0
    arguments = {key: value for key, value in transform.items() if key != "_target_"}
    if arguments.get("nonzero"):
        arguments["nonzero"] = True
    theirs = getattr(transforms, transform["_target_"])(keys="image", **arguments)({"image": torch.tensor(voxels)})
    document = read(transform, channels=channels).document("xyz")
    steps = parse_spec({"input": {**document, "channels": [""] * channels}}, "test").input.intensity
    np.testing.assert_allclose(apply_intensity(voxels, steps), theirs["image"].numpy(), atol=2e-5, rtol=2e-5)


CROP = {"_target_": "CropForegroundd", "source_key": "image"}
SPACING = {"_target_": "Spacingd", "pixdim": 1}
RESIZED = {"_target_": "Resized", "spatial_size": 9, "mode": "trilinear"}
DIVISIBLE = {"_target_": "DivisiblePadd", "k": 8}


@pytest.mark.parametrize(
    ("transforms", "made_by", "crop"),
    [
        ([{**CROP, "mode": "minimum"}], (1, 3), {"after": "resampling"}),
        ([SPACING, INTENSITIES[0], {**CROP, "margin": 4}], (1, 5), {"after": "intensity", "beyond": True}),
        ([SPACING, INTENSITIES[0], {**CROP, "margin": 4}], (1, 4), {"after": "intensity"}),
        ([{**CROP, "margin": 2, "allow_smaller": True}, RESIZED], (1, 6), {"after": "loading", "margin": 2}),
        ([{**CROP, "select_fn": "$lambda v: v > -500"}], (1, 6), {"value": -500.0, "to": "above"}),
        ([{**CROP, "k_divisible": [16, 8, 4]}, INTENSITIES[0]], (1, 6), {"multiple_of": [16, 8, 4]}),
    ],
    ids=["the zoo's", "beyond", "of an earlier version", "before the grid", "function", "divisible"],
)
def test_where_a_crop_stands(transforms, made_by, crop):
    listed = [{"keys": "image", **transform} for transform in transforms]
    graph = ConfigGraph({"preprocessing": listed}, "inference.json")
    found = read_preprocessing(components(graph.get("preprocessing"), "x", "x"), 1, made_by).document("xyz")
    assert crop.items() <= found["crop"].items()
    assert ("beyond" in found["crop"]) == ("beyond" in crop)
    parse_spec({"input": found}, "test")


def test_grid_and_order():
    found = read(
        {"_target_": "LoadImaged", "reader": "ITKReader"},
        {"_target_": "EnsureChannelFirstd"},
        {"_target_": "Spacingd", "pixdim": [2.0], "mode": "bilinear", "keys": ["image"]},
        {"_target_": "Orientationd", "axcodes": "las"},
        {"_target_": "EnsureTyped"},
    )
    assert found.document("xyz") == {
        **{
            "orientation": "LAS",
            "axes": "xyz",
            "numbered_files": True,
            "spacing": [2.0, 2.0, 2.0],
            "intensity": [],
        },
        "resampling": {
            **{"interpolation": "linear", "alignment": "center", "size": "centers", "order": "before_intensity"}
        },
    }
    assert [line.ours for line in found.lines if not line.ours] == ["", ""]
    later = read(INTENSITIES[0], {"_target_": "Spacingd", "pixdim": [1, 1, -1]}).document("xyz")
    assert later["spacing"] == [1, 1, None]
    assert later["resampling"]["order"] == "after_intensity"
    assert read({"_target_": "DivisiblePadd", "k": 16}).multiple_of == [16, 16, 16]


@pytest.mark.parametrize(
    ("transforms", "words"),
    [
        ([{"_target_": "RandFlipd"}], "preprocessing#transforms#0: RandFlipd is not among"),
        ([{"_target_": "os.system"}], "os.system is not among"),
        ([{"_target_": "evil.LoadImaged"}], "evil.LoadImaged is not among"),
        ([{"_target_": "LoadImaged", "reader": "PILReader"}], "reader='PILReader'"),
        ([{"_target_": "LoadImaged", "keys": ["t1", "t2"]}], "keys t1, t2"),
        ([{"_target_": "ScaleIntensityd", "keys": "label"}], "keys label"),
        ([{"_target_": "Orientationd", "axcodes": 3}], "axcodes=3"),
        ([{"_target_": "Orientationd", "axcodes": "RAS", "more": 1}], "argument more"),
        ([{"_target_": "Spacingd", "pixdim": [1, 1, 1], "diagonal": True}], "diagonal=True"),
        ([{"_target_": "Spacingd", "pixdim": [1, 1, 1], "mode": 3}], "mode=3"),
        ([{"_target_": "Spacingd", "pixdim": "1"}], "pixdim='1'"),
        ([{"_target_": "Spacingd", "pixdim": 1}, {"_target_": "Spacingd", "pixdim": 1}], "second"),
        ([{"_target_": "Spacingd", "pixdim": [1, 2, 3]}, {"_target_": "Orientationd", "axcodes": "RAS"}], "after"),
        ([INTENSITIES[0], {"_target_": "Spacingd", "pixdim": 1}, INTENSITIES[4]], "before and after"),
        ([{"_target_": "ScaleIntensityRanged", "a_min": 1, "a_max": 1, "b_min": 0, "b_max": 1}], "must be larger"),
        ([{"_target_": "ScaleIntensityRanged", "a_min": 0, "a_max": 1, "clip": True}], "both b_min and b_max"),
        ([{"_target_": "ScaleIntensityd", "factor": 2}], "factor=2"),
        ([{"_target_": "NormalizeIntensityd", "subtrahend": 1, "divisor": 0}], "subtrahend or divisor"),
        ([{**INTENSITIES[9], "clip": False}], "clip=False"),
        ([{**INTENSITIES[9], "relative": True}], "relative=True"),
        ([{"_target_": "CastToTyped", "dtype": "$torch.uint8"}], "dtype='uint8'"),
        ([{"_target_": "EnsureChannelFirstd", "channel_dim": 0}], "channel_dim=0"),
        ([{"_target_": "EnsureChannelFirstd", "first": 1}], "argument first"),
        ([{**CROP, "source_key": "label"}], "source_key='label'"),
        ([{**CROP, "select_fn": "$lambda x: x > len(x)"}], "select_fn"),
        ([{**CROP, "channel_indices": [0]}], "channel_indices"),
        ([{**CROP, "margin": [1, 2, 3]}], "another margin on every axis"),
        ([{**CROP, "margin": 1, "mode": "edge"}], "mode='edge'"),
        ([{**CROP, "k_divisible": 4, "value": 3}], "value=3"),
        ([CROP, CROP], "second crop"),
        ([{**CROP, "margin": 1}, SPACING], "CropForegroundd before the resampling"),
        ([INTENSITIES[0], CROP, INTENSITIES[4]], "before and after CropForegroundd"),
        ([{**CROP, "k_divisible": [1, 2, 3]}, {"_target_": "Orientationd", "axcodes": "RAS"}], "after CropFore"),
        ([{"_target_": "SpatialPadd", "spatial_size": 9}, INTENSITIES[0]], "intensities after a padding"),
        ([DIVISIBLE, INTENSITIES[0], DIVISIBLE], "intensities after a padding"),
        ([DIVISIBLE, {"_target_": "SpatialPadd", "spatial_size": 9}], "after another padding"),
        ([DIVISIBLE, SPACING], "stands after a padding"),
        ([{**DIVISIBLE, "method": "end"}], "method='end'"),
        ([{"_target_": "Resized", "spatial_size": 9}], "mode='area'"),
        ([{**RESIZED, "spatial_size": [9, -1, 3]}], "positive on every axis"),
        ([{**RESIZED, "size_mode": "longest"}], "size_mode='longest'"),
        ([{**RESIZED, "anti_aliasing": True}], "anti_aliasing=True"),
        ([SPACING, RESIZED], "after Spacingd, another Resized"),
        ([RESIZED, SPACING], "second that changes the spacing"),
        ([INTENSITIES[0], RESIZED, INTENSITIES[4]], "before and after Spacingd or Resized"),
    ],
    ids=lambda value: value[:24] if isinstance(value, str) else "x",
)
def test_what_is_refused(transforms, words):
    with pytest.raises(ModelError, match=words):
        read(*transforms)


def test_percentiles_of_several_channels_together():
    with pytest.raises(ModelError, match="several channels together"):
        read({**INTENSITIES[10], "channel_wise": False}, channels=2)
