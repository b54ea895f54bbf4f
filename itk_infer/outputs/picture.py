"""One picture per case: planes through the labels, the image above its overlay, with a legend."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from itk_infer.outputs.drawing.case import Plane, SeenCase, seen
from itk_infer.outputs.drawing.file import write_png
from itk_infer.outputs.drawing.planes import SHADOW, TEXT, Cut, colours_of, cut, drawn, inset, mark
from itk_infer.outputs.drawing.words import drawable, font, named
from itk_infer.outputs.sink import FinishedCase, OutputHeader
from itk_infer.spec import Label

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

PANEL = 330  # pixels of the longest side of a plane
GAP, TITLE, LINE = 12, 34, 21
MOST_ROWS = 3  # of planes
STYLES = {"side-by-side": ("image", "overlay"), "overlay": ("overlay",), "contour": ("contour",)}
CONVENTION = "radiological view: the patient's right is on the left"


class PictureOutput:
    """Draws a case once its label map is finished; see `CaseOutput`.

    Args:
        path: PNG to write.
        header: The case, with its image.
    """

    def __init__(self, path: Path, header: OutputHeader) -> None:
        self._path = path
        self._style = header.picture_style

    def commit(self, case: FinishedCase) -> Path:
        """See `CaseOutput.commit`."""
        picture = draw(case, self._path.name.removesuffix(".png"), self._style)
        write_png(picture, self._path, track=case.header.track)
        return self._path

    def abort(self) -> None:
        """Nothing to undo: before the commit there is no file, and a commit that fails leaves none."""


def draw(case: FinishedCase, title: str, style: str = "side-by-side") -> Picture:
    """The picture of a case.

    Args:
        case: The case, with its image.
        title: Its first line.
        style: A key of `STYLES`.
    """
    from PIL import Image, ImageDraw

    shown, table = seen(case), case.header.labels
    present = shown.present
    colours = dict(zip((label.value for label in table), colours_of(table), strict=True))
    rows = [[cut(shown.grey, shown.labels, shown.grid.spacing, *plane) for plane in row] for row in _planes(shown)]
    styles = STYLES[style]
    pictures: list[list[Picture]] = []
    for row in rows:
        scale = PANEL / max(max(plane.size_mm) for plane in row)
        for name in styles:
            pictures.append([_panel(shown, plane, scale, present, colours, name) for plane in row])
    legend = _legend(case, present, colours)
    width = max(
        *(sum(panel.width + GAP for panel in row) + GAP for row in pictures),
        480,
    )
    lines = _wrapped(legend, width)
    heights = [max(panel.height for panel in row) for row in pictures]
    height = TITLE + sum(heights) + GAP * (len(heights) + 1) + LINE * (len(lines) + 1) + GAP
    canvas = Image.new("RGB", (width, height), SHADOW)
    pen = ImageDraw.Draw(canvas)
    pen.text((GAP, 8), _short(drawable(title), width), TEXT, font=font(17))
    top = TITLE
    for panels, tallest in zip(pictures, heights, strict=True):
        left = GAP
        for panel in panels:
            canvas.paste(panel, (left, top + (tallest - panel.height) // 2))
            left += panel.width + GAP
        top += tallest + GAP
    for line in lines:
        left = GAP
        for text, colour in line:
            if colour is not None:
                pen.rectangle((left, top + 4, left + 11, top + 15), fill=colour)
                left += 18
            pen.text((left, top), text, TEXT, font=font(14))
            left += round(pen.textlength(text, font=font(14))) + 22
        top += LINE
    pen.text((GAP, top), CONVENTION, (150, 155, 162), font=font(13))
    return canvas


def _planes(case: SeenCase) -> list[list[Plane]]:
    """Rows of planes: the largest section of all labels, then of those not seen there."""
    unseen = {label.value for label in case.present}
    rows: list[list[Plane]] = []
    while len(rows) < MOST_ROWS:
        row = [case.largest_section(axis, unseen if rows else None) for axis in case.axes]
        rows.append(row)
        for axis, index in row:
            unseen -= set(np.unique(np.take(case.labels, index, axis)).tolist())
        if not unseen:
            break
    return rows


def _panel(
    case: SeenCase,
    plane: Cut,
    scale: float,
    labels: Sequence[Label],
    colours: dict[int, tuple[int, int, int]],
    style: str,
) -> Picture:
    picture = drawn(plane, scale, labels, [colours[label.value] for label in labels], style)
    mark(picture, plane, scale, case.position(plane))
    if plane.whole != plane.size_mm and style != "image":
        whole = np.take(case.grey, plane.index, plane.axis)
        inset(picture, plane, whole[::-1] if plane.axis else whole)
    return picture


def _legend(
    case: FinishedCase, present: Sequence[Label], colours: dict[int, tuple[int, int, int]]
) -> list[tuple[str, tuple[int, int, int] | None]]:
    voxel_ml = case.header.grid.voxel_volume_ml
    items: list[tuple[str, tuple[int, int, int] | None]] = []
    for label in present:
        volume = np.count_nonzero(case.labels == label.value) * voxel_ml
        soft_dice = case.soft_dice.get(label.value)
        certain = "" if soft_dice is None else f", soft Dice {soft_dice:.2f}"
        items.append((f"{named(label)} {volume:.4g} ml{certain}", colours[label.value]))
    missing = [named(label) for label in case.header.labels if label not in present]
    if missing:
        more = f" and {len(missing) - 6} more" if len(missing) > 6 else ""
        items.append((f"not found: {', '.join(missing[:6])}{more}", None))
    return items


def _wrapped(
    items: list[tuple[str, tuple[int, int, int] | None]], width: int
) -> list[list[tuple[str, tuple[int, int, int] | None]]]:
    """The legend in lines that fit."""
    lines: list[list[tuple[str, tuple[int, int, int] | None]]] = [[]]
    left = GAP
    for text, colour in items:
        text = _short(text, width)
        needed = round(font(14).getlength(text)) + 40
        if lines[-1] and left + needed > width:
            lines.append([])
            left = GAP
        lines[-1].append((text, colour))
        left += needed
    return lines


def _short(text: str, width: int) -> str:
    """A text that fits into a width."""
    most = max(10, (width - 60) // 10)
    return text if len(text) <= most else f"{text[: most - 3]}..."
