"""Specs of 2D models: with ``input.dimensions`` 2, triplets (Z, Y, X) may be given as pairs (Y, X)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# Blocks, keys and the value for Z: every plane is a window of its own, and planes are not resampled.
PAIRS: tuple[tuple[str, str, int | None], ...] = (
    ("input", "spacing", None),
    ("input", "size", None),
    ("window", "patch_size", 1),
    ("window", "patch_stride", 1),
    ("window", "multiple_of", 1),
)


def with_planes(document: Any) -> Any:
    """The document of a 2D model with its pairs completed to triplets; any other document unchanged."""
    if not isinstance(document, Mapping):
        return document
    given = document.get("input")
    if not isinstance(given, Mapping) or given.get("dimensions") != 2:
        return document
    changed = dict(document)
    for block, key, plane in PAIRS:
        inside = changed.get(block)
        if isinstance(inside, Mapping) and isinstance(pair := inside.get(key), list | tuple) and len(pair) == 2:
            changed[block] = {**inside, key: [plane, *pair]}
    return changed
