"""Configurations of plans.json in both forms; what is not understood is refused by name."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest
from support.nnunet_folder import LEFT_OUT, RESAMPLING, architecture, configuration, older_configuration, plans

from itk_infer.errors import ModelError
from itk_infer.model.kinds.nnunet.plans import read_configuration
from itk_infer.model.kinds.nnunet.resampling import Resampling


def read(plan, name="3d_fullres"):
    return read_configuration(json.loads(json.dumps(plan)), name, "plans.json")


def read_one(dims=3, **changed):
    return read(plans({"3d_fullres": configuration(dims, **changed)}))


def test_a_configuration():
    found = read(plans(transpose_forward=[2, 0, 1], image_reader_writer="NibabelIO"))
    assert (found.name, found.dataset_name, found.plans_name) == ("3d_fullres", "Dataset001_Small", "nnUNetPlans")
    assert (found.patch_size, found.spacing, found.dimensions) == ((8, 16, 12), (2.0, 1.5, 1.25), 3)
    assert (found.transpose_forward, found.reader, found.previous_stage) == ((2, 0, 1), "NibabelIO", None)
    assert found.resampling == Resampling("cubic", True, 3, "nearest")
    about = found.architecture
    assert (about.network, about.features, about.encoder, about.decoder) == ("PlainConvUNet", (4, 6), (1, 1), (1,))
    assert (about.kernels, about.strides) == (((3, 3, 3),) * 2, ((1, 1, 1), (2, 2, 2)))


@pytest.mark.parametrize("dims", [2, 3])
def test_plans_of_both_forms_give_the_same(dims):
    older = plans(
        {"3d_fullres": older_configuration(dims)},
        label_manager=LEFT_OUT,
        foreground_intensity_properties_per_channel=LEFT_OUT,
        foreground_intensity_properties_by_modality={},
    )
    assert read(older) == read_one(dims)


def test_the_older_form_with_other_sizes():
    found = read(
        plans({"3d_fullres": older_configuration(
            UNet_class_name="ResidualEncoderUNet", UNet_base_num_features=32, unet_max_num_features=100,
            n_conv_per_stage_encoder=[1, 3, 4], n_conv_per_stage_decoder=[1, 2],
            pool_op_kernel_sizes=[[1, 1, 1], [1, 2, 2], [2, 2, 2]], conv_kernel_sizes=[[1, 3, 3], [3, 3, 3], [3, 3, 3]],
        )})
    ).architecture  # fmt: skip
    assert (found.network, found.features, found.encoder, found.decoder) == (
        "ResidualEncoderUNet", (32, 64, 100), (1, 3, 4), (1, 2),
    )  # fmt: skip
    assert (found.stem, found.bias, found.norm, found.activation) == (32, True, "Instance", "LeakyReLU")


def test_a_configuration_inherits_from_others():
    plan = plans({
        "3d_fullres": configuration(),
        "middle": {"inherits_from": "3d_fullres", "spacing": [3, 3, 3]},
        "last": {"inherits_from": "middle", "patch_size": [4, 8, 8], "previous_stage": "3d_fullres"},
    })  # fmt: skip
    base = read(plan)
    assert read(plan, "last") == replace(
        base, name="last", spacing=(3, 3, 3), patch_size=(4, 8, 8), previous_stage="3d_fullres"
    )


@pytest.mark.parametrize(
    ("configurations", "message"),
    [
        (
            {"2d": {}},
            "plans.json: has no configuration 3d_fullres of the checkpoint; there are 2d. Is this file of",
        ),
        ({"3d_fullres": {"inherits_from": "base"}}, "no configuration base, which 3d_fullres inherits from"),
        (
            {"3d_fullres": {"inherits_from": "b"}, "b": {"inherits_from": "3d_fullres"}},
            "inherit from each other in a circle: 3d_fullres, b",
        ),
    ],
    ids=["absent", "parent absent", "circle"],
)
def test_configurations_that_are_not_there(configurations, message):
    with pytest.raises(ModelError, match=message):
        read(plans(configurations))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"preprocessor_name": "MyPreprocessor"},
            "preprocessor_name is MyPreprocessor, and only DefaultPreprocessor",
        ),
        ({"normalization_schemes": ["Own"]}, "the normalisation Own is not nnU-Net's own"),
        (
            {"use_mask_for_norm": [True, False]},
            "use_mask_for_norm is .*, and true or false for each of 1 channels",
        ),
        ({"patch_size": [8]}, "patch_size is .*two or three positive whole numbers"),
        ({"patch_size": LEFT_OUT}, "patch_size is missing"),
        ({"patch_size": "8"}, "patch_size is '8', and a list is needed"),
        ({"spacing": [1, 1]}, "spacing is .*3 positive numbers"),
        ({"spacing": [1, 0, 1]}, "spacing is .*3 positive numbers"),
        ({"resampling_fn_data": "no_resampling_hack"}, "resampling_fn_data is no_resampling_hack; of nnU-Net's"),
        ({"resampling_fn_probabilities": "mine"}, "resampling_fn_probabilities is mine"),
        (
            {"resampling_fn_data_kwargs": {**RESAMPLING, "order": 2}},
            "resampling_fn_data has order 2 and order_z 0",
        ),
        ({"resampling_fn_data_kwargs": {**RESAMPLING, "order_z": 3}}, "order 3 and order_z 3"),
        (
            {"resampling_fn_data_kwargs": {**RESAMPLING, "mode": "wrap"}},
            "has mode='wrap', which is not understood",
        ),
        (
            {"resampling_fn_data_kwargs": {**RESAMPLING, "force_separate_z": True}},
            "force_separate_z is True; null",
        ),
        (
            {"resampling_fn_data_kwargs": {**RESAMPLING, "force_separate_z": False}},
            "images and logits have different settings for a thick axis",
        ),
        (
            {"resampling_fn_probabilities_kwargs": RESAMPLING},
            "resampling_fn_probabilities has order 3 and order_z 0",
        ),
        (
            {"resampling_fn_probabilities_kwargs": {**RESAMPLING, "order": 1, "order_z": 1}},
            "has order 1 and order_z 1; logits can be interpolated with order 1 and order_z 0 only",
        ),
        (
            {"resampling_fn_data_kwargs": {"separate_z_anisotropy_threshold": "3", "force_separate_z": None}},
            "separate_z_anisotropy_threshold is '3'",
        ),
    ],
)
def test_what_is_not_understood_is_refused_by_name(changed, message):
    with pytest.raises(ModelError, match=message) as caught:
        read_one(**changed)
    assert str(caught.value).startswith("plans.json: configuration 3d_fullres")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"label_manager": "OwnLabelManager"}, "label_manager is OwnLabelManager, and only LabelManager"),
        ({"transpose_forward": [0, 1, 1]}, "transpose_forward is .*an order of 0, 1 and 2"),
        ({"configurations": ["2d"]}, "configurations is .*an object is needed"),
    ],
)
def test_what_is_not_understood_of_all_configurations(changed, message):
    with pytest.raises(ModelError, match=message):
        read(plans(**changed))


@pytest.mark.parametrize(
    ("network", "changed", "message"),
    [
        ("Primus", {}, "the network is Primus; of nnU-Net's, PlainConvUNet and ResidualEncoderUNet can be run"),
        ("PlainConvUNet", {"pool": "max"}, "pool of PlainConvUNet is not understood"),
        ("ResidualEncoderUNet", {"squeeze_excitation": True}, "squeeze_excitation of ResidualEncoderUNet is not"),
        ("PlainConvUNet", {"conv_op": "torch.nn.Conv2d"}, "conv_op is Conv2d, and patch_size has 3 entries"),
        (
            "PlainConvUNet",
            {"norm_op": "torch.nn.GroupNorm"},
            "norm_op GroupNorm is not understood in a 3D network",
        ),
        ("PlainConvUNet", {"norm_op": "torch.nn.BatchNorm2d"}, "norm_op BatchNorm2d is not understood in a 3D"),
        ("PlainConvUNet", {"norm_op_kwargs": {"groups": 2}}, "groups=2 is not understood"),
        ("PlainConvUNet", {"nonlin": "torch.nn.Softplus"}, "nonlin Softplus is not understood"),
        ("PlainConvUNet", {"nonlin_kwargs": {"beta": 2}}, "beta=2 is not understood"),
        ("ResidualEncoderUNet", {"block": "other.Block"}, "block Block is not understood"),
        ("PlainConvUNet", {"n_stages": 1}, "n_stages is '1', and at least 2"),
        ("PlainConvUNet", {"n_stages": "2"}, "n_stages is '2', and a whole number"),
        (
            "PlainConvUNet",
            {"features_per_stage": [4]},
            "features_per_stage is .*one positive whole number per stage",
        ),
        ("PlainConvUNet", {"strides": [[1, 1, 1], [2, 2]]}, "strides is .*3 positive whole numbers per stage"),
        ("PlainConvUNet", {"kernel_sizes": [[3, 3, 3], [0, 3, 3]]}, "kernel_sizes is .*3 positive whole numbers"),
        ("PlainConvUNet", {"conv_bias": 1}, "conv_bias is '1', and true or false"),
    ],
)
def test_networks_that_are_not_understood(network, changed, message):
    with pytest.raises(ModelError, match=message):
        read_one(architecture=architecture(name=network, **changed))


def test_single_numbers_hold_for_all_stages_and_axes():
    short = architecture(kernel_sizes=3, strides=[1, 2], n_conv_per_stage=1, n_conv_per_stage_decoder=1)
    assert read_one(architecture=short) == read_one()


@pytest.mark.parametrize(
    ("function", "keywords", "expected"),
    [
        ("resample_data_or_seg_to_shape", {"order": 1}, Resampling("linear", True, 3, "nearest")),
        ("resample_data_or_seg_to_shape", {"order": 0, "order_z": 1}, Resampling("nearest", True, 3, "linear")),
        (
            "resample_torch_fornnunet",
            {"memefficient_seg_resampling": False},
            Resampling("linear", False, 3, "nearest"),
        ),
    ],
    ids=["linear", "nearest", "torch"],
)
def test_resampling(function, keywords, expected):
    found = read_one(resampling_fn_data=function, resampling_fn_data_kwargs={"force_separate_z": None, **keywords})
    assert found.resampling == expected


def test_thick_axes_are_not_interpolated_for_themselves_where_that_is_off():
    # nnU-Net's own default of the function, where a file leaves the keyword out
    off = {"order": 1}
    found = read_one(resampling_fn_data_kwargs={}, resampling_fn_probabilities_kwargs=off)
    assert found.resampling == Resampling("cubic", True, None, "nearest")
    both = {"force_separate_z": None, "separate_z_anisotropy_threshold": 2.5}
    found = read_one(resampling_fn_data_kwargs=both, resampling_fn_probabilities_kwargs={**both, "order": 1})
    assert found.resampling.threshold == 2.5


def test_foreground_intensities_of_both_key_names():
    numbers = {"mean": 1, "std": 2, "percentile_00_5": -3.5, "percentile_99_5": 4}
    for key in ("foreground_intensity_properties_per_channel", "foreground_intensity_properties_by_modality"):
        plan = plans(
            {"3d_fullres": configuration(normalization_schemes=["NoNormalization", "CTNormalization"],
                                         use_mask_for_norm=[False, True])},
            foreground_intensity_properties_per_channel=LEFT_OUT,
        )  # fmt: skip
        first, second = read({**plan, key: {"0": {}, "1": numbers}}).normalization
        assert (first.foreground, first.masked, second.masked) == (None, False, False)
        found = second.foreground
        assert (found.lower, found.upper, found.mean, found.std) == (-3.5, 4, 1, 2)
    with pytest.raises(ModelError, match=re.escape("foreground_intensity_properties_by_modality is missing")):
        read(plan)
    numbers["percentile_00_5"] = 5
    with pytest.raises(ModelError, match="percentile_00_5 is above percentile_99_5"):
        read({**plan, key: {"0": {}, "1": numbers}})
