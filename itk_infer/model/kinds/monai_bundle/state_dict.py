"""Names of the weights in a bundle's checkpoint."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def state_in(document: Any, keys: Sequence[str], tensor: type) -> dict[str, Any] | None:
    """The weights in the content of a checkpoint, by their names; None: it has none.

    Args:
        document: The content: a state dict, or a mapping that has one.
        keys: Keys of that mapping, preferred ones first; if none exists, the whole content is the state dict.
        tensor: The type of the weights.
    """
    found: Any = document
    if isinstance(document, Mapping):
        found = next((document[key] for key in keys if isinstance(document.get(key), Mapping)), document)
    if not isinstance(found, Mapping) or not found:
        return None
    if not all(isinstance(key, str) and isinstance(item, tensor) for key, item in found.items()):
        return None
    return {name.removeprefix("module."): value for name, value in found.items()}


def differences(own: Mapping[str, tuple[int, ...]], given: Mapping[str, tuple[int, ...]]) -> str:
    """Name the weights of a network and of a file that differ in name or shape; empty if there are none."""
    findings = {
        "missing": [name for name in own if name not in given],
        "unexpected": [name for name in given if name not in own],
        "of another shape": [name for name, shape in own.items() if name in given and given[name] != shape],
    }
    return "; ".join(f"{len(names)} {what} ({_some(names)})" for what, names in findings.items() if names)


def _some(names: Sequence[str], limit: int = 3) -> str:
    return ", ".join(names[:limit]) + (", ..." if len(names) > limit else "")
