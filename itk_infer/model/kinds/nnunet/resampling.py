"""The resampling of a configuration; settings that cannot be reproduced are refused."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from itk_infer.errors import ModelError
from itk_infer.model.kinds.nnunet.json_block import JsonBlock

Interpolation = Literal["cubic", "linear", "nearest"]
_BY_ORDER: dict[Any, Interpolation] = {0: "nearest", 1: "linear", 3: "cubic"}
_DEFAULT, _TORCH = "resample_data_or_seg_to_shape", "resample_torch_fornnunet"
# Keyword arguments of each function with their defaults; others are refused, and texts must be as here.
_KEYWORDS: dict[str, dict[str, Any]] = {
    _DEFAULT: {
        "is_seg": None,
        "order": 3,
        "order_z": 0,
        "force_separate_z": False,
        "separate_z_anisotropy_threshold": 3,
    },
    _TORCH: {
        "is_seg": None,
        "num_threads": None,
        "device": None,
        "memefficient_seg_resampling": None,
        "force_separate_z": None,
        "separate_z_anisotropy_threshold": 3,
        "mode": "linear",
        "aniso_axis_mode": "nearest-exact",
    },
}


@dataclass(frozen=True, slots=True)
class Resampling:
    """How images are resampled; logits return by linear interpolation, or nearest along an anisotropic axis.

    Attributes:
        interpolation: Interpolation of the image.
        clip: Whether the result is clipped to the range of the input.
        threshold: Ratio of spacings above which the anisotropic axis is interpolated separately; None: never.
        axis_interpolation: Interpolation of the image along that axis.
    """

    interpolation: Interpolation
    clip: bool
    threshold: float | None
    axis_interpolation: Interpolation


def read_resampling(configuration: JsonBlock) -> Resampling:
    """Read the resampling of images and logits.

    Raises:
        ModelError: a function or a keyword argument is not supported.
    """
    data, settings = _function(configuration, "resampling_fn_data")
    logits, back = _function(configuration, "resampling_fn_probabilities")
    where = configuration.where
    if logits == _DEFAULT and (back["order"], back["order_z"]) != (1, 0):
        raise ModelError(
            f"{where}: resampling_fn_probabilities has order {back['order']} and order_z {back['order_z']}; "
            "logits can be interpolated with order 1 and order_z 0 only"
        )
    threshold = _threshold(settings, where)
    if _threshold(back, where) != threshold:
        raise ModelError(
            f"{where}: images and logits have different settings for a thick axis (force_separate_z, "
            "separate_z_anisotropy_threshold), which is not possible here"
        )
    if data == _TORCH:
        return Resampling("linear", False, threshold, "nearest")
    order, along = settings["order"], settings["order_z"]
    if order not in _BY_ORDER or along not in (0, 1):
        raise ModelError(
            f"{where}: resampling_fn_data has order {order} and order_z {along}; order 0, 1 or 3 and order_z 0 or "
            "1 are possible"
        )
    return Resampling(_BY_ORDER[order], True, threshold, _BY_ORDER[along])


def _function(configuration: JsonBlock, key: str) -> tuple[str, dict[str, Any]]:
    """The name of a function and its keyword arguments, with defaults."""
    name = configuration.text(key)
    if name not in _KEYWORDS:
        raise ModelError(
            f"{configuration.where}: {key} is {name}; of nnU-Net's, {_DEFAULT} and {_TORCH} are understood"
        )
    defaults = _KEYWORDS[name]
    given = configuration.block(f"{key}_kwargs").content if configuration.has(f"{key}_kwargs") else {}
    for word, value in given.items():
        fixed = defaults.get(word)
        if word not in defaults or (isinstance(fixed, str) and value != fixed):
            raise ModelError(f"{configuration.where}: {key} has {word}={value!r}, which is not understood")
    return name, {**defaults, **given}


def _threshold(settings: dict[str, Any], where: str) -> float | None:
    forced, ratio = settings["force_separate_z"], settings["separate_z_anisotropy_threshold"]
    if forced is False:
        return None
    if forced is not None:
        raise ModelError(
            f"{where}: force_separate_z is {forced!r}; null (by the spacing) and false are possible, true is not"
        )
    if isinstance(ratio, bool) or not isinstance(ratio, int | float) or not ratio >= 1:
        raise ModelError(
            f"{where}: separate_z_anisotropy_threshold is {ratio!r}, and must be a number of at least 1"
        )
    return ratio
