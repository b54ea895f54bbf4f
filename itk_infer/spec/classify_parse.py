"""Parses mappings with ``task: "classify"`` into a `ClassifySpec`; errors name file, key and remedy."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import Any, get_args

from itk_infer.errors import SpecError
from itk_infer.spec.classify_spec import (
    Activation,
    Aspect,
    ClassifySpec,
    ClassLabel,
    ClassOutput,
    MissingVoi,
    PictureChannel,
    PictureInput,
    PictureInterpolation,
    PictureResize,
    Plane,
    Repair,
    SelectRule,
    Values,
)
from itk_infer.spec.dicom_keywords import KEYWORDS
from itk_infer.spec.intensity import OPS, IntensityStep, ZScore
from itk_infer.spec.parse import intensity_steps
from itk_infer.spec.values import (
    Invalid,
    a_list,
    a_number,
    a_positive,
    a_switch,
    a_text,
    an_integer,
    anything,
    one_of,
    optional,
    read_block,
    repr_short,
    the_version,
)

TASKS = ("classify", "classification")
STUDY_RULE = re.compile(r"max|mean|noisy_or|top([1-9][0-9]{0,3})_mean")
PLANES = get_args(Plane)


def is_classification(document: Any) -> bool:
    """Whether a document is the spec of a model that classifies."""
    return isinstance(document, Mapping) and document.get("task") in TASKS


def parse_classify_spec(document: Any, source: str) -> ClassifySpec:
    """Build a `ClassifySpec`; unknown keys, wrong types and contradictions are errors.

    Args:
        document: A mapping as described in ``docs/classify.md``.
        source: Name of the document in messages.

    Raises:
        SpecError: naming `source`, the key, and the nearest valid key or value.
    """
    try:
        return _spec(document)
    except Invalid as error:
        raise SpecError(f"{source}: {error}") from None


def _spec(document: Any) -> ClassifySpec:
    values = read_block(
        document,
        "",
        {
            "spec": the_version,
            "task": one_of(*TASKS),
            "name": a_text,
            "version": a_text,
            "licence": a_text,
            "description": a_text,
            "input": _input,
            "output": _output,
            "select": _select,
        },
    )
    for key in ("spec", "task"):
        values.pop(key, None)
    if "output" not in values:
        raise Invalid("a model that classifies needs output, with its activation and labels")
    return ClassifySpec(**values)


def _input(value: Any, where: str) -> PictureInput:
    values = read_block(
        value,
        where,
        {
            "dimensions": _two,
            "channels": _channels,
            "size": optional(_sides),
            "values": one_of(*get_args(Values)),
            "view": _from_zero,
            "missing_voi": one_of(*get_args(MissingVoi)),
            "resize": _resize,
            "center_crop": optional(_sides),
            "intensity": anything,
            "repair": one_of(*get_args(Repair)),
        },
    )
    values.pop("dimensions", None)
    found = PictureInput(**{key: item for key, item in values.items() if key != "intensity"})
    if found.repair != "none" and found.values == "stored":
        raise Invalid(f"{where}.repair is for values of the modality, and {where}.values is stored")
    names = [f"channel {number}" for number in range(len(found.channels))]
    steps = intensity_steps(values.get("intensity", []), f"{where}.intensity", names)
    if any(isinstance(step, ZScore) and step.mask == "crop" for step in steps):
        raise Invalid(
            f"{where}.intensity: zscore has no mask 'crop' for pictures; give all, nonzero or above_mean"
        )
    if any(channel.window for channel in found.channels) and found.values == "voi":
        found = dataclasses.replace(found, values="modality")
    if found.size is None and found.resize.aspect != "stretch":
        raise Invalid(f"{where}.resize.aspect is {found.resize.aspect}, which needs {where}.size")
    if found.center_crop and found.size and any(c > s for c, s in zip(found.center_crop, found.size, strict=True)):
        raise Invalid(f"{where}.center_crop is larger than {where}.size")
    return dataclasses.replace(found, intensity=steps)


def _two(value: Any, where: str) -> int:
    if value != 2 or isinstance(value, bool):
        raise Invalid(f"{where} is {repr_short(value)}; pictures have 2")
    return 2


def _sides(value: Any, where: str) -> tuple[int, int]:
    sides = tuple(an_integer(item, where) for item in a_list(value, where))
    if len(sides) != 2 or not all(1 <= side <= 16384 for side in sides):
        raise Invalid(f"{where} must be rows and columns, from 1 to 16384, not {repr_short(value)}")
    return sides[0], sides[1]


def _from_zero(value: Any, where: str) -> int:
    number = an_integer(value, where)
    if number < 0:
        raise Invalid(f"{where} is counted from 0, not {number}")
    return number


def _channels(value: Any, where: str) -> tuple[PictureChannel, ...]:
    items = tuple(_channel(item, f"{where}[{index}]") for index, item in enumerate(a_list(value, where)))
    if not items:
        raise Invalid(f"{where} must name at least one input channel")
    return items


def _channel(value: Any, where: str) -> PictureChannel:
    if isinstance(value, str):
        return PictureChannel(one_of(*PLANES)(value, where))
    given = read_block(value, where, {"plane": one_of(*PLANES), "slice": an_integer, "window": _window})
    channel = PictureChannel(**given)
    if abs(channel.slice) > 64:
        raise Invalid(f"{where}.slice is {channel.slice}; at most 64 pictures before or after can be input")
    return channel


def _window(value: Any, where: str) -> tuple[float, float]:
    numbers = a_list(value, where)
    if len(numbers) != 2:
        raise Invalid(f"{where} must be level and width, not {repr_short(value)}")
    return a_number(numbers[0], where), a_positive(numbers[1], where)


def _resize(value: Any, where: str) -> PictureResize:
    return PictureResize(
        **read_block(
            value,
            where,
            {
                "aspect": one_of(*get_args(Aspect)),
                "interpolation": one_of(*get_args(PictureInterpolation)),
                "antialias": a_switch,
            },
        )
    )


def _output(value: Any, where: str) -> ClassOutput:
    values = read_block(
        value,
        where,
        {
            "values": one_of("logits", "probabilities"),
            "activation": one_of(*get_args(Activation)),
            "labels": _labels,
            "study": _study,
            "mirrored": a_switch,
        },
    )
    what = values.pop("values", None)
    activation = values.get("activation")
    if what == "probabilities" and activation in ("sigmoid", "softmax"):
        raise Invalid(f"{where}: values are probabilities already, so activation must be none, not {activation}")
    if activation is None and what == "probabilities":
        values["activation"] = "none"
    elif activation is None:
        raise Invalid(
            f"{where}.activation is missing: sigmoid (labels on their own), softmax (exactly one of them) or none "
            "(the outputs are probabilities); it cannot be told from the network"
        )
    if "labels" not in values:
        raise Invalid(f"{where}.labels is missing: name what each output of the network stands for")
    return ClassOutput(**values)


def _study(value: Any, where: str) -> str:
    if not isinstance(value, str) or not STUDY_RULE.fullmatch(value):
        raise Invalid(f"{where} must be max, mean, noisy_or or top3_mean (any number), not {repr_short(value)}")
    return value


def _labels(value: Any, where: str) -> tuple[ClassLabel, ...]:
    labels = []
    for index, item in enumerate(a_list(value, where)):
        here = f"{where}[{index}]"
        given = {"name": item} if isinstance(item, str) else item
        entry = read_block(
            given, here, {"name": a_text, "channel": _from_zero, "threshold": _probability, "parent": a_text}
        )
        if not entry.get("name", "").strip():
            raise Invalid(f"{here} needs a name")
        labels.append(ClassLabel(**{"channel": index, **entry, "name": entry["name"].strip()}))
    names = [label.name for label in labels]
    for what, texts in (("name", names), ("channel", [str(label.channel) for label in labels])):
        twice = [item for item in texts if texts.count(item) > 1]
        if twice:
            raise Invalid(f"{where}: {what} {twice[0]} is given to more than one label; each needs its own")
    if not labels:
        raise Invalid(f"{where} must name at least one label")
    for label in labels:
        if label.parent and (label.parent not in names or label.parent == label.name):
            raise Invalid(f"{where}: {label.name} has the parent {label.parent!r}, which is not another label")
    return tuple(labels)


def _probability(value: Any, where: str) -> float:
    number = a_number(value, where)
    if not 0 <= number <= 1:
        raise Invalid(f"{where} must be a probability from 0 to 1, not {repr_short(value)}")
    return number


def _select(value: Any, where: str) -> tuple[SelectRule, ...]:
    rules = []
    for index, item in enumerate(a_list(value, where)):
        here = f"{where}[{index}]"
        entry = read_block(item, here, {"keyword": one_of(*KEYWORDS), "in": _texts, "not_in": _texts})
        if "keyword" not in entry or ("in" in entry) == ("not_in" in entry):
            raise Invalid(f"{here} needs a keyword, and either 'in' or 'not_in'")
        rules.append(SelectRule(entry["keyword"], entry.get("in") or entry["not_in"], "not_in" in entry))
    return tuple(rules)


def _texts(value: Any, where: str) -> tuple[str, ...]:
    texts = tuple(a_text(item, where) for item in a_list(value, where))
    if not texts:
        raise Invalid(f"{where} must hold at least one value")
    return texts


def document_of(spec: ClassifySpec) -> dict[str, Any]:
    """See `ClassifySpec.to_dict`."""
    seen, means = spec.input, spec.output
    channels: list[Any] = []
    for channel in seen.channels:
        block: dict[str, Any] = {}
        if channel.plane != "grey":
            block["plane"] = channel.plane
        if channel.slice:
            block["slice"] = channel.slice
        if channel.window:
            block["window"] = list(channel.window)
        channels.append(block or "grey" if list(block) != ["plane"] else channel.plane)
    labels = [
        {"name": label.name, "channel": label.channel, "threshold": label.threshold}
        | ({"parent": label.parent} if label.parent else {})
        for label in means.labels
    ]
    return {
        "spec": 1,
        "task": "classify",
        "name": spec.name,
        "version": spec.version,
        "licence": spec.licence,
        "description": spec.description,
        "input": {
            "dimensions": 2,
            "values": seen.values,
            "view": seen.view,
            "missing_voi": seen.missing_voi,
            "channels": channels,
            "size": None if seen.size is None else list(seen.size),
            "resize": dataclasses.asdict(seen.resize),
            "center_crop": None if seen.center_crop is None else list(seen.center_crop),
            "intensity": [_step(step) for step in seen.intensity],
            # It is in the identity of results, which stays as it was where it is not asked for.
            **({} if seen.repair == "none" else {"repair": seen.repair}),
        },
        "output": {
            "activation": means.activation,
            "labels": labels,
            "study": means.study,
            **({"mirrored": True} if means.mirrored else {}),
        },
        "select": [
            {"keyword": rule.keyword, "not_in" if rule.exclude else "in": list(rule.values)}
            for rule in spec.select
        ],
    }


def _step(step: IntensityStep) -> dict[str, Any]:
    op = next(name for name, kind in OPS.items() if kind is type(step))
    values = {field.name: getattr(step, field.name) for field in dataclasses.fields(step)}
    plain = {key: list(item) if isinstance(item, tuple) else item for key, item in values.items()}
    return {"op": op, **{key: item for key, item in plain.items() if item is not None}}
