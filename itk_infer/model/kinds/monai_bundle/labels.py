"""Names of a bundle's input and output channels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def channel_names(metadata: Mapping[str, Any], config_labels: Any, channels: int) -> list[str]:
    """A unique name for each output channel; empty if it has none.

    Args:
        metadata: The content of metadata.json, whose names are used only if they fit the channels.
        config_labels: The value of ``labels`` in the config: names to numbers, or numbers to names.
        channels: Output channels of the network.
    """
    named = _numbered(_pred(metadata).get("channel_def")) or _numbered(config_labels)
    names = [named.get(channel, "") for channel in range(channels)]
    if channels == 1 and len(named) == 2:
        names = [named.get(1, "")]  # only the foreground has a channel, but the background is listed, too
    elif named and max(named) >= channels:
        names = [""] * channels
    return [
        name if names.count(name) == 1 else f"{name} {number}" if name else "" for number, name in enumerate(names)
    ]


def input_names(metadata: Mapping[str, Any], channels: int) -> list[str]:
    """A unique name for each input channel; all are empty unless metadata.json has exactly that many."""
    inputs = _mapping(_mapping(metadata.get("network_data_format")).get("inputs"))
    first = next((value for value in inputs.values() if isinstance(value, Mapping)), {})
    named = _numbered(first.get("channel_def"))
    names = [named.get(channel, "") for channel in range(channels)]
    if len(named) != channels or len(set(names)) != channels or not all(names):
        return [""] * channels
    return names


def multiples(metadata: Mapping[str, Any]) -> list[int]:
    """Divisors of the window size in metadata.json, x, y, z: 8 for ``8*n``, else 1."""
    inputs = _mapping(_mapping(metadata.get("network_data_format")).get("inputs"))
    first = next((value for value in inputs.values() if isinstance(value, Mapping)), {})
    shape = first.get("spatial_shape")
    numbers = [
        int(text.partition("*")[0])
        for text in (shape if isinstance(shape, Sequence) and not isinstance(shape, str) else [])
        if isinstance(text, str) and text.replace(" ", "").endswith("*n") and text.partition("*")[0].isdecimal()
    ]
    return numbers if len(numbers) == 3 and all(0 < number <= 512 for number in numbers) else [1, 1, 1]


def _pred(metadata: Mapping[str, Any]) -> Mapping[str, Any]:
    outputs = _mapping(_mapping(metadata.get("network_data_format")).get("outputs"))
    return _mapping(outputs.get("pred") or next(iter(outputs.values()), None))


def _numbered(value: Any) -> dict[int, str]:
    """Names by number, from a mapping in either direction."""
    if not isinstance(value, Mapping):
        return {}
    pairs = [(key, item) if str(key).isdecimal() else (item, key) for key, item in value.items()]
    return {
        int(number): str(name).strip()
        for number, name in pairs
        if str(number).isdecimal() and isinstance(name, str | int)
    }


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
