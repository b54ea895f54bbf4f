"""One picture per case: planes through the labels, as image, overlay and uncertainty, with a legend."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from itk_infer.outputs.drawing.case import Plane, SeenCase, seen
from itk_infer.outputs.drawing.file import PART, write_png
from itk_infer.outputs.drawing.flat import draw_flat
from itk_infer.outputs.drawing.legend import Item, draw_lines, in_lines
from itk_infer.outputs.drawing.planes import SHADOW, TEXT, Cut, colours_of, drawn, heat_colours, inset, mark
from itk_infer.outputs.drawing.words import drawable, fitting, font, named, wrapped
from itk_infer.outputs.sink import FinishedCase, OutputHeader

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

PANEL, TILE = 330, 200  # pixels of the longest side of a plane, and of one of many, at 100 dots per inch
GAP, LINE = 12, 21
MOST_ROWS = 3  # most rows of planes
PER_ROW, MOST_TILES = 6, 24
STYLES = ("side-by-side", "overlay", "contour", "heatmap", "montage")
LOOK_FIRST = "look first"
CONVENTION = "radiological view: the patient's right is on the left"
AMBER, DIM = (255, 190, 70), (150, 155, 162)
Colours = dict[int, tuple[int, int, int]]


class PictureOutput:
    """Draws a case after its label map is finished; see `CaseOutput`.

    Args:
        path: PNG file to write.
        header: Header of the case, with its image.
    """

    def __init__(self, path: Path, header: OutputHeader) -> None:
        self._path = path

    def commit(self, case: FinishedCase) -> Path:
        """See `CaseOutput.commit`."""
        style, dpi = case.header.picture_style, case.header.picture_dpi
        if case.header.grid.oriented:
            picture = draw(case, self._path.name.removesuffix(".png"), style, dpi)
        else:
            picture = draw_flat(case, style)
        write_png(picture, self._path, track=case.header.track, dpi=dpi)
        return self._path

    def abort(self) -> None:
        """Nothing to undo: before the commit there is no file, and a commit that fails leaves none."""


def draw(case: FinishedCase, title: str, style: str = "side-by-side", dpi: int = 100) -> Picture:
    """Draw the picture of a case.

    Args:
        case: The case, with its image.
        title: Its first line.
        style: One of `STYLES`.
        dpi: Dots per inch: a higher value gives a larger picture with the same content.
    """
    from PIL import Image, ImageDraw

    zoom, shown, table = dpi / 100, seen(case), case.header.labels
    colours = dict(zip((label.value for label in table), colours_of(table), strict=True))
    rows = _tiles(shown, colours, zoom) if style == "montage" else _panels(shown, colours, style, zoom)
    gap, line = round(GAP * zoom), round(LINE * zoom)
    columns = _columns(rows) if style == "side-by-side" else None
    widths = [sum(columns or (panel.width for panel in row)) + gap * (len(row) + 1) for row in rows]
    width = max(*widths, round(480 * zoom))
    room = width - 2 * gap
    legend = in_lines(_legend(case, shown, colours), room, zoom)
    doubts = wrapped(drawable("; ".join(case.doubts)), round(14 * zoom), room)[:2] if case.doubts else []
    heat = shown.uncertainty is not None and style in ("side-by-side", "heatmap")
    top = round(GAP * zoom * 0.7 + LINE * zoom * 1.4)  # position of the first line below the title
    planes = sum(max(panel.height for panel in row) + gap for row in rows)
    height = top + line * (len(doubts) + len(legend) + heat + 1) + planes + gap
    canvas = Image.new("RGB", (width, height), SHADOW)
    pen, large, normal = ImageDraw.Draw(canvas), round(17 * zoom), round(14 * zoom)
    chip = round(font(normal).getlength(LOOK_FIRST) + 16 * zoom) if doubts else 0
    pen.text((gap, gap * 0.7), fitting(drawable(title), large, room - chip - gap), TEXT, font=font(large))
    if doubts:
        place = (width - gap - chip, gap * 0.7, width - gap, gap * 0.7 + line)
        pen.rounded_rectangle(place, radius=5 * zoom, fill=AMBER)
        pen.text((place[0] + 8 * zoom, gap * 0.7 + 2 * zoom), LOOK_FIRST, SHADOW, font=font(normal))
    for text in doubts:
        pen.text((gap, top), text, AMBER, font=font(normal))
        top += line
    top, part = _paste(canvas, rows, columns, (gap, top))
    canvas.info[PART] = " ".join(map(str, part))
    top = draw_lines(pen, legend, (gap, top), zoom, line)
    if heat:
        _colour_bar(canvas, pen, (gap, top), zoom)
        top += line
    pen.text((gap, top), CONVENTION, DIM, font=font(round(13 * zoom)))
    return canvas


def _columns(rows: list[list[Picture]]) -> list[int]:
    """Widths of columns."""
    return [max(panel.width for panel in column) for column in zip(*rows, strict=True)]


def _paste(
    canvas: Picture, rows: list[list[Picture]], columns: list[int] | None, place: tuple[int, int]
) -> tuple[int, tuple[int, int, int, int]]:
    """Paste rows of panels below each other.

    Args:
        canvas: Picture to paste into.
        rows: The panels.
        columns: Widths of columns, of which the second shows labels; None: no columns, all panels show labels.
        place: Left and top of the first panel; the left is also the gap between panels.

    Returns:
        The lower edge; and left, top, right and bottom of the part that shows the labels.
    """
    (gap, top), boxes = place, []
    for row in rows:
        left, tallest = gap, max(panel.height for panel in row)
        for number, panel in enumerate(row):
            space = columns[number] if columns else panel.width
            x, y = left + (space - panel.width) // 2, top + (tallest - panel.height) // 2
            canvas.paste(panel, (x, y))
            if columns is None or number == 1:
                boxes.append((x, y, x + panel.width, y + panel.height))
            left += space + gap
        top += tallest + gap
    lefts, tops, rights, bottoms = zip(*boxes, strict=True)
    return top, (min(lefts), min(tops), max(rights), max(bottoms))


def _panels(shown: SeenCase, colours: Colours, style: str, zoom: float) -> list[list[Picture]]:
    """Rows of planes; side by side: one plane per row, as image, overlay and uncertainty."""
    rows = _planes(shown)
    if style != "side-by-side":
        cuts = [[shown.cut(plane) for plane in row] for row in rows]
        scales = [PANEL * zoom / max(max(plane.size_mm) for plane in row) for row in cuts]
        return [
            [_panel(shown, plane, scale, colours, style, zoom) for plane in row]
            for row, scale in zip(cuts, scales, strict=True)
        ]
    # Further rows, for labels that the first one does not show, are reduced to one plane.
    planes = [shown.cut(plane) for row in (rows[0], *(row[:1] for row in rows[1:])) for plane in row]
    scale = PANEL * zoom / max(max(plane.size_mm) for plane in planes)
    styles = ("image", "overlay", *(["heatmap"] if shown.uncertainty is not None else []))
    return [[_panel(shown, plane, scale, colours, each, zoom) for each in styles] for plane in planes]


def _planes(case: SeenCase) -> list[list[Plane]]:
    """Rows of planes: the largest section of all labels, then of labels that were not shown."""
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


def _tiles(shown: SeenCase, colours: Colours, zoom: float) -> list[list[Picture]]:
    """Planes at equal distances through the labels, superior first, all cropped to the same part."""
    axis, found = shown.axes[0], shown.labels != 0
    across = np.flatnonzero(found.any(axis=tuple({0, 1, 2} - {axis})))
    first, last = (int(across[0]), int(across[-1])) if len(across) else (0, found.shape[axis] - 1)
    chosen = np.linspace(last, first, min(MOST_TILES, last - first + 1)).round().astype(int).tolist()
    around = found.any(axis=axis)
    planes = [shown.cut((axis, index), around) for index in chosen]
    scale = TILE * zoom / max(max(plane.size_mm) for plane in planes)
    panels = [_panel(shown, plane, scale, colours, "overlay", zoom * 0.8, whole=False) for plane in planes]
    return [panels[start : start + PER_ROW] for start in range(0, len(panels), PER_ROW)]


def _panel(
    shown: SeenCase, plane: Cut, scale: float, colours: Colours, style: str, zoom: float, *, whole: bool = True
) -> Picture:
    present = shown.present
    picture = drawn(plane, scale, present, [colours[label.value] for label in present], style, zoom)
    mark(picture, plane, scale, shown.position(plane), zoom)
    if whole and plane.whole != plane.size_mm and style in ("overlay", "contour"):
        grey = np.take(shown.grey, plane.index, plane.axis)
        inset(picture, plane, grey[::-1] if plane.axis else grey)
    return picture


def _legend(case: FinishedCase, shown: SeenCase, colours: Colours) -> list[Item]:
    voxel_ml = case.header.grid.voxel_volume_ml
    counts = np.bincount(case.labels.ravel())
    items: list[Item] = []
    for label in shown.present:
        soft_dice = case.soft_dice.get(label.value)
        certain = "" if soft_dice is None else f", soft Dice {soft_dice:.2f}"
        items.append((f"{named(label)} {counts[label.value] * voxel_ml:.4g} ml{certain}", colours[label.value]))
    missing = [named(label) for label in case.header.labels if label not in shown.present]
    if missing:
        more = f" and {len(missing) - 6} more" if len(missing) > 6 else ""
        items.append((f"not found: {', '.join(missing[:6])}{more}", None))
    return items


def _colour_bar(canvas: Picture, pen: Any, place: tuple[int, int], zoom: float) -> None:
    """Draw the colour bar of uncertainty, with text."""
    from PIL import Image

    left, top = place
    words = font(round(13 * zoom))
    pen.text((left, top), "certain", DIM, font=words)
    left += round(words.getlength("certain") + 8 * zoom)
    shades = heat_colours(np.linspace(0, 1, round(120 * zoom), dtype=np.float32))
    bar = Image.fromarray(np.repeat(shades[None].astype(np.uint8), round(10 * zoom), axis=0))
    canvas.paste(bar, (left, round(top + 4 * zoom)))
    pen.text((left + bar.width + 8 * zoom, top), "all classes equally likely", DIM, font=words)
