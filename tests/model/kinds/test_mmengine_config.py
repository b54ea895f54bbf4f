from __future__ import annotations

import pytest

from itk_infer.errors import SpecError
from itk_infer.model.kinds.mmengine_config import spec_documents
from itk_infer.model.spec_sources import resolve
from itk_infer.options import Options
from itk_infer.spec.intensity import Standardize, WindowLevel


def read(config):
    documents, notes, batch = spec_documents(config, "net.py")
    return resolve(documents, Options())[0], notes, batch


def test_window_level_and_width_come_before_mean_and_standard_deviation():
    spec, notes, _ = read({"wl": 40, "ww": 350.5, "model": {"data_preprocessor": {"mean": [0.5], "std": [0.25]}}})
    assert spec.input.intensity == (WindowLevel(40, 350.5), Standardize((0.5,), (0.25,)))
    assert notes == []


def test_three_means_are_three_channels():
    spec, _, _ = read({"data_preprocessor": {"mean": (1, 2, 3), "std": (4, 5, 6)}, "model": {}})
    assert len(spec.input.channels) == 3
    assert spec.input.intensity == (Standardize((1, 2, 3), (4, 5, 6)),)


@pytest.mark.parametrize(
    ("model", "patch", "stride"),
    [
        ({"test_cfg": {"mode": "slide", "crop_size": (64, 48), "stride": (32, 24)}}, (1, 64, 48), (1, 32, 24)),
        ({"test_cfg": {"crop_size": [8, 16, 24], "stride": [4, 8, 12]}}, (8, 16, 24), (4, 8, 12)),
        ({"test_cfg": {"mode": "whole"}}, None, None),
        ({"inference_config": {"patch_size": (9, 8, 7), "patch_stride": None}}, (9, 8, 7), None),
        (
            {
                "test_cfg": {"crop_size": (8, 8, 8), "stride": (4, 4, 4)},
                "inference_config": {"patch_size": (6, 6, 6)},
            },
            (6, 6, 6),
            (4, 4, 4),
        ),
    ],
)
def test_the_window_of_older_keys(model, patch, stride):
    spec, _, _ = read({"wl": 0, "ww": 1, "model": model})
    assert (spec.window.patch_size, spec.window.patch_stride) == (patch, stride)


def test_ignored_keys_are_named_once_and_the_batch_is_a_hint():
    _, notes, batch = read(
        {
            "wl": 0,
            "ww": 1,
            "model": {
                "data_preprocessor": {"type": "X", "bgr_to_rgb": True, "rgb_to_bgr": False, "seg_pad_val": 255},
                "inference_config": {
                    "accumulate_device": "cuda",
                    "forward_batch_windows": 8,
                    "argmax_batchsize": 4,
                },
            },
        }
    )
    assert batch == 8
    assert notes == [
        "net.py: ignored data_preprocessor.bgr_to_rgb, inference_config.accumulate_device, "
        "inference_config.argmax_batchsize"
    ]


def test_the_spec_dict_stands_above_the_older_keys():
    config = {
        "wl": 40,
        "ww": 400,
        "model": {"test_cfg": {"crop_size": (64, 64), "stride": (32, 32)}},
        "itk_infer": {"spec": 1, "input": {"intensity": [{"op": "window", "level": 0, "width": 2}]}},
    }
    spec, _, _ = read(config)
    assert spec.input.intensity == (WindowLevel(0, 2),)
    assert spec.window.patch_size == (1, 64, 64)


def test_an_unknown_key_in_the_spec_dict_is_an_error_that_names_config_and_key():
    with pytest.raises(SpecError, match=r"net\.py, itk_infer: unknown key input\.orientaton"):
        read({"model": {}, "itk_infer": {"input": {"orientaton": "RAS"}}})


@pytest.mark.parametrize("config", [{"wl": 40}, {"ww": 40}, {"wl": "a", "ww": 4}])
def test_half_a_window_is_an_error(config):
    with pytest.raises(SpecError, match=r"net\.py, wl and ww"):
        read({"model": {}, **config})


def test_a_batch_of_nothing_is_an_error():
    with pytest.raises(SpecError, match="forward_batch_windows must be 1 or more"):
        spec_documents({"model": {"inference_config": {"forward_batch_windows": 0}}}, "net.py")


def test_a_config_that_says_nothing_has_no_documents():
    assert spec_documents({"model": {"type": "X", "data_preprocessor": None}}, "net.py") == ([], [], None)
