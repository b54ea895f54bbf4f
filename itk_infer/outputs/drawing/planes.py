"""Draw planes of a case: grey image, fill and contours of labels, sides, position and scale."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from itk_infer.outputs.drawing.words import font
from itk_infer.spec import Label
from itk_infer.spec.labels import default_color

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

NAMES = ("axial", "coronal", "sagittal")
SIDES = (("R", "L", "A", "P"), ("R", "L", "S", "I"), ("A", "P", "S", "I"))  # left, right, top, bottom
FILL, CONTOUR, HALO, THIN = 0.25, 1.6, 3.6, 0.6  # opacity of the fill; widths of the lines in pixels
MARGIN_MM = 15.0  # around the labels, if a plane is cropped to them
SMALL = 0.1  # a plane is cropped to its labels if they fill a smaller share of it
TEXT, SHADOW = (235, 238, 242), (16, 18, 22)
OKABE_ITO = ("#e69f00", "#56b4e9", "#009e73", "#f0e442", "#0072b2", "#d55e00", "#cc79a7")
INFERNO = (
    *((0, 0, 4), (31, 12, 72), (85, 15, 109), (136, 34, 106), (186, 54, 85)),
    *((227, 89, 51), (249, 140, 10), (249, 201, 50), (252, 255, 164)),
)
GREY = 40  # largest difference of red, green and blue (0 to 255) of a grey


@dataclass(frozen=True, slots=True)
class Cut:
    """One plane of a case, as radiologists see it: the patient's right on the left, superior or anterior up.

    Attributes:
        axis: 0 axial, 1 coronal, 2 sagittal.
        index: Index of the plane along the axis of an array in LPS.
        grey: Voxels (rows, columns), 0 to 255.
        labels: Label values (rows, columns).
        spacing: Millimetres between rows and between columns.
        whole: Millimetres of the whole plane, (rows, columns).
        corner: Upper left corner of this part in the whole plane, in millimetres.
        uncertainty: Uncertainty (rows, columns), 0 to 250; None if it is not known.
    """

    axis: int
    index: int
    grey: NDArray[np.uint8]
    labels: NDArray[Any]
    spacing: tuple[float, float]
    whole: tuple[float, float]
    corner: tuple[float, float] = (0.0, 0.0)
    uncertainty: NDArray[np.uint8] | None = None

    @property
    def size_mm(self) -> tuple[float, float]:
        """Rows and columns in millimetres."""
        return self.grey.shape[0] * self.spacing[0], self.grey.shape[1] * self.spacing[1]


def cut(
    grey: NDArray[np.uint8],
    labels: NDArray[Any],
    spacing: Sequence[float],
    axis: int,
    index: int,
    uncertainty: NDArray[np.uint8] | None = None,
    around: NDArray[np.bool_] | None = None,
) -> Cut:
    """Cut a plane, cropped to its labels if they fill little of it.

    Args:
        grey: The image, 0 to 255, (Z, Y, X) in LPS.
        labels: The label map, (Z, Y, X) in LPS.
        spacing: Millimetres along Z, Y, X.
        axis: 0 axial, 1 coronal, 2 sagittal.
        index: Index of the plane.
        uncertainty: Uncertainty, (Z, Y, X) in LPS; None if it is not known.
        around: Mask to crop to, (rows, columns) of the plane; None: its own labels.
    """
    rows, columns = (other for other in range(3) if other != axis)
    step = float(spacing[rows]), float(spacing[columns])
    arrays = [grey, labels, *([] if uncertainty is None else [uncertainty])]
    planes = [np.take(array, index, axis) for array in arrays]
    planes.append(planes[1] != 0 if around is None else around)
    if axis:
        planes = [plane[::-1] for plane in planes]  # superior up
    found = planes.pop()
    whole = planes[0].shape[0] * step[0], planes[0].shape[1] * step[1]
    part, corner = (slice(None), slice(None)), (0.0, 0.0)
    if found.any() and found.mean() < SMALL:
        part = _around(found, 1, step[0]), _around(found, 0, step[1])
        corner = part[0].start * step[0], part[1].start * step[1]
    planes = [plane[part] for plane in planes]
    doubt = planes[2] if uncertainty is not None else None
    return Cut(axis, index, planes[0], planes[1], step, whole, corner, doubt)


def _around(found: NDArray[np.bool_], across: int, step: float) -> slice:
    """The range of rows or columns of a mask, with a margin."""
    there = np.flatnonzero(found.any(axis=across))
    margin = int(np.ceil(MARGIN_MM / step))
    return slice(max(0, int(there[0]) - margin), int(there[-1]) + 1 + margin)


def drawn(
    plane: Cut,
    scale: float,
    labels: Sequence[Label],
    colours: Sequence[tuple[int, int, int]],
    style: str,
    zoom: float = 1.0,
) -> Picture:
    """Draw a plane with its labels.

    Args:
        plane: The plane.
        scale: Pixels per millimetre.
        labels: The labels to draw, later ones above earlier ones.
        colours: Their colours, RGB.
        style: ``image``: no labels; ``contour``: lines; ``overlay``: fill and lines; ``heatmap``: uncertainty, and
            thin lines.
        zoom: Width of lines; 1 for a picture of 100 dots per inch.
    """
    from PIL import Image

    rows, columns = plane.size_mm
    size = max(1, round(columns * scale)), max(1, round(rows * scale))
    picture = Image.fromarray(np.ascontiguousarray(plane.grey)).resize(size, Image.Resampling.BICUBIC)
    canvas = np.repeat(np.asarray(picture, np.float32)[..., None], 3, axis=2)
    if style == "image":
        return Image.fromarray(canvas.astype(np.uint8))
    if style == "heatmap":
        _heat(canvas, plane, size)
    lines: list[tuple[NDArray[np.float32], tuple[int, int, int]]] = []
    for label, colour in zip(labels, colours, strict=True):
        mask = plane.labels == label.value
        if not mask.any():
            continue
        share = _enlarged(mask, size)
        if style == "overlay":
            _blend(canvas, np.clip(share, 0, 1) * FILL, colour)
        lines.append((_distance(share), colour))
    thin = style == "heatmap"
    for distance, _ in [] if thin else lines:
        _blend(canvas, 0.6 * np.clip((HALO * zoom + 1) / 2 - distance, 0, 1), (0, 0, 0))
    for distance, colour in lines:
        width, strength = (THIN, 0.7) if thin else (CONTOUR, 1.0)
        opacity = strength * np.clip((width * zoom + 1) / 2 - distance, 0, 1)
        _blend(canvas, opacity, (255, 255, 255) if thin else colour)
    return Image.fromarray(np.clip(canvas + 0.5, 0, 255).astype(np.uint8))


def _heat(canvas: NDArray[np.float32], plane: Cut, size: tuple[int, int]) -> None:
    """Blend the uncertainty over a darkened image, with the same scale for all cases; certain voxels stay grey."""
    from PIL import Image

    canvas *= 0.8
    if plane.uncertainty is None:
        return
    values = Image.fromarray(np.ascontiguousarray(plane.uncertainty)).resize(size, Image.Resampling.BILINEAR)
    share = np.asarray(values, np.float32) / 250
    opacity = np.clip(2 * share, 0, 1) * 0.9
    canvas += opacity[..., None] * (heat_colours(share) - canvas)


def heat_colours(share: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    """Colours of uncertainty, 0 to 1, (...) to (..., 3): nine colours of matplotlib's inferno, interpolated."""
    at = np.linspace(0, 1, len(INFERNO))
    channels = [np.interp(share, at, channel) for channel in np.transpose(INFERNO)]
    return np.stack(channels, axis=-1).astype(np.float32)


