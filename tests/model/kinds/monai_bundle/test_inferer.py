"""Inferers as windows: sizes, strides with MONAI's rounding, blending, slices."""

from __future__ import annotations

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
        ({"roi_size": 8, "with_coord": True}, "argument with_coord"),
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
