"""Labels drawn over a picture at its own size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from itk_infer.spec import Label
from itk_infer.volume.slab import LabelArray
from itk_infer.volume.volume import Volume

FILL = 0.35  # opacity
PIXELS_PER_WIDTH = 600  # pixels of the shorter side per pixel of line width


def shown(image: Volume, number: int = 0) -> NDArray[np.uint8]:
    """A page of a picture as RGB, (Y, X, 3) uint8; other types are scaled from percentiles 0.1 to 99.9."""
    page = image.array[:, number]
    if page.dtype != np.uint8:
        values = page.astype(np.float32)
        low, high = (float(value) for value in np.percentile(values, (0.1, 99.9)))
        page = np.clip((values - low) * (255 / max(high - low, 1e-9)), 0, 255).astype(np.uint8)
    colours = page if len(page) == 3 else np.repeat(page[:1], 3, axis=0)
    return np.ascontiguousarray(np.moveaxis(colours, 0, -1))


def draw(
    picture: NDArray[np.uint8], labels: LabelArray, table: Sequence[Label], fill: float = FILL
) -> NDArray[np.uint8]:
    """Draw labels over a picture.

    Args:
        picture: RGB, (Y, X, 3).
        labels: Label map, (Y, X).
        table: The label table.
        fill: Opacity of areas; outlines are opaque and lie inside the areas.
    """
    drawn = picture.copy()
    width = max(1, round(min(labels.shape) / PIXELS_PER_WIDTH))
    line = _edges(labels, width)
    for label in table:
        mask, colour = labels == label.value, np.array(label.rgb, np.float32)
        if fill:
            drawn[mask] = np.rint(drawn[mask] * (1 - fill) + colour * fill).astype(np.uint8)
        drawn[mask & line] = label.rgb
    return drawn


def _edges(labels: NDArray[Any], width: int) -> NDArray[np.bool_]:
    """Pixels of a label that have another value at most `width` pixels away along an axis; (Y, X)."""
    padded = np.pad(labels, width, mode="edge")
    rows, columns = labels.shape
    found = np.zeros(labels.shape, np.bool_)
    for step in range(1, width + 1):
        for dy, dx in ((-step, 0), (step, 0), (0, -step), (0, step)):
            moved = padded[width + dy : width + dy + rows, width + dx : width + dx + columns]
            found |= moved != labels
    edges: NDArray[np.bool_] = found & (labels != 0)
    return edges