def _enlarged(mask: NDArray[np.bool_], size: tuple[int, int]) -> NDArray[np.float32]:
    """Interpolate a mask to pixels, (rows, columns); its edge is at 0.5, and outside is 0."""
    from PIL import Image

    rows, columns = mask.shape
    box = (1.0, 1.0, columns + 1.0, rows + 1.0)
    padded = Image.fromarray(np.pad(mask, 1).astype(np.float32))
    return np.asarray(padded.resize(size, Image.Resampling.BICUBIC, box=box), np.float32)


def _distance(share: NDArray[np.float32]) -> NDArray[np.float32]:
    """Distance of each pixel to the contour at 0.5, in pixels, to first order: |f - 0.5| / |grad f|."""
    slopes = [np.gradient(share, axis=axis) if share.shape[axis] > 1 else np.zeros_like(share) for axis in (0, 1)]
    slope = np.hypot(slopes[0], slopes[1])
    distance: NDArray[np.float32] = np.abs(share - 0.5) / np.maximum(slope, 1e-3)
    return distance


def _blend(canvas: NDArray[np.float32], opacity: NDArray[np.float32], colour: tuple[int, int, int]) -> None:
    canvas += opacity[..., None] * (np.asarray(colour, np.float32) - canvas)


def mark(picture: Picture, plane: Cut, scale: float, position: str, zoom: float = 1.0) -> None:
    """Draw name, position, sides and a bar of 10 mm into a plane.

    Args:
        picture: The picture of the plane.
        plane: The plane.
        scale: Pixels per millimetre.
        position: Its position, as text.
        zoom: Size of the letters; 1 for a picture of 100 dots per inch.
    """
    from PIL import ImageDraw

    draw = ImageDraw.Draw(picture)
    width, height = picture.size
    small, normal = round(13 * zoom), round(14 * zoom)
    name = f"{NAMES[plane.axis]} {position}"
    _text(draw, (6 * zoom, 4 * zoom), name, small)
    left, right, top, bottom = SIDES[plane.axis]
    _text(draw, (6 * zoom, height / 2 - 8 * zoom), left, normal)
    _text(draw, (width - 16 * zoom, height / 2 - 8 * zoom), right, normal)
    below = font(small).getlength(name) + 20 * zoom > width / 2
    _text(draw, (width / 2 - 5 * zoom, (22 if below else 4) * zoom), top, normal)
    _text(draw, (width / 2 - 5 * zoom, height - 22 * zoom), bottom, normal)
    bar = round(10 * scale)
    if bar < width // 2:
        edge, floor = width - 8 * zoom, height - 8 * zoom
        draw.rectangle((edge - bar - 1, floor - 3 * zoom, edge + 1, floor + 1), fill=SHADOW)
        draw.rectangle((edge - bar, floor - 2 * zoom, edge, floor), fill=TEXT)
        words = round(12 * zoom)
        _text(draw, (edge - max(bar, font(words).getlength("10 mm")), height - 28 * zoom), "10 mm", words)


