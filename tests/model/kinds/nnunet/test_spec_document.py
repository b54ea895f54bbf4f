"""Plans and dataset.json as a model spec."""

from __future__ import annotations

import json

import pytest
from support.nnunet_folder import DATASET, RESAMPLING, configuration, plans

from itk_infer.errors import ModelError
from itk_infer.model.kinds.nnunet.labels import read_labels
from itk_infer.model.kinds.nnunet.plans import read_configuration
from itk_infer.model.kinds.nnunet.spec_document import spec_document


def document(plan=None, dataset=DATASET, axes=(), dims=3, **changed):
    plan = plan or plans({"3d_fullres": configuration(dims, **changed)})
    found = read_configuration(plan, "3d_fullres", "plans.json")
    labels = read_labels(dataset, "dataset.json")
    content, notes = spec_document(found, dataset, labels, axes, trainer="nnUNetTrainer")
    assert json.loads(json.dumps(content)) == content
    return content, notes


def test_a_whole_document():
    content, notes = document(axes=(0, 2), dataset={**DATASET, "licence": "CC-BY 4.0"})
    assert notes == []
    assert content == {
        "spec": 1,
        "name": "Dataset001_Small 3d_fullres",
        "licence": "CC-BY 4.0",
        "description": "nnU-Net v2, trained by nnUNetTrainer with nnUNetPlans",
        "input": {
            "channels": ["MRI"],
            "orientation": None,
            "spacing": [2.0, 1.5, 1.25],
            "numbered_files": True,
            "crop": {"to": "nonzero"},
            "resampling": {
                "interpolation": "cubic",
                "alignment": "edge",
                "order": "after_intensity",
                "size": "ratio",
                "clip": True,
                "anisotropic": {"threshold": 3, "axis_interpolation": "nearest"},
            },
            "intensity": [{"op": "zscore", "mask": "all"}],
            "padding": {"mode": "constant", "value": 0},
        },
        "window": {
            "patch_size": [8, 16, 12],
            "step": 0.5,
            "placement": "even",
            "blend": "gaussian",
            "gaussian": {"center": "voxel"},
            "mirror_axes": [0, 2],
            "mirror": True,
        },
        "output": {
            "values": "logits",
            "decision": "argmax",
            "labels": [{"value": 1, "name": "left"}, {"value": 2, "name": "right"}],
        },
    }


def test_a_2d_network():
    content, _ = document(dims=2, axes=(0, 1))
    assert content["window"]["patch_size"] == [1, 16, 12]
    assert content["window"]["mirror_axes"] == [1, 2]
    assert content["input"]["spacing"] == [None, 1.5, 1.25]
    with pytest.raises(ModelError, match=r"mirroring along the axes 0, 2, and the network has 2"):
        document(dims=2, axes=(0, 2))


def test_no_mirror_axes():
    window = document()[0]["window"]
    assert window["mirror_axes"] == []
    assert "mirror" not in window


@pytest.mark.parametrize(
    ("reader", "orientation"),
    [
        ("SimpleITKIO", None),
        ("NibabelIO", None),
        ("Tiff3DIO", None),
        ("NaturalImage2DIO", None),
        ("SimpleITKIOWithReorient", "RAS"),
        ("NibabelIOWithReorient", "RAS"),
    ],
)
def test_readers(reader, orientation):
    content, notes = document(plans(image_reader_writer=reader))
    assert (content["input"]["orientation"], notes) == (orientation, [])


def test_an_unknown_reader_is_said():
    content, (note,) = document(plans(image_reader_writer="LpsReader"))
    assert content["input"]["orientation"] is None
    assert note.startswith("images are read by LpsReader, which is not nnU-Net's own; they are taken as they are")
    assert "`spec`" in note


@pytest.mark.parametrize(("forward", "axes"), [([2, 0, 1], "xzy"), ([1, 2, 0], "yxz"), ([0, 2, 1], "zxy")])
def test_transposed_axes(forward, axes):
    content, _ = document(plans(transpose_forward=forward))
    assert content["input"]["axes"] == axes
    assert content["input"]["spacing"] == [2.0, 1.5, 1.25]  # plans hold it transposed


def channels(*names, key="channel_names", **more):
    return {**DATASET, "channel_names": None, key: {str(i): name for i, name in enumerate(names)}, **more}


