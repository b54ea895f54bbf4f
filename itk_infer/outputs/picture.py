"""One picture per case: planes through the labels, the image above its overlay, with a legend."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from itk_infer.errors import OutputError
from itk_infer.files.commit import new_file
from itk_infer.outputs.picture_planes import SHADOW, TEXT, Cut, colours_of, cut, drawn, font, inset, mark
from itk_infer.outputs.sink import FinishedCase, OutputHeader
from itk_infer.spec import Label
from itk_infer.volume.drawn_labels import draw as draw_labels
from itk_infer.volume.drawn_labels import shown
from itk_infer.volume.grid import Grid
from itk_infer.volume.names import printable

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

LARGEST = 1200  # pixels of the longest side of a flat picture
PANEL = 330  # pixels of the longest side of a plane
GAP, TITLE, LINE = 12, 34, 21
MOST_ROWS = 3  # of planes
STYLES = {"side-by-side": ("image", "overlay"), "overlay": ("overlay",), "contour": ("contour",)}
CONVENTION = "radiological view: the patient's right is on the left"


@dataclass(frozen=True, slots=True)
class _Case:
    """A case in LPS: axial planes have the patient's right on the left and anterior on top."""

    grey: NDArray[np.uint8]
    labels: NDArray[Any]
    grid: Grid


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
        from PIL import Image

        if case.header.grid.oriented:
            picture = draw(case, self._path.name.removesuffix(".png"), self._style)
        else:
            picture = draw_flat(case, self._style)
        with new_file(self._path, track=case.header.track) as partial:
            picture.save(partial, format="PNG")
            with Image.open(partial) as read:
                if read.size != picture.size or read.tobytes() != picture.tobytes():
                    raise OutputError(f"{self._path}: does not read back as it was written; is the disk full?")
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

    seen = _oriented(case)
    table = case.header.labels
    present = [label for label in table if np.any(seen.labels == label.value)] if table else []
    colours = dict(zip((label.value for label in table), colours_of(table), strict=True))
    rows = [
        [cut(seen.grey, seen.labels, seen.grid.spacing, *plane) for plane in row] for row in _planes(seen, present)
    ]
    styles = STYLES[style]
    pictures: list[list[Picture]] = []
    for row in rows:
        scale = PANEL / max(max(plane.size_mm) for plane in row)
        for name in styles:
            pictures.append([_panel(seen, plane, scale, present, colours, name) for plane in row])
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
    pen.text((GAP, 8), _short(printable(title), width), TEXT, font=font(17))
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


def draw_flat(case: FinishedCase, style: str) -> Picture:
    """The same of a case that is a picture itself: no planes, sides or millimetres, and no legend.

    Args:
        case: The case, with its image; of several pages, the one with most labelled pixels is drawn.
        style: A key of `STYLES`.
    """
    from PIL import Image

    if case.header.image is None:
        raise RuntimeError("a picture was to be drawn, and the case came without its image")
    number = int(np.count_nonzero(case.labels, axis=(1, 2)).argmax())
    page, labels, table = shown(case.header.image, number), case.labels[number], case.header.labels
    panels = {
        "image": page,
        "overlay": draw_labels(page, labels, table),
        "contour": draw_labels(page, labels, table, 0.0),
    }
    picture = Image.fromarray(np.hstack([panels[name] for name in STYLES[style]]))
    picture.thumbnail((LARGEST, LARGEST))
    return picture


def _oriented(case: FinishedCase) -> _Case:
    image = case.header.image
    if image is None:
        raise RuntimeError("a picture was to be drawn, and the case came without its image")
    grid, to_lps = image.grid.reoriented("LPS")
    _, labels_to_lps = case.header.grid.reoriented("LPS")
    voxels, labels = to_lps.apply(image.array[0]), labels_to_lps.apply(case.labels)
    # A sample gives the grey window; all voxels would take longer than the drawing.
    step = [max(1, size // 96) for size in voxels.shape]
    sample = voxels[:: step[0], :: step[1], :: step[2]]
    low, high = (float(value) for value in np.percentile(sample, (1, 99.7)))
    if high <= low:
        low, high = float(sample.min()), float(sample.max())
    width = max(high - low, 1e-9)
    grey = np.empty(voxels.shape, np.uint8)
    for plane, target in zip(voxels, grey, strict=True):
        target[...] = np.clip((plane.astype(np.float32) - low) * (255 / width), 0, 255)
    return _Case(grey, labels, grid)


def _planes(case: _Case, present: list[Label]) -> list[list[tuple[int, int]]]:
    """Rows of planes, as axis and index: the largest section of all labels, then of those not seen there."""
    axes = [axis for axis in range(3) if all(case.labels.shape[other] > 1 for other in {0, 1, 2} - {axis})] or [0]
    unseen = {label.value for label in present}
    rows: list[list[tuple[int, int]]] = []
    while len(rows) < MOST_ROWS:
        mask = np.isin(case.labels, sorted(unseen)) if rows else case.labels != 0
        counts = [np.count_nonzero(mask, axis=tuple({0, 1, 2} - {axis})) for axis in range(3)]
        row = [(axis, int(counts[axis].argmax()) if mask.any() else case.labels.shape[axis] // 2) for axis in axes]
        rows.append(row)
        for axis, index in row:
            unseen -= set(np.unique(np.take(case.labels, index, axis)).tolist())
        if not unseen:
            break
    return rows


def _panel(
    case: _Case,
    plane: Cut,
    scale: float,
    labels: list[Label],
    colours: dict[int, tuple[int, int, int]],
    style: str,
) -> Picture:
    picture = drawn(plane, scale, labels, [colours[label.value] for label in labels], style)
    mark(picture, plane, scale, _position(case.grid, plane))
    if plane.whole != plane.size_mm and style != "image":
        whole = np.take(case.grey, plane.index, plane.axis)
        inset(picture, plane, whole[::-1] if plane.axis else whole)
    return picture


def _position(grid: Grid, plane: Cut) -> str:
    """Where a plane lies at the middle of the volume, in millimetres, with the letter of the side."""
    middle = [(size - 1) / 2 for size in grid.size]
    middle[plane.axis] = plane.index
    direction = np.reshape(grid.direction_xyz, (3, 3))
    point = np.asarray(grid.origin_xyz) + direction @ (np.asarray(middle[::-1]) * np.asarray(grid.spacing[::-1]))
    value = float(point[2 - plane.axis])
    side = ("SI", "PA", "LR")[plane.axis][value < 0]
    return f"{side} {abs(value):.0f} mm"


def _legend(
    case: FinishedCase, present: list[Label], colours: dict[int, tuple[int, int, int]]
) -> list[tuple[str, tuple[int, int, int] | None]]:
    voxel_ml = case.header.grid.voxel_volume_ml
    items: list[tuple[str, tuple[int, int, int] | None]] = []
    for label in present:
        volume = np.count_nonzero(case.labels == label.value) * voxel_ml
        soft_dice = case.soft_dice.get(label.value)
        certain = "" if soft_dice is None else f", soft Dice {soft_dice:.2f}"
        items.append((f"{printable(label.name)} {volume:.4g} ml{certain}", colours[label.value]))
    missing = [printable(label.name) for label in case.header.labels if label not in present]
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
