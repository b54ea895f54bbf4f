"""Translate MONAI's transforms of intensities to steps of a model spec."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from itk_infer.model.kinds.monai_bundle.graph import Component
from itk_infer.model.kinds.monai_bundle.values import a_number, a_switch, nothing_but
from itk_infer.spec.values import is_number

Steps = list[dict[str, Any]]


def to_range(low: float, high: float) -> Steps:
    """The step that maps 0 ... 1 to low ... high, as (v - mean) / std; none if that is 0 ... 1."""
    if (low, high) == (0, 1):
        return []
    return [{"op": "standardize", "mean": [-low / (high - low)], "std": [1 / (high - low)]}]


def _bounds(
    component: Component, low: str, high: str, defaults: tuple[float, float] | None
) -> tuple[float, float]:
    first, last = (
        a_number(component, key, None if defaults is None else default)
        for key, default in zip((low, high), defaults or (0, 0), strict=True)
    )
    if not first < last:
        raise component.refused(f"has {low}={first:g} and {high}={last:g}; the second must be larger")
    return first, last


def _range(component: Component, channels: int) -> Steps:
    """``ScaleIntensityRanged``: (v - a_min) / (a_max - a_min), then to b_min ... b_max."""
    low, high = _bounds(component, "a_min", "a_max", None)
    clip = a_switch(component, "clip")
    if component.argument("b_min") is None or component.argument("b_max") is None:
        if clip or component.argument("b_min") is not None or component.argument("b_max") is not None:
            raise component.refused("has clip or one bound, and needs both b_min and b_max")
        return [{"op": "standardize", "mean": [low], "std": [high - low]}]
    to_low, to_high = _bounds(component, "b_min", "b_max", None)
    if clip and (to_low, to_high) == (0, 1):
        return [{"op": "window", "level": (low + high) / 2, "width": high - low}]
    scale = (high - low) / (to_high - to_low)
    steps: Steps = [{"op": "standardize", "mean": [low - to_low * scale], "std": [scale]}]
    return [*steps, {"op": "clip", "lower": to_low, "upper": to_high}] if clip else steps


def _rescale(component: Component, channels: int) -> Steps:
    """``ScaleIntensityd``: minimum and maximum to minv ... maxv, over all channels unless channel_wise."""
    nothing_but(component, "factor", None)
    together = channels > 1 and not a_switch(component, "channel_wise")
    low, high = _bounds(component, "minv", "maxv", (0, 1))
    return [{"op": "minmax", **({"across_channels": True} if together else {})}, *to_range(low, high)]


def _normalize(component: Component, channels: int) -> Steps:
    nonzero = a_switch(component, "nonzero")
    together = channels > 1 and not a_switch(component, "channel_wise")
    mean, std = component.argument("subtrahend"), component.argument("divisor")
    if mean is not None or std is not None:
        means, stds = (value if isinstance(value, list | tuple) else [value] for value in (mean, std))
        if nonzero or not all(is_number(value) for value in (*means, *stds)) or min(stds) <= 0:
            raise component.refused("has a subtrahend or divisor that is not understood; both must be numbers")
        return [{"op": "standardize", "mean": list(means), "std": list(stds)}]
    step: dict[str, Any] = {"op": "zscore", "mask": "all"}
    if nonzero:
        step = {"op": "zscore", "mask": "nonzero", "outside": "keep"}
    return [{**step, **({"across_channels": True} if together else {})}]


def _percentiles(component: Component, channels: int) -> Steps:
    """``ScaleIntensityRangePercentilesd``: percentiles lower and upper to b_min ... b_max, clipped."""
    if not a_switch(component, "clip"):
        raise component.refused("has clip=False, which is not understood")
    if a_switch(component, "relative"):
        raise component.refused("has relative=True, which is not understood")
    lower, upper = _bounds(component, "lower", "upper", None)
    low, high = _bounds(component, "b_min", "b_max", None)
    return [_clip_percentile(component, channels, lower, upper), {"op": "minmax"}, *to_range(low, high)]


def _clip_percentiles(component: Component, channels: int) -> Steps:
    nothing_but(component, "sharpness_factor", None)
    return [_clip_percentile(component, channels, *_bounds(component, "lower", "upper", (0, 100)))]


def _clip_percentile(component: Component, channels: int, lower: float, upper: float) -> dict[str, Any]:
    if channels > 1 and not a_switch(component, "channel_wise"):
        raise component.refused("takes percentiles of several channels together, which is not understood")
    return {"op": "clip_percentile", "lower": lower, "upper": upper}


# By class name: the arguments that are read, and a function from component and number of input channels to steps.
INTENSITIES: dict[str, tuple[tuple[str, ...], Callable[[Component, int], Steps]]] = {
    "ScaleIntensityRanged": (("a_min", "a_max", "b_min", "b_max", "clip"), _range),
    "ScaleIntensityd": (("minv", "maxv", "factor", "channel_wise"), _rescale),
    "NormalizeIntensityd": (("subtrahend", "divisor", "nonzero", "channel_wise"), _normalize),
    "ScaleIntensityRangePercentilesd": (
        ("lower", "upper", "b_min", "b_max", "clip", "relative", "channel_wise"),
        _percentiles,
    ),
    "ClipIntensityPercentilesd": (("lower", "upper", "sharpness_factor", "channel_wise"), _clip_percentiles),
}