def inset(picture: Picture, plane: Cut, grey: NDArray[np.uint8]) -> None:
    """Draw the whole plane into a corner, with a frame around the part that is shown."""
    from PIL import Image, ImageDraw

    rows_mm, columns_mm = plane.whole
    scale = min(picture.width, picture.height) * 0.26 / max(rows_mm, columns_mm)
    size = max(1, round(columns_mm * scale)), max(1, round(rows_mm * scale))
    small = Image.fromarray(np.ascontiguousarray(grey)).resize(size, Image.Resampling.BICUBIC).convert("RGB")
    draw = ImageDraw.Draw(small)
    top, left = (mm * scale for mm in plane.corner)
    height, width = (mm * scale for mm in plane.size_mm)
    draw.rectangle(
        (left, top, min(left + width, size[0] - 1), min(top + height, size[1] - 1)), outline=(255, 210, 60)
    )
    draw.rectangle((0, 0, size[0] - 1, size[1] - 1), outline=(120, 124, 130))
    picture.paste(small, (4, picture.height - size[1] - 4))


def colours_of(labels: Sequence[Label]) -> list[tuple[int, int, int]]:
    """Choose colours of labels: those of the label table, unless they are default colours or greys.

    Greys, and default colours of up to seven labels, are replaced by those of Okabe and Ito, which can be
    distinguished by colour-blind people.
    """
    plain = len(labels) <= len(OKABE_ITO) and all(label.color == default_color(label.value) for label in labels)
    colours = []
    for number, label in enumerate(labels):
        grey = max(label.rgb) - min(label.rgb) < GREY
        code = OKABE_ITO[number % len(OKABE_ITO)] if plain or grey else label.color
        colours.append((int(code[1:3], 16), int(code[3:5], 16), int(code[5:7], 16)))
    return colours


def _text(draw: Any, place: tuple[float, float], text: str, size: int) -> None:
    draw.text(place, text, TEXT, font=font(size), stroke_width=2, stroke_fill=SHADOW)
