"""Translate a bundle's config to a model spec: preprocessing, windows, output and labels."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from itk_infer.errors import ModelError
from itk_infer.model.kinds.monai_bundle.graph import Component, ConfigGraph
from itk_infer.model.kinds.monai_bundle.inferer import Inferer, read_inferer
from itk_infer.model.kinds.monai_bundle.input_block import Preprocessing, in_order
from itk_infer.model.kinds.monai_bundle.labels import channel_names, input_names, multiples
from itk_infer.model.kinds.monai_bundle.postprocessing import Postprocessing, read_postprocessing
from itk_infer.model.kinds.monai_bundle.preprocessing import read_preprocessing
from itk_infer.model.kinds.monai_bundle.translation import Line
from itk_infer.model.kinds.monai_bundle.values import components


@dataclass(frozen=True, slots=True)
class Parts:
    """The model spec of a config, how each part was translated, notes, and windows per call."""

    document: dict[str, Any]
    lines: tuple[Line, ...]
    notes: tuple[str, ...]
    batch: int | None


def translate(
    graph: ConfigGraph, metadata: Mapping[str, Any], inputs: int, outputs: int, dimensions: int, source: str
) -> Parts:
    """The model spec of a config.

    Args:
        graph: The config.
        metadata: The content of metadata.json.
        inputs: Input channels of the network.
        outputs: Output channels of the network.
        dimensions: Dimensions of the network, 2 or 3.
        source: Name of the config in messages.

    Raises:
        ModelError: something is not understood.
    """
    if "preprocessing" not in graph:
        raise ModelError(f"{source}: has no preprocessing, and so does not say what the network is to see")
    chain = components(graph.get("preprocessing"), "preprocessing", source)
    before = read_preprocessing(chain, inputs, monai_version(metadata))
    inferer = graph.get("inferer")
    if inferer is not None and not isinstance(inferer, Component):
        raise ModelError(f"{source}, inferer: {inferer!r:.60} is no inferer of MONAI")
    windows = read_inferer(inferer, dimensions)
    after = read_postprocessing(
        components(graph.get("postprocessing", []), "postprocessing", source), source, before.resampled
    )
    if before.size is not None and after.document(True)["resample"] == "labels":
        after.notes.append(
            f"{source}: labels return from the nearest voxel; after Resized, MONAI takes the one before it"
        )
    names = channel_names(metadata, graph.get("labels"), outputs)
    return Parts(
        _document(before, windows, after, metadata, names),
        (*before.lines, *windows.lines, *after.lines),
        (*before.notes, *windows.notes, *after.notes),
        windows.batch,
    )


def monai_version(metadata: Mapping[str, Any]) -> tuple[int, int]:
    """The version of MONAI in metadata.json, major and minor; (1, 5) where it is not stated."""
    match = re.match(r"(\d+)\.(\d+)", str(metadata.get("monai_version", "")))
    return (int(match[1]), int(match[2])) if match else (1, 5)


def _document(
    before: Preprocessing, windows: Inferer, after: Postprocessing, metadata: Mapping[str, Any], names: list[str]
) -> dict[str, Any]:
    content = before.document(windows.axes)
    content["channels"] = input_names(metadata, before.channels)
    if windows.padding:
        content["padding"] = windows.padding
    window = dict(windows.window)
    pad_to: dict[str, Any] = {}
    if before.least != [1, 1, 1]:
        pad_to["size"] = in_order(before.least, windows.axes)
    by_transform = before.multiple_of != [1, 1, 1]
    if "patch_size" not in window:
        multiple = before.multiple_of if by_transform else multiples(metadata)
        window["multiple_of"] = in_order(multiple, windows.axes)
        if windows.axes != "xyz":
            window["multiple_of"][0] = 1
    elif by_transform:
        pad_to["multiple_of"] = in_order(before.multiple_of, windows.axes)
    if pad_to:
        content["pad_to"] = pad_to
    output = after.document(before.resampled)
    output["labels"] = _labels(after, names)
    return {
        "spec": 1,
        **{key: _text(metadata, key) for key in ("name", "version", "description")},
        "licence": _text(metadata, "license") or _text(metadata, "copyright"),
        "input": content,
        "window": window,
        "output": output,
    }


def _labels(after: Postprocessing, names: list[str]) -> list[dict[str, Any]]:
    """The label table; where labels overlap, later ones overwrite earlier ones."""
    if after.merged is not None:
        pairs = [(value, channel) for channel, value in after.merged]
    elif after.decision == "argmax":
        pairs = [(channel, channel) for channel in range(1, len(names))]
    else:
        pairs = [(channel + 1, channel) for channel in range(len(names))]
    return [
        {"value": value, "channel": channel}
        | ({"name": names[channel]} if channel < len(names) and names[channel] else {})
        for value, channel in pairs
    ]


def _text(metadata: Mapping[str, Any], key: str) -> str:
    value = metadata.get(key, "")
    return value if isinstance(value, str) else ""
