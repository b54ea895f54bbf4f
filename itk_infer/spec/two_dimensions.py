"""Specs of 2D models: with ``input.dimensions`` 2, what others give for Z Y X may be given for Y X."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# Blocks and keys, and what stands for Z: every plane is a window, and no plane is made or left out.
PAIRS: tuple[tuple[str, str, int | None], ...] = (
    ("input", "spacing", None),
    ("input", "size", None),
    ("window", "patch_size", 1),
    ("window", "patch_stride", 1),
    ("window", "multiple_of", 1),
)


def with_planes(document: Any) -> Any:
    """The document of a 2D model with triplets for pairs; every other document as it is."""
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
