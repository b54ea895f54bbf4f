"""Boxes in volumes."""

from __future__ import annotations

Box = tuple[slice, slice, slice]  # Z Y X


def inner_box(outer: Box, inner: Box) -> Box:
    """A box given relative to another one, in the coordinates of the array that holds the outer one."""
    z, y, x = (slice(a.start + b.start, a.start + b.stop) for a, b in zip(outer, inner, strict=True))
    return z, y, x
