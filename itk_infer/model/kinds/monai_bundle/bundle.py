"""Read a bundle, all but the network itself. Needs neither torch nor MONAI."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from itk_infer.errors import ModelError
from itk_infer.model.kinds.monai_bundle.config_file import read_config
from itk_infer.model.kinds.monai_bundle.config_spec import translate
from itk_infer.model.kinds.monai_bundle.graph import Component, ConfigGraph
from itk_infer.model.kinds.monai_bundle.location import METADATA, inside, locate_bundle
from itk_infer.model.kinds.monai_bundle.network_def import NetworkDef, read_network
from itk_infer.model.kinds.monai_bundle.translation import Line

# Exported networks; the first one that exists is run if MONAI cannot build the network.
PROGRAMS = ("models/model.onnx", "models/model.ts")
_TO_DEVICE = re.compile(r"\$\s*@(\w+)\.to\(.*\)")
# Keys of the weights in a checkpoint, tried after the key that the bundle's loader names.
_KEYS = ("model", "net", "state_dict", "network", "model_state_dict")


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle of a segmentation network.

    Attributes:
        root: The bundle's folder.
        source: Name of the config in messages.
        network: The network; None: only one of `PROGRAMS` has it.
        refused: Why `network` is None; else empty.
        weights: File of the weights, or the exported network.
        keys: Keys under which the weights may be in that file.
        document: The model spec, version 1.
        lines: How each part of the config is translated.
        notes: Sentences for the user.
        batch: Windows per call in the config.
        monai: Version of MONAI in metadata.json; may be empty.
        digest: SHA-256 of weights, config and metadata.
    """

    root: Path
    source: str
    network: NetworkDef | None
    refused: str
    weights: Path
    keys: tuple[str, ...]
    document: Mapping[str, Any]
    lines: tuple[Line, ...]
    notes: tuple[str, ...]
    batch: int | None
    monai: str
    digest: str


def read_bundle(path: Path) -> Bundle:
    """Read a bundle.

    Args:
        path: See `locate_bundle`.

    Raises:
        ModelError: it cannot be read, or something in it is not supported; the message has its name and place.
    """
    location = locate_bundle(path)
    metadata = read_config(location.root / "configs" / METADATA)
    content = read_config(location.config)
    source = str(location.config)
    graph = ConfigGraph(content, source, {"bundle_root": "."})
    loader = _loader(graph)
    weights, keys = _weights(graph, loader, location.root)
    network, refused = _network(graph, location.root)
    if network is not None and not weights.is_file() and _program(location.root) is not None:
        network, refused = None, f"{weights.name} is not there"
    inputs, outputs, dimensions = _channels(network, metadata, source)
    parts = translate(graph, metadata, inputs, outputs, dimensions, source)
    notes = [*location.notes, *parts.notes]
    lines = list(parts.lines)
    if network is not None:
        given = ", ".join(f"{key}={value}" for key, value in network.arguments.items())
        ours = f"built with the weights of {weights.name}"
        lines.insert(0, Line("network_def", f"{network.name}({given})", ours))
    if network is None:
        weights = _program(location.root) or weights
        name = weights.relative_to(location.root).as_posix()
        notes.append(f"{name} is run instead of the network of the config: {refused}")
    elif network.dropped:
        notes.append(f"network_def: {', '.join(network.dropped)} is left out, which this version of MONAI lacks")
    return Bundle(
        location.root,
        source,
        network,
        refused,
        weights,
        keys,
        parts.document,
        tuple(lines),
        tuple(notes),
        parts.batch,
        str(metadata.get("monai_version") or "")[:40],
        _digest(weights, content, metadata),
    )


