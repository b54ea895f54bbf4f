"""A picture with labels in colours: filled, as outlines, or as a palette image without the picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from itk_infer.outputs.sink import FinishedCase, OutputHeader
from itk_infer.volume.drawn_labels import FILL, draw, shown
from itk_infer.volume.marks import own_keys
from itk_infer.volume.write_picture import write_png


class _PictureOutput:
    """See `CaseOutput`.

    Args:
        path: PNG file to write.
        header: Header of the case.
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
        path: PNG file to write.
        header: Header of the case.
    """

    def __init__(self, path: Path, header: OutputHeader) -> None:
        self._path = path
        self._header = header

    def commit(self, case: FinishedCase) -> Path:
        """See `CaseOutput.commit`. If a label value is above 255, labels are numbered in order."""
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
