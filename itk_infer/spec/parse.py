"""From JSON-like mappings to a `ModelSpec`, with an error that names the file, the key and the remedy."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, get_args, get_type_hints

from itk_infer.errors import SpecError
from itk_infer.spec.intensity import OPS, IntensityStep, Standardize
from itk_infer.spec.labels import Label, default_color
from itk_infer.spec.model_spec import (
    Alignment,
    Blend,
    Decision,
    InputSpec,
    Interpolation,
    ModelSpec,
    OutputSpec,
    Padding,
    PaddingMode,
    Resampling,
    WindowSpec,
)

Converter = Callable[[Any, str], Any]
BLOCKS = ("input", "window", "output")


def merge(*documents: Mapping[str, Any]) -> dict[str, Any]:
    """Later documents win: the three blocks key by key, lists and plain values whole."""
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
        document: A mapping of the form of ``docs/model-spec.md``.
        source: Where it came from, for the message.

    Raises:
        SpecError: naming `source`, the key, and the nearest valid key or value.
    """
    try:
        return _model_spec(document)
    except _Invalid as error:
        raise SpecError(f"{source}: {error}") from None


class _Invalid(Exception):
    """A finding on its way to `parse_spec`, which knows the source."""


def _model_spec(document: Any) -> ModelSpec:
    values = _block(
        document,
        "",
        {
            "spec": _version,
            "name": _text,
            "version": _text,
            "licence": _text,
            "description": _text,
            "input": _input,
            "window": _window,
            "output": _output,
        },
    )
    values.pop("spec", None)
    return ModelSpec(**values)


def _input(value: Any, where: str) -> InputSpec:
    values = _block(
        value,
        where,
        {
            "channels": _names,
            "orientation": _optional(_orientation),
            "spacing": _optional(_spacing),
            "size": _optional(_sizes),
            "resampling": _resampling,
            "intensity": _as_is,
            "padding": _padding,
        },
    )
    if values.get("spacing") is not None and values.get("size") is not None:
        raise _Invalid(f"{where}.size and {where}.spacing exclude each other; set one of them to null")
    channels = values.get("channels", InputSpec().channels)
    values["intensity"] = _steps(values.get("intensity", []), f"{where}.intensity", channels)
    return InputSpec(**values)


def _resampling(value: Any, where: str) -> Resampling:
    keys = {
        "interpolation": _choice(*get_args(Interpolation)),
        "alignment": _choice(*get_args(Alignment)),
        "order": _choice("before_intensity", "after_intensity"),
    }
    return Resampling(**_block(value, where, keys))


def _padding(value: Any, where: str) -> Padding:
    return Padding(**_block(value, where, {"mode": _choice(*get_args(PaddingMode)), "value": _number}))


def _window(value: Any, where: str) -> WindowSpec:
    values = _block(
        value,
        where,
        {
            "patch_size": _optional(_sizes),
            "patch_stride": _optional(_sizes),
            "blend": _choice(*get_args(Blend)),
            "multiple_of": _sizes,
            "mirror_axes": _axes,
        },
    )
    return WindowSpec(**values)


def _output(value: Any, where: str) -> OutputSpec:
    keys: dict[str, Converter] = {
        "values": _choice("logits", "probabilities"),
        "decision": _choice(*get_args(Decision)),
        "threshold": _number,
        "labels": _optional(_as_is),
    }
    values = _block(value, where, keys)
    if not 0 < values.get("threshold", 0.5) < 1:
        raise _Invalid(f"{where}.threshold must lie between 0 and 1")
    if values.get("labels") is not None:
        first = 1 if values.get("decision", "argmax") == "threshold" else 0
        values["labels"] = _labels(values["labels"], f"{where}.labels", first)
    return OutputSpec(**values)


def _labels(value: Any, where: str, value_of_channel_0: int) -> tuple[Label, ...]:
    labels = []
    for index, item in enumerate(_list(value, where)):
        here = f"{where}[{index}]"
        entry = _block(item, here, {"value": _integer, "name": _text, "color": _color, "channel": _integer})
        if "value" not in entry:
            raise _Invalid(f"{here} needs a value")
        number = entry["value"]
        if not 0 <= number <= 65535:
            raise _Invalid(f"{here}.value is {number}; label values lie between 1 and 65535")
        if number == 0:
            continue  # the background: never drawn, counted or coloured
        channel = entry.get("channel", number - value_of_channel_0)
        if channel < 0:
            raise _Invalid(f"{here}.channel is {channel}; channels are counted from 0")
        name = entry.get("name", f"label {number}")
        labels.append(Label(number, name, entry.get("color", default_color(number)), channel))
    for what in ("value", "channel"):
        seen = [getattr(label, what) for label in labels]
        twice = sorted({number for number in seen if seen.count(number) > 1})
        if twice:
            raise _Invalid(f"{where}: {what} {twice[0]} is given to more than one label")
    return tuple(labels)


def _steps(value: Any, where: str, channel_names: Sequence[str]) -> tuple[IntensityStep, ...]:
    return tuple(_step(item, f"{where}[{index}]", channel_names) for index, item in enumerate(_list(value, where)))