def spec_of_config(
    content: Mapping[str, Any], metadata: Mapping[str, Any], source: str
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The model spec of a config without a bundle, and notes; for a network in another file.

    Raises:
        ModelError: something in it is not understood.
    """
    graph = ConfigGraph(content, source, {"bundle_root": "."})
    try:
        network: NetworkDef | None = read_network(_network_component(graph))
    except ModelError:
        network = None
    parts = translate(graph, metadata, *_channels(network, metadata, source), source)
    return parts.document, parts.notes


def _network(graph: ConfigGraph, root: Path) -> tuple[NetworkDef | None, str]:
    """The network, or why it cannot be built; raises if the bundle has none of `PROGRAMS` either."""
    try:
        component = _network_component(graph)
        return read_network(component), ""
    except ModelError as error:
        if _program(root) is not None:
            return None, str(error)
        raise


def _program(root: Path) -> Path | None:
    """The first of `PROGRAMS` that a bundle has."""
    return next((inside(root, name, "its network") for name in PROGRAMS if (root / name).is_file()), None)


def _network_component(graph: ConfigGraph) -> Component:
    name = "network_def" if "network_def" in graph else "network"
    raw = graph.get(name) if name == "network_def" else None
    if name == "network" and "network" in graph:
        text = graph.literal("network")
        match = _TO_DEVICE.fullmatch(text) if isinstance(text, str) else None
        raw = graph.get(match[1]) if match else graph.get("network")
    if not isinstance(raw, Component):
        raise ModelError(f"{graph.source}: has no network_def with a class of MONAI")
    return raw


def _channels(network: NetworkDef | None, metadata: Mapping[str, Any], source: str) -> tuple[int, int, int]:
    """Input channels, output channels and dimensions, from the network or from metadata.json."""
    if network is not None:
        return network.inputs, network.outputs, network.dimensions
    try:
        about = metadata["network_data_format"]
        first, second = (next(iter(about[key].values())) for key in ("inputs", "outputs"))
        inputs, outputs = int(first["num_channels"]), int(second["num_channels"])
        dimensions = len(first["spatial_shape"])
    except (LookupError, TypeError, ValueError, AttributeError, StopIteration):
        raise ModelError(
            f"{source}: neither its network nor metadata.json says how many channels it has"
        ) from None
    return inputs, outputs, dimensions


def _loader(graph: ConfigGraph) -> Component | None:
    """The CheckpointLoader, wherever it is, even if it is switched off."""
    for name in ("checkpointloader", "handlers", "val_handlers", "initialize"):
        raw = graph.literal(name)
        for number, item in enumerate(raw if isinstance(raw, list) else [raw]):
            if (
                isinstance(item, Mapping)
                and str(item.get("_target_", "")).rpartition(".")[2] == "CheckpointLoader"
            ):
                place = f"{name}#{number}" if isinstance(raw, list) else name
                found = graph.resolved({**item, "_disabled_": False}, place)
                return found if isinstance(found, Component) else None
    return None


def _weights(graph: ConfigGraph, loader: Component | None, root: Path) -> tuple[Path, tuple[str, ...]]:
    """The file of the weights, and the keys under which they may be in it."""
    name = "models/model.pt"
    keys: tuple[str, ...] = _KEYS
    if loader is not None:
        given = loader.argument("load_path", name)
        if not isinstance(given, str):
            raise loader.refused(f"has load_path={given!r:.60}, which must be the name of a file")
        name = given
        named = loader.raw.get("load_dict")
        if isinstance(named, Mapping) and named:
            keys = (*map(str, named), *_KEYS)
    return inside(root, name, "load_path"), keys


def _digest(weights: Path, *documents: Mapping[str, Any]) -> str:
    digest = hashlib.sha256()
    try:
        if weights.exists() and not weights.is_file():  # a pipe or device would be read for ever
            raise ModelError(f"{weights}: is no regular file; get the bundle from where it is published")
        with weights.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    except OSError:
        raise ModelError(
            f"{weights}: is not there; a checkout of the model zoo has no weights, only where to download them "
            "(large_files.yml): get the bundle from where it is published, or put the file there"
        ) from None
    for document in documents:
        digest.update(json.dumps(document, default=str).encode())
    return digest.hexdigest()
