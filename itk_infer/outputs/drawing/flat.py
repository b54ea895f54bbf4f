"""Draw a case that is a picture itself, without planes, sides, millimetres and legend."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from itk_infer.outputs.drawing.file import PART
from itk_infer.outputs.sink import FinishedCase
from itk_infer.volume.drawn_labels import draw, shown

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

LARGEST = 1200  # pixels of the longest side


def draw_flat(case: FinishedCase, style: str) -> Picture:
    """Draw the image beside its labels, or only the labels over the image.

    Args:
        case: The case, with its image; of several pages, the one with most labelled pixels is drawn.
        style: See `PictureOutput`; styles that need planes or uncertainty are drawn as ``overlay``.
    """
    from PIL import Image

    if case.header.image is None:
        raise RuntimeError("a picture was to be drawn, and the case came without its image")
    number = int(np.count_nonzero(case.labels, axis=(1, 2)).argmax())
    page, labels, table = shown(case.header.image, number), case.labels[number], case.header.labels
    if style == "contour":
        panels = [draw(page, labels, table, 0.0)]
    else:
        panels = [*([page] if style == "side-by-side" else []), draw(page, labels, table)]
    picture = Image.fromarray(np.hstack(panels))
    picture.thumbnail((LARGEST, LARGEST))
    picture.info[PART] = " ".join(map(str, (0, 0, *picture.size)))
    return picture