def _step(value: Any, where: str, channel_names: Sequence[str]) -> IntensityStep:
    if not isinstance(value, Mapping) or "op" not in value:
        raise _Invalid(f"{where} must be an object with an 'op', one of {', '.join(OPS)}")
    op = _choice(*OPS)(value["op"], f"{where}.op")
    kind = OPS[op]
    converters: dict[str, Converter] = {
        "level": _number,
        "width": _positive,
        "lower": _number,
        "upper": _number,
        "mask": _choice("all", "nonzero", "above_mean"),
        "mean": _numbers,
        "std": _numbers,
        "channels": lambda item, here: _channels(item, here, channel_names),
    }
    fields = {name: converters[name] for name in get_type_hints(kind)}
    rest = {key: item for key, item in value.items() if key != "op"}
    values = _block(rest, where, fields)
    missing = [name for name in fields if name not in values and name not in ("channels", "mask")]
    if missing:
        raise _Invalid(f"{where}: {op} needs {' and '.join(missing)}")
    if "lower" in values and values["lower"] > values["upper"]:
        raise _Invalid(f"{where}: lower is above upper")
    step = kind(**values)
    if op == "clip_percentile" and not 0 <= values["lower"] <= values["upper"] <= 100:
        raise _Invalid(f"{where}: percentiles lie between 0 and 100")
    if isinstance(step, Standardize):
        count = len(step.channels) if step.channels is not None else len(channel_names)
        if any(len(numbers) not in (1, count) for numbers in (step.mean, step.std)):
            raise _Invalid(f"{where}: mean and std need one number, or one for each of {count} channels")
        if any(number <= 0 for number in step.std):
            raise _Invalid(f"{where}.std must be above 0")
    return step


def _channels(value: Any, where: str, names: Sequence[str]) -> tuple[int, ...]:
    indices = []
    for item in _list(value, where):
        if isinstance(item, str) and item in names:
            indices.append(list(names).index(item))
        elif isinstance(item, int) and not isinstance(item, bool) and 0 <= item < len(names):
            indices.append(item)
        else:
            raise _Invalid(f"{where}: no input channel {item!r}; there are {', '.join(map(repr, names))}")
    return tuple(indices)


# --- values -----------------------------------------------------------------------------------


def _block(value: Any, where: str, keys: Mapping[str, Converter]) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise _Invalid(f"{where or 'the spec'} must be an object, not {_shown(value)}")
    found = {}
    for key, item in value.items():
        path = f"{where}.{key}" if where else str(key)
        if key not in keys:
            close = difflib.get_close_matches(str(key), keys, n=1, cutoff=0)
            raise _Invalid(f"unknown key {path}; did you mean {close[0]}?" if close else f"unknown key {path}")
        found[key] = keys[key](item, path)
    return found


def _version(value: Any, where: str) -> int:
    if value != 1 or isinstance(value, bool):
        raise _Invalid(f"{where} is {_shown(value)}; this program reads version 1")
    return 1


def _text(value: Any, where: str) -> str:
    if not isinstance(value, str):
        raise _Invalid(f"{where} must be text, not {_shown(value)}")
    return value


def _number(value: Any, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise _Invalid(f"{where} must be a number, not {_shown(value)}")
    return float(value)


def _positive(value: Any, where: str) -> float:
    number = _number(value, where)
    if number <= 0:
        raise _Invalid(f"{where} must be above 0, not {_shown(value)}")
    return number


def _integer(value: Any, where: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise _Invalid(f"{where} must be a whole number, not {_shown(value)}")
    return value


def _as_is(value: Any, where: str) -> Any:
    return value


def _list(value: Any, where: str) -> Sequence[Any]:
    if not isinstance(value, list | tuple):
        raise _Invalid(f"{where} must be a list, not {_shown(value)}")
    return value


def _triplet(value: Any, where: str) -> Sequence[Any]:
    items = _list(value, where)
    if len(items) != 3:
        raise _Invalid(f"{where} must hold three values (Z, Y, X), not {len(items)}")
    return items


def _sizes(value: Any, where: str) -> tuple[int, ...]:
    items = tuple(_integer(item, where) for item in _triplet(value, where))
    if min(items) < 1:
        raise _Invalid(f"{where} must be 1 or more on every axis, not {list(items)}")
    return items


def _spacing(value: Any, where: str) -> tuple[float | None, ...] | None:
    items = tuple(None if item is None else _positive(item, where) for item in _triplet(value, where))
    return None if items == (None, None, None) else items


def _axes(value: Any, where: str) -> tuple[int, ...]:
    axes = tuple(_integer(item, where) for item in _list(value, where))
    if any(axis not in (0, 1, 2) for axis in axes) or len(set(axes)) != len(axes):
        raise _Invalid(f"{where} holds axes 0 (Z), 1 (Y), 2 (X), each at most once, not {list(axes)}")
    return axes


def _names(value: Any, where: str) -> tuple[str, ...]:
    names = tuple(_text(item, where) for item in _list(value, where))
    if not names:
        raise _Invalid(f"{where} must name at least one input channel")
    return names


def _numbers(value: Any, where: str) -> tuple[float, ...]:
    if isinstance(value, list | tuple) and value:
        return tuple(_number(item, where) for item in value)
    return (_number(value, where),)


def _color(value: Any, where: str) -> str:
    if not isinstance(value, str) or not re.fullmatch("#[0-9a-fA-F]{6}", value):
        raise _Invalid(f"{where} must look like '#e6194b', not {_shown(value)}")
    return value.lower()


def orientation_code(value: str) -> bool:
    """Whether `value` is a code such as LPI: one letter for each of the three body axes."""
    return len(value) == 3 and all(set(pair) & set(value) for pair in ("LR", "AP", "SI"))


def _orientation(value: Any, where: str) -> str:
    if not isinstance(value, str) or not orientation_code(value.upper()):
        raise _Invalid(f"{where} must be a code such as LPI, RAS or LPS, or null; not {_shown(value)}")
    return value.upper()


def _choice(*valid: str) -> Converter:
    def convert(value: Any, where: str) -> str:
        if value not in valid:
            raise _Invalid(f"{where} must be {' or '.join(valid)}, not {_shown(value)}")
        return str(value)

    return convert


def _optional(converter: Converter) -> Converter:
    return lambda value, where: None if value is None else converter(value, where)


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