SCHEMES = {
    "ZScoreNormalization": [{"op": "zscore", "mask": "all"}],
    "CTNormalization": [
        {"op": "clip", "lower": -30.0, "upper": 110.0},
        {"op": "standardize", "mean": [40.0], "std": [20.0]},
    ],
    "RescaleTo01Normalization": [{"op": "minmax"}],
    "RGBTo01Normalization": [{"op": "standardize", "mean": [0.0], "std": [255.0]}],
    "NoNormalization": [],
}


@pytest.mark.parametrize("scheme", SCHEMES)
def test_intensities_of_one_channel(scheme):
    assert document(normalization_schemes=[scheme])[0]["input"]["intensity"] == SCHEMES[scheme]


def test_intensities_within_a_mask():
    steps = document(use_mask_for_norm=[True])[0]["input"]["intensity"]
    assert steps == [{"op": "zscore", "mask": "crop", "outside": "keep"}]


def test_steps_of_several_channels_name_theirs_unless_they_are_the_same():
    two = {"use_mask_for_norm": [False, False]}
    same = document(
        dataset=channels("T1", "T2"),
        normalization_schemes=["ZScoreNormalization"] * 2,
        use_mask_for_norm=[False] * 2,
    )
    assert same[0]["input"]["intensity"] == [{"op": "zscore", "mask": "all"}]
    other, _ = document(
        dataset=channels("T1", "mask", "T2"),
        normalization_schemes=["RescaleTo01Normalization", "NoNormalization", "ZScoreNormalization"],
        use_mask_for_norm=[False, False, True],
    )
    assert other["input"]["intensity"] == [
        {"op": "minmax", "channels": [0]},
        {"op": "zscore", "mask": "crop", "outside": "keep", "channels": [2]},
    ]
    with pytest.raises(ModelError, match=r"dataset\.json: names 1 channels \(MRI\), and the plans normalise 2"):
        document(normalization_schemes=["NoNormalization"] * 2, **two)


def test_a_constant_foreground_is_divided_by_the_least_number():
    numbers = {"mean": 5.0, "std": 0.0, "percentile_00_5": 5.0, "percentile_99_5": 5.0}
    plan = plans(
        {"3d_fullres": configuration(normalization_schemes=["CTNormalization"])},
        foreground_intensity_properties_per_channel={"0": numbers},
    )
    assert document(plan)[0]["input"]["intensity"][1] == {"op": "standardize", "mean": [5.0], "std": [1e-8]}


def test_channel_names_are_in_the_order_of_their_numbers_and_each_occurs_once():
    two = {"normalization_schemes": ["NoNormalization"] * 3, "use_mask_for_norm": [False] * 3}
    content, _ = document(dataset=channels("CT", "CT", "PET", key="modality"), **two)
    assert content["input"]["channels"] == ["CT", "CT 1", "PET"]
    eleven = {str(i): f"c{i}" for i in range(11)}
    shuffled = {**DATASET, "channel_names": dict(sorted(eleven.items()))}  # "10" before "2"
    names = document(
        dataset=shuffled, normalization_schemes=["NoNormalization"] * 11, use_mask_for_norm=[False] * 11
    )[0]["input"]["channels"]
    assert names == [f"c{i}" for i in range(11)]
    for wrong in ({"a": "CT"}, {}, ["CT"]):
        with pytest.raises(ModelError, match="channel_names is "):
            document(dataset={**DATASET, "channel_names": wrong})


def test_regions():
    dataset = {**DATASET, "labels": {"background": 0, "whole": [1, 2], "core": 2}, "regions_class_order": [1, 2]}
    assert document(dataset=dataset)[0]["output"] == {
        "values": "logits",
        "decision": "threshold",
        "threshold": 0.5,
        "labels": [{"value": 1, "name": "whole", "channel": 0}, {"value": 2, "name": "core", "channel": 1}],
    }


def test_resampling_by_torch_and_without_a_thick_axis():
    content, _ = document(
        resampling_fn_data="resample_torch_fornnunet",
        resampling_fn_data_kwargs={"force_separate_z": False},
        resampling_fn_probabilities_kwargs={**RESAMPLING, "order": 1, "force_separate_z": False},
    )
    method = content["input"]["resampling"]
    assert (method["interpolation"], method["clip"], method["anisotropic"]) == ("linear", False, None)


def test_notes_about_labels_are_passed_on():
    _, notes = document(dataset={**DATASET, "labels": {"background": 0, "a": 3}})
    assert notes == ["label values have gaps, and nnU-Net numbers labels without: it writes a 3 as 1"]
