"""A picture with its labels in colours: filled over it, as lines over it, or alone in a palette."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from itk_infer.outputs.sink import FinishedCase, OutputHeader
from itk_infer.spec import Label
from itk_infer.volume.marks import own_keys
from itk_infer.volume.slab import LabelArray
from itk_infer.volume.volume import Volume
from itk_infer.volume.write_picture import write_png

FILL = 0.35  # opacity
PIXELS_PER_WIDTH = 600  # of the shorter side, for each pixel of a line's width


class _PictureOutput:
    """See `CaseOutput`.

    Args:
        path: PNG to write.
        header: The picture.
    """

    fill = FILL

    def __init__(self, path: Path, header: OutputHeader) -> None:
        self._path = path
        self._header = header

    def commit(self, case: FinishedCase) -> Path:
        """See `CaseOutput.commit`."""
        if self._header.image is None:
            raise RuntimeError("an overlay was to be drawn, and the picture did not come with it")
        drawn = draw(shown(self._header.image), case.labels[0], self._header.labels, self.fill)
        write_png(drawn, self._path, own_keys(self._header.about), track=self._header.track)
        return self._path

    def abort(self) -> None:
        """Nothing to undo: before the commit there is no file, and a commit that fails leaves none."""


class OverlayOutput(_PictureOutput):
    """The picture in its own size, labels filled and outlined in their colours."""


class ContourOutput(_PictureOutput):
    """The picture in its own size, labels outlined in their colours."""

    fill = 0.0


class PaletteOutput:
    """The label map as a PNG whose palette shows labels in their colours; see `CaseOutput`.

    Args:
        path: PNG to write.
        header: The picture.
    """

    def __init__(self, path: Path, header: OutputHeader) -> None:
        self._path = path
        self._header = header

    def commit(self, case: FinishedCase) -> Path:
        """See `CaseOutput.commit`. Labels above 255 do not fit into a palette, and are numbered in their order."""
        from PIL import Image

        table = self._header.labels
        numbers = {label.value: label.value for label in table}
        if max(numbers, default=0) > 255:
            numbers = {label.value: 1 + number for number, label in enumerate(table)}
        indices = np.zeros(case.labels.shape[1:], np.uint8)
        palette = [0] * 768
        for label in table:
            number = min(numbers[label.value], 255)
            indices[case.labels[0] == label.value] = number
            palette[3 * number : 3 * number + 3] = label.rgb
        picture = Image.fromarray(indices)
        picture.putpalette(palette)
        write_png(picture, self._path, own_keys(self._header.about), track=self._header.track)
        return self._path

    def abort(self) -> None:
        """Nothing to undo: before the commit there is no file, and a commit that fails leaves none."""


def shown(image: Volume) -> NDArray[np.uint8]:
    """The first page of a picture as (Y, X, 3) of 8 bits; other depths between their percentiles 0.1 and 99.9."""
    page = image.array[:, 0]
    if page.dtype != np.uint8:
        values = page.astype(np.float32)
        low, high = (float(value) for value in np.percentile(values, (0.1, 99.9)))
        page = np.clip((values - low) * (255 / max(high - low, 1e-9)), 0, 255).astype(np.uint8)
    colours = page if len(page) == 3 else np.repeat(page[:1], 3, axis=0)
    return np.ascontiguousarray(np.moveaxis(colours, 0, -1))


def draw(
    picture: NDArray[np.uint8], labels: LabelArray, table: Sequence[Label], fill: float = FILL
) -> NDArray[np.uint8]:
    """A picture with labels drawn over it.

    Args:
        picture: (Y, X, 3).
        labels: (Y, X).
        table: The labels.
        fill: Opacity of their areas; lines are opaque, and lie inside them.
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
    """Pixels of any label with another value no more than `width` pixels away along an axis; (Y, X)."""
    padded = np.pad(labels, width, mode="edge")
    rows, columns = labels.shape
    found = np.zeros(labels.shape, np.bool_)
    for step in range(1, width + 1):
        for dy, dx in ((-step, 0), (step, 0), (0, -step), (0, step)):
            moved = padded[width + dy : width + dy + rows, width + dx : width + dx + columns]
            found |= moved != labels
    edges: NDArray[np.bool_] = found & (labels != 0)
    return edges
