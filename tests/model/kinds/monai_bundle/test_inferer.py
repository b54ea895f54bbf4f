"""Inferers as windows: sizes, strides with MONAI's rounding, blending, slices."""

from __future__ import annotations

import inspect

import pytest

from itk_infer.errors import ModelError
from itk_infer.model.kinds.monai_bundle.graph import ConfigGraph
from itk_infer.model.kinds.monai_bundle.inferer import read_inferer


def read(dimensions=3, **arguments):
    arguments.setdefault("_target_", "SlidingWindowInferer")
    return read_inferer(ConfigGraph({"inferer": arguments}, "inference.json").get("inferer"), dimensions)


@pytest.mark.parametrize("size", [31, 80, 96, 160])
@pytest.mark.parametrize("overlap", [0, 0.1, 0.25, 0.5, 0.625, 0.8, 0.9, 0.99])
def test_strides_are_those_of_monai(size, overlap):
    utils = pytest.importorskip("monai.inferers.utils")
    theirs = utils._get_scan_interval((1000,) * 3, (size,) * 3, 3, (overlap,) * 3)
    assert read(roi_size=size, overlap=overlap).window["patch_stride"] == list(theirs)


def test_gaussian_and_padding():
    found = read(
        roi_size=[8, 9, 10], overlap=[0.5, 0, 0], mode="gaussian", padding_mode="replicate", sw_batch_size=4
    )
    assert found.window == {
        **{"patch_size": [8, 9, 10], "patch_stride": [4, 9, 10], "blend": "gaussian"},
        "gaussian": {"center": "middle", "floor": 1e-3},
    }
    assert (found.padding, found.batch, found.axes) == ({"mode": "edge"}, 4, "xyz")
    assert read(roi_size=8, cval=-1).padding == {"mode": "constant", "value": -1}


def test_whole_volumes_and_slices():
    assert read(_target_="SimpleInferer").window == {}
    assert read_inferer(None, 3).window == {}
    assert "patch_size" not in read(roi_size=-1).window
    slices = read(2, _target_="SliceInferer", roi_size=[16, 12], spatial_dim=2)
    assert (slices.axes, slices.window["patch_size"]) == ("zxy", [1, 16, 12])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"_target_": "SaliencyInferer"}, "SaliencyInferer is not among"),
        ({"roi_size": [8, -1, 8]}, "only some of the axes"),
        ({"roi_size": 8, "overlap": 1.0}, "below 1"),
        ({"roi_size": 8, "mode": "linear"}, "mode='linear'"),
        ({"roi_size": 8, "mode": "gaussian", "sigma_scale": 0.2}, "sigma_scale"),
        ({"roi_size": 8, "padding_mode": "circular"}, "circular"),
        ({"roi_size": 8.5}, "whole numbers"),
        ({"roi_size": 8, "padding_mode": ["constant"]}, "padding_mode"),
        ({"roi_size": 8, "padding_mode": "replicate", "cval": 1}, "cval=1"),
        ({"roi_size": 8, "with_coord": True}, "with_coord=True"),
        ({"roi_size": 8, "sw_batch_size": 0}, "sw_batch_size=0"),
        ({"roi_size": 8, "sw_batch_size": "4"}, "sw_batch_size='4'"),
        ({"roi_size": 8, "overlap": [0.5, 0.5]}, "overlap=.*one number, or 3"),
        ({"roi_size": 8, "roi_weight_map": None}, "inferer: SlidingWindowInferer has the argument roi_weight_map"),
        ({"_target_": "SlidingWindowInfererAdapt", "roi_size": 8, "sw_size": 4}, "argument sw_size"),
        ({"_target_": "SimpleInferer", "roi_size": [8, 8, 8]}, "inferer: SimpleInferer has the argument roi_size"),
        ({"_target_": "SliceInferer", "roi_size": 8}, "does not fit"),
    ],
    ids=lambda value: value[:24] if isinstance(value, str) else "x",
)
def test_what_is_refused(arguments, words):
    with pytest.raises(ModelError, match=words):
        read(**arguments)


def test_a_slice_has_an_axis():
    with pytest.raises(ModelError, match="spatial_dim=5"):
        read(2, _target_="SliceInferer", roi_size=8, spatial_dim=5)


def test_overlaps_of_slices_are_those_of_the_three_axes():
    """As in MONAI, which refuses two."""
    found = read(2, _target_="SliceInferer", roi_size=[16, 12], spatial_dim=1, overlap=[0.5, 0.9, 0.25])
    assert (found.axes, found.window["patch_stride"]) == ("yxz", [1, 8, 9])
    with pytest.raises(ModelError, match="overlap"):
        read(2, _target_="SliceInferer", roi_size=[16, 12], overlap=[0.5, 0.25])


@pytest.mark.parametrize("kind", ["SlidingWindowInferer", "SlidingWindowInfererAdapt"])
def test_arguments_that_change_nothing(kind):
    """Where sums are kept, what is shown: every argument of MONAI's signature is known."""
    inferers = pytest.importorskip("monai.inferers")
    harmless = {
        **{"sw_device": "cuda", "device": "cpu", "progress": True, "cache_roi_weight_map": True},
        **{"cpu_thresh": 1000, "buffer_steps": 2, "buffer_dim": 0, "with_coord": False, "sigma_scale": 0.125},
    }
    used = {"roi_size": [8, 8, 8], "sw_batch_size": 2, "overlap": 0.5, "mode": "gaussian"}
    used |= {"padding_mode": "constant", "cval": 0.0}
    known = set(inspect.signature(getattr(inferers, kind)).parameters)
    assert known == {*harmless, *used}
    assert read(_target_=kind, **used, **harmless).window == read(_target_=kind, **used).window


def test_modes_are_texts_or_members_of_enums():
    by_name = read(roi_size=8, mode="gaussian", padding_mode="reflect")
    by_member = read(
        roi_size=8,
        mode="$monai.utils.BlendMode.GAUSSIAN",
        padding_mode="$monai.utils.enums.PytorchPadMode.REFLECT",
    )
    assert (by_member.window, by_member.padding) == (by_name.window, by_name.padding)
    with pytest.raises(ModelError, match="mode='GAUSSIAN'"):  # as in MONAI
        read(roi_size=8, mode="GAUSSIAN")
    with pytest.raises(ModelError, match="is not evaluated"):
        read(roi_size=8, mode="$os.BlendMode.GAUSSIAN")
