"""Translate plans and dataset.json to a model spec."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from itk_infer.errors import ModelError
from itk_infer.model.kinds.nnunet.json_block import JsonBlock
from itk_infer.model.kinds.nnunet.labels import Labels
from itk_infer.model.kinds.nnunet.plans import Configuration, Normalization

# Orientation that each reader brings images to; None: as stored.
READERS: dict[str, str | None] = {
    "SimpleITKIO": None,
    "NibabelIO": None,
    "Tiff3DIO": None,
    "NaturalImage2DIO": None,
    "SimpleITKIOWithReorient": "RAS",
    "NibabelIOWithReorient": "RAS",
}
_SMALLEST_STD = 1e-8  # nnU-Net's lower bound of the divisor
Step = dict[str, Any]


def spec_document(
    configuration: Configuration,
    dataset: Mapping[str, Any],
    labels: Labels,
    mirror_axes: Sequence[int],
    *,
    trainer: str = "",
    source: str = "dataset.json",
) -> tuple[dict[str, Any], list[str]]:
    """Make the model spec, a version-1 document.

    For a cascade's second stage, it lists the image channels only.

    Args:
        configuration: The configuration.
        dataset: The content of dataset.json.
        labels: The labels that were read from it.
        mirror_axes: Mirror axes of the checkpoint, numbered as the network's spatial axes.
        trainer: Name of the trainer's class.
        source: Name of dataset.json in messages.

    Returns:
        The document, and notes for the user.

    Raises:
        ModelError: the channels of dataset.json do not fit the plans, or the mirror axes do not fit the network.
    """
    notes = list(labels.notes)
    block = JsonBlock(dataset, source)
    document = {
        "spec": 1,
        "name": " ".join(
            part for part in (configuration.dataset_name or block.text("name", ""), configuration.name) if part
        ),
        "description": _description(trainer, configuration),
        "input": _input(configuration, channel_names(dataset, source), source, notes),
        "window": _window(configuration, mirror_axes),
        "output": _output(labels),
    }
    licence = dataset.get("licence") or dataset.get("license")
    if isinstance(licence, str):
        document["licence"] = licence
    return document, notes


def channel_names(dataset: Mapping[str, Any], source: str) -> tuple[str, ...]:
    """Read unique names of the input channels, in order.

    Raises:
        ModelError: dataset.json has no channels.
    """
    block = JsonBlock(dataset, source)
    key = "modality" if block.has("modality") else "channel_names"  # nnU-Net prefers the older key, too
    content = block.block(key).content
    if not content or not all(str(number).isdecimal() for number in content):
        raise block.wrong(key, "an object such as {'0': 'CT'}")
    names: list[str] = []
    for number in sorted(content, key=int):
        name = str(content[number]).strip()
        names.append(f"{name} {number}" if name and name in names else name)
    return tuple(names)


def _description(trainer: str, configuration: Configuration) -> str:
    trained = f", trained by {trainer}" if trainer else ""
    return f"nnU-Net v2{trained}{f' with {configuration.plans_name}' if configuration.plans_name else ''}"


def _input(configuration: Configuration, names: Sequence[str], source: str, notes: list[str]) -> dict[str, Any]:
    if len(names) != len(configuration.normalization):
        raise ModelError(
            f"{source}: names {len(names)} channels ({', '.join(names)}), and the plans normalise "
            f"{len(configuration.normalization)}; is this file of another model?"
        )
    reader = configuration.reader
    if reader not in READERS:
        notes.append(
            f"images are read by {reader}, which is not nnU-Net's own; they are taken as they are stored. If it "
            "turns them, say so in a model spec (`spec`, input.orientation)"
        )
    flat, method = configuration.dimensions == 2, configuration.resampling
    content: dict[str, Any] = {
        "channels": list(names),
        "orientation": READERS.get(reader),
        "spacing": [*([None] if flat else []), *configuration.spacing],
        "numbered_files": True,
        **({"dimensions": 2} if reader == "NaturalImage2DIO" else {}),
        "crop": {"to": "nonzero"},
        "resampling": {
            "interpolation": method.interpolation,
            "alignment": "edge",
            "order": "after_intensity",
            "size": "ratio",
            "clip": method.clip,
            "anisotropic": None
            if method.threshold is None
            else {"threshold": method.threshold, "axis_interpolation": method.axis_interpolation},
        },
        "intensity": _intensity(configuration.normalization),
        "padding": {"mode": "constant", "value": 0},
    }
    axes = "".join("zyx"[axis] for axis in configuration.transpose_forward)
    if axes != "zyx":
        content["axes"] = axes
    return content


def _intensity(channels: Sequence[Normalization]) -> list[Step]:
    """Intensity steps of all channels, restricted to single channels unless all have the same steps."""
    steps = [_steps(channel) for channel in channels]
    if all(some == steps[0] for some in steps):
        return steps[0]
    return [{**step, "channels": [index]} for index, some in enumerate(steps) for step in some]


def _steps(channel: Normalization) -> list[Step]:
    if channel.scheme == "ZScoreNormalization":
        return [{"op": "zscore", **({"mask": "crop", "outside": "keep"} if channel.masked else {"mask": "all"})}]
    if channel.scheme == "RescaleTo01Normalization":
        return [{"op": "minmax"}]
    if channel.scheme == "RGBTo01Normalization":
        return [{"op": "standardize", "mean": [0.0], "std": [255.0]}]
    if channel.foreground is None:
        return []
    found = channel.foreground
    return [
        {"op": "clip", "lower": found.lower, "upper": found.upper},
        {"op": "standardize", "mean": [found.mean], "std": [max(found.std, _SMALLEST_STD)]},
    ]


def _window(configuration: Configuration, mirror_axes: Sequence[int]) -> dict[str, Any]:
    flat = configuration.dimensions == 2
    if any(axis >= configuration.dimensions for axis in mirror_axes):
        raise ModelError(
            f"the checkpoint allows mirroring along the axes {', '.join(map(str, mirror_axes))}, and the "
            f"network has {configuration.dimensions}; is it of another configuration than {configuration.name}?"
        )
    content: dict[str, Any] = {
        "patch_size": [*([1] if flat else []), *configuration.patch_size],
        "step": 0.5,
        "placement": "even",
        "blend": "gaussian",
        "gaussian": {"center": "voxel"},
        "mirror_axes": [axis + (1 if flat else 0) for axis in mirror_axes],
    }
    if mirror_axes:
        content["mirror"] = True
    return content


def _output(labels: Labels) -> dict[str, Any]:
    content: dict[str, Any] = {"values": "logits"}
    if labels.regions:
        content |= {"decision": "threshold", "threshold": 0.5}
        content["labels"] = [
            {"value": label.value, "name": label.name, "channel": label.channel} for label in labels.painted
        ]
    else:
        content["decision"] = "argmax"
        content["labels"] = [{"value": label.value, "name": label.name} for label in labels.painted]
    return content
