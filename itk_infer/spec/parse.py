"""Parses JSON-like mappings into a `ModelSpec`; errors name the file, the key and the remedy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, get_args, get_type_hints

from itk_infer.errors import SpecError, TaskError
from itk_infer.spec.intensity import OPS, IntensityStep, Standardize, ZScore
from itk_infer.spec.model_spec import (
    Alignment,
    Anisotropic,
    Blend,
    CropRule,
    Decision,
    Gaussian,
    InputSpec,
    Interpolation,
    ModelSpec,
    OutputSpec,
    Padding,
    PaddingMode,
    PadTo,
    Placement,
    Resampling,
    WindowSpec,
)
from itk_infer.spec.parse_labels import read_labels
from itk_infer.spec.parse_rules import rules
from itk_infer.spec.series_rule import some_rules
from itk_infer.spec.two_dimensions import with_planes
from itk_infer.spec.values import (
    Converter,
    Invalid,
    a_list,
    a_number,
    a_partial_size,
    a_positive,
    a_share,
    a_size,
    a_spacing,
    a_switch,
    a_text,
    an_integer,
    an_order_of_axes,
    an_orientation,
    anything,
    one_of,
    optional,
    read_block,
    some_axes,
    some_names,
    some_numbers,
    some_values,
    the_version,
    two_or_three,
)

BLOCKS = ("input", "window", "output")
OPTIONAL = ("channels", "mask", "outside", "across_channels")  # keys of intensity steps that need not be given


def merge(*documents: Mapping[str, Any]) -> dict[str, Any]:
    """Merge documents; later ones take precedence: blocks key by key, lists and plain values as a whole."""
    merged: dict[str, Any] = {}
    for document in documents:
        for key, value in document.items():
            if key in BLOCKS and isinstance(value, Mapping):
                merged[key] = {**merged.get(key, {}), **value}
            else:
                merged[key] = value
    return merged


def parse_spec(document: Any, source: str) -> ModelSpec:
    """Build a `ModelSpec`; unknown keys, wrong types and contradictions are errors.

    Args:
        document: A mapping as described in ``docs/model-spec.md``.
        source: Name of the document in messages.

    Raises:
        SpecError: naming `source`, the key, and the nearest valid key or value.
    """
    try:
        return _model_spec(with_planes(document))
    except _AnotherTask as error:
        raise TaskError(f"{source}: {error}") from None
    except Invalid as error:
        raise SpecError(f"{source}: {error}") from None


class _AnotherTask(Invalid):
    """A spec of a model that does not segment."""


def _model_spec(document: Any) -> ModelSpec:
    values = read_block(
        document,
        "",
        {
            "spec": the_version,
            "task": _segment,
            "name": a_text,
            "version": a_text,
            "licence": a_text,
            "description": a_text,
            "input": _input,
            "window": _window,
            "output": _output,
        },
    )
    for key in ("spec", "task"):
        values.pop(key, None)
    return _letterboxed(ModelSpec(**values))


def _letterboxed(spec: ModelSpec) -> ModelSpec:
    """The spec; where pictures are fitted into a size, that becomes the window, so that they are padded to it."""
    size = spec.input.size
    if size is None or spec.input.resampling.aspect != "fit" or spec.window.patch_size is not None:
        return spec
    z, y, x = (side or 1 for side in size)
    return replace(spec, window=replace(spec.window, patch_size=(z, y, x)))


def _segment(value: Any, where: str) -> str:
    if value in ("classify", "classification"):
        raise _AnotherTask("the model classifies pictures; run it with itk_infer classify")
    return str(one_of("segment")(value, where))


def _input(value: Any, where: str) -> InputSpec:
    values = read_block(
        value,
        where,
        {
            "channels": some_names,
            "dimensions": two_or_three,
            "values": one_of("stored", "unit"),
            "numbered_files": a_switch,
            "orientation": optional(an_orientation),
            "axes": an_order_of_axes,
            "crop": optional(_crop),
            "spacing": optional(a_spacing),
            "size": optional(a_partial_size),
            "resampling": _resampling,
            "intensity": anything,
            "padding": _padding,
            "pad_to": optional(_pad_to),
            "previous_labels": some_values,
            "series": some_rules,
        },
    )
    if values.get("spacing") is not None and values.get("size") is not None:
        raise Invalid(f"{where}.size and {where}.spacing exclude each other; set one of them to null")
    rule = values.get("resampling", Resampling())
    if rule.aspect == "fit" and (values.get("dimensions") != 2 or values.get("size") is None):
        raise Invalid(f"{where}.resampling.aspect 'fit' needs {where}.dimensions 2 and {where}.size")
    channels = values.get("channels", InputSpec().channels)
    if len(values.get("series", ())) not in (0, len(channels)):
        raise Invalid(f"{where}.series needs one rule for each of {len(channels)} channels")
    steps = intensity_steps(values.get("intensity", []), f"{where}.intensity", channels)
    crop: CropRule | None = values.get("crop")
    by_crop = any(isinstance(step, ZScore) and step.mask == "crop" for step in steps)
    if crop is None and by_crop:
        raise Invalid(f"{where}.intensity: the mask 'crop' of zscore is that of {where}.crop, which is not given")
    if crop is not None and crop.after != "loading":
        if by_crop or values.get("previous_labels"):
            raise Invalid(f"{where}.crop.after must be loading with the mask 'crop' or with previous_labels")
        if values.get("resampling", Resampling()).order == "after_intensity" and crop.after == "resampling":
            raise Invalid(f"{where}.crop.after 'resampling' needs {where}.resampling.order 'before_intensity'")
    return InputSpec(**{**values, "intensity": steps})


def _crop(value: Any, where: str) -> CropRule:
    keys: dict[str, Converter] = {
        "to": one_of("nonzero", "above"),
        "value": a_number,
        "margin": an_integer,
        "after": one_of("loading", "resampling", "intensity"),
        "multiple_of": a_size,
        "beyond": a_switch,
    }
    values = read_block(value, where, keys)
    if values.get("after", "loading") == "loading" and (values.get("beyond") or "multiple_of" in values):
        raise Invalid(f"{where}.multiple_of and {where}.beyond need {where}.after 'resampling' or 'intensity'")
    if values.get("margin", 0) < 0:
        raise Invalid(f"{where}.margin must be 0 or more")
    if values.get("value") and values.get("to") != "above":
        raise Invalid(f"{where}.value belongs to {where}.to 'above'")
    return CropRule(**values)


def _resampling(value: Any, where: str) -> Resampling:
    keys: dict[str, Converter] = {
        "interpolation": one_of(*get_args(Interpolation)),
        "alignment": one_of(*get_args(Alignment)),
        "order": one_of("before_intensity", "after_intensity"),
        "size": one_of("extent", "ratio", "centers"),
        "clip": a_switch,
        "anisotropic": optional(_anisotropic),
        "aspect": one_of("stretch", "fit"),
        "antialias": a_switch,
    }
    values = read_block(value, where, keys)
    if values.get("anisotropic") is not None and values.get("alignment") != "edge":
        raise Invalid(f"{where}.anisotropic needs {where}.alignment 'edge'")
    if values.get("antialias") and values.get("interpolation", "linear") != "linear":
        raise Invalid(f"{where}.antialias needs {where}.interpolation 'linear'")
    return Resampling(**values)


def _anisotropic(value: Any, where: str) -> Anisotropic:
    keys = {"threshold": a_positive, "axis_interpolation": one_of(*get_args(Interpolation))}
    return Anisotropic(**read_block(value, where, keys))


def _padding(value: Any, where: str) -> Padding:
    return Padding(**read_block(value, where, {"mode": one_of(*get_args(PaddingMode)), "value": a_number}))


def _pad_to(value: Any, where: str) -> PadTo:
    return PadTo(**read_block(value, where, {"size": a_size, "multiple_of": a_size, "value": a_number}))


def _window(value: Any, where: str) -> WindowSpec:
    values = read_block(
        value,
        where,
        {
            "patch_size": optional(a_size),
            "patch_stride": optional(a_size),
            "step": a_share,
            "placement": one_of(*get_args(Placement)),
            "blend": one_of(*get_args(Blend)),
            "gaussian": _gaussian,
            "multiple_of": a_size,
            "mirror_axes": some_axes,
            "mirror": a_switch,
        },
    )
    if values.get("mirror") and not values.get("mirror_axes"):
        raise Invalid(f"{where}.mirror needs {where}.mirror_axes: the axes to mirror")
    return WindowSpec(**values)


def _gaussian(value: Any, where: str) -> Gaussian:
    values = read_block(value, where, {"center": one_of("middle", "voxel"), "floor": a_number})
    if not 0 <= values.get("floor", 0) < 1:
        raise Invalid(f"{where}.floor must lie between 0 and 1; 1 is the largest weight")
    return Gaussian(**values)


def _output(value: Any, where: str) -> OutputSpec:
    keys: dict[str, Converter] = {
        "values": one_of("logits", "probabilities"),
        "decision": one_of(*get_args(Decision)),
        "threshold": _thresholds,
        "resample": one_of("logits", "probabilities", "labels"),
        "labels": optional(anything),
        "postprocessing": rules,
    }
    values = read_block(value, where, keys)
    if isinstance(values.get("threshold"), tuple):
        values["label_thresholds"] = values.pop("threshold")
    if values.get("labels") is not None:
        overlap = values.get("decision", "argmax") == "threshold"
        values["labels"], background = read_labels(values["labels"], f"{where}.labels", overlap)
        values["background"] = background or None
    return OutputSpec(**values)


def _thresholds(value: Any, where: str) -> float | tuple[tuple[str, float], ...]:
    """One number, or an object from names of labels to numbers, as pairs in the order of the names."""
    if isinstance(value, Mapping):
        if not value:
            raise Invalid(f"{where} names no label; give a number, or an object such as {{'liver': 0.4}}")
        return tuple(sorted((str(name), _threshold(item, f"{where}.{name}")) for name, item in value.items()))
    return _threshold(value, where)


def _threshold(value: Any, where: str) -> float:
    number = a_number(value, where)
    if not 0 < number < 1:
        raise Invalid(f"{where} must lie between 0 and 1")
    return number


def intensity_steps(value: Any, where: str, channel_names: Sequence[str]) -> tuple[IntensityStep, ...]:
    """The steps of `input.intensity`."""
    return tuple(
        _step(item, f"{where}[{index}]", channel_names) for index, item in enumerate(a_list(value, where))
    )


def _step(value: Any, where: str, channel_names: Sequence[str]) -> IntensityStep:
    if not isinstance(value, Mapping) or "op" not in value:
        raise Invalid(f"{where} must be an object with an 'op', one of {', '.join(OPS)}")
    op = one_of(*OPS)(value["op"], f"{where}.op")
    kind = OPS[op]
    converters: dict[str, Converter] = {
        "level": a_number,
        "width": a_positive,
        "lower": a_number,
        "upper": a_number,
        "mask": one_of("all", "nonzero", "above_mean", "crop"),
        "outside": one_of("scale", "keep"),
        "across_channels": a_switch,
        "mean": some_numbers,
        "std": some_numbers,
        "channels": lambda item, here: _channels(item, here, channel_names),
    }
    fields = {name: converters[name] for name in get_type_hints(kind)}
    rest = {key: item for key, item in value.items() if key != "op"}
    values = read_block(rest, where, fields)
    missing = [name for name in fields if name not in values and name not in OPTIONAL]
    if missing:
        raise Invalid(f"{where}: {op} needs {' and '.join(missing)}")
    if "lower" in values and values["lower"] > values["upper"]:
        raise Invalid(f"{where}: lower is above upper")
    step = kind(**values)
    if op == "clip_percentile" and not 0 <= values["lower"] <= values["upper"] <= 100:
        raise Invalid(f"{where}: percentiles lie between 0 and 100")
    if isinstance(step, Standardize):
        count = len(step.channels) if step.channels is not None else len(channel_names)
        if any(len(numbers) not in (1, count) for numbers in (step.mean, step.std)):
            raise Invalid(f"{where}: mean and std need one number, or one for each of {count} channels")
        if any(number <= 0 for number in step.std):
            raise Invalid(f"{where}.std must be above 0")
    return step


def _channels(value: Any, where: str, names: Sequence[str]) -> tuple[int, ...]:
    indices = []
    for item in a_list(value, where):
        if isinstance(item, str) and item in names:
            indices.append(list(names).index(item))
        elif isinstance(item, int) and not isinstance(item, bool) and 0 <= item < len(names):
            indices.append(item)
        else:
            raise Invalid(f"{where}: no input channel {item!r}; there are {', '.join(map(repr, names))}")
    return tuple(indices)
