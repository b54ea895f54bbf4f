"""One panel per explained image: the image, its overlays, bars of the probabilities, and notes on the model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from itk_infer.model.saliency.maps import resized
from itk_infer.volume.names import printable

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

NO_LOCALISER: Final = "Shows what the answer depends on; it does not locate findings, and is no diagnosis."
SIDE, GAP, TITLE, LINE = 340, 12, 52, 19  # pixels
MOST_BARS: Final = 12
OPACITY: Final = 0.65  # opacity of the overlay where the map is 1
PAPER, INK, FAINT, BAR, MARKED = (16, 18, 22), (235, 238, 242), (150, 155, 162), (86, 180, 233), (230, 159, 0)


@dataclass(frozen=True, slots=True)
class LabelBar:
    """One bar of the chart of probabilities.

    Attributes:
        name: Name of the label.
        probability: 0 to 1.
        threshold: The label is positive from this probability on.
        std: Standard deviation over the members of an ensemble; None for a single network.
        explained: Whether this is the explained label.
    """

    name: str
    probability: float
    threshold: float
    std: float | None = None
    explained: bool = False


@dataclass(frozen=True, slots=True)
class Panel:
    """Contents of one panel.

    Attributes:
        title: Two lines: the image, and the explained label.
        image: (rows, columns) or (rows, columns, 3), values 0 to 1.
        overlays: Maps by title, (h, w), values 0 to 1, each over the whole image.
        bars: In the order of the model's labels.
        lines: Text below: the model, and how maps and bars were computed.
    """

    title: tuple[str, str]
    image: NDArray[np.float32]
    overlays: Sequence[tuple[str, NDArray[np.float32]]]
    bars: Sequence[LabelBar]
    lines: Sequence[str]


def draw_panel(panel: Panel) -> Picture:
    """Draw a panel: image, one overlay per map, bars; text above and below."""
    from PIL import Image, ImageDraw

    image = _scaled(panel.image)
    fields = [("image", image), *((name, _overlay(image, values)) for name, values in panel.overlays)]
    width = (SIDE + GAP) * (len(fields) + 1) + GAP
    lines = [line for text in (*panel.lines, NO_LOCALISER) for line in _wrapped(text, width - 2 * GAP)]
    height = TITLE + SIDE + LINE + GAP + LINE * len(lines) + GAP
    canvas = Image.new("RGB", (width, height), PAPER)
    pen = ImageDraw.Draw(canvas)
    for row, text in enumerate(panel.title):
        pen.text(
            (GAP, 7 + row * 21), _short(printable(text), width - 2 * GAP, 15 - row), INK, font=_font(15 - row)
        )
    for index, (name, field) in enumerate(fields):
        start = GAP + index * (SIDE + GAP)
        left, top = start + (SIDE - field.shape[1]) // 2, TITLE + (SIDE - field.shape[0]) // 2
        canvas.paste(Image.fromarray(field), (left, top))
        _stamp(canvas, (start, TITLE + SIDE + 2), _short(printable(name), SIDE, 13), FAINT)
    _bars(canvas, pen, GAP + len(fields) * (SIDE + GAP), panel.bars)
    for row, line in enumerate(lines):
        colour = INK if row >= len(lines) - 1 else FAINT
        _stamp(canvas, (GAP, TITLE + SIDE + LINE + GAP + row * LINE), line, colour)
    return canvas


def _scaled(image: NDArray[np.float32]) -> NDArray[np.uint8]:
    """The image as RGB, its longer side resized to `SIDE` pixels."""
    from PIL import Image

    grey = (np.clip(np.nan_to_num(image), 0, 1) * 255 + 0.5).astype(np.uint8)
    picture = Image.fromarray(grey).convert("RGB")
    scale = SIDE / max(picture.size)
    size = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
    return np.asarray(picture.resize(size, Image.Resampling.BILINEAR))


def _overlay(image: NDArray[np.uint8], values: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Blend the colours of a map over the image, with an opacity that grows with the map's value."""
    from PIL import Image

    map_ = np.clip(resized(values, (image.shape[0], image.shape[1])), 0, 1)
    colours = Image.fromarray(_jet()[(map_ * 255 + 0.5).astype(np.uint8)])
    opacity = Image.fromarray((map_ * (255 * OPACITY) + 0.5).astype(np.uint8))
    return np.asarray(Image.composite(colours, Image.fromarray(image), opacity))


@cache
def _jet() -> NDArray[np.uint8]:
    """A table (256, 3) of colours from blue over green and yellow to red."""
    ramp = np.linspace(0, 1, 256)[:, None]
    centres = np.array([0.75, 0.5, 0.25])
    colours: NDArray[np.uint8] = (np.clip(1.5 - np.abs(ramp - centres) * 4, 0, 1) * 255 + 0.5).astype(np.uint8)
    return colours


def _bars(canvas: Picture, pen: Any, left: int, bars: Sequence[LabelBar]) -> None:
    """Bars from 0 to 1; a line at the threshold, a thin line for the standard deviation."""
    order = sorted(range(len(bars)), key=lambda i: (not bars[i].explained, -bars[i].probability))[:MOST_BARS]
    shown = [bars[index] for index in sorted(order)]
    step = min(52, SIDE // max(1, len(shown)))
    for row, bar in enumerate(shown):
        top = TITLE + row * step
        colour = MARKED if bar.explained else BAR
        value = f"{bar.probability:.3f}" + ("" if bar.std is None else f" ± {bar.std:.3f}")
        room = SIDE - _font(13).getlength(value) - 8
        _stamp(canvas, (left, top), _short(printable(bar.name), room, 13), INK)
        pen.text((left + SIDE - _font(13).getlength(value), top), value, INK, font=_font(13))
        top += 17
        deep = max(3, min(10, step - 20))
        pen.rectangle((left, top, left + SIDE - 1, top + deep), outline=(70, 74, 80))
        pen.rectangle((left, top, left + round(bar.probability * (SIDE - 1)), top + deep), fill=colour)
        if bar.std is not None:
            ends = [left + min(max(bar.probability + s * bar.std, 0), 1) * (SIDE - 1) for s in (-1, 1)]
            pen.line((ends[0], top + deep / 2, ends[1], top + deep / 2), fill=INK)
        mark = left + bar.threshold * (SIDE - 1)
        pen.line((mark, top - 2, mark, top + deep + 2), fill=INK, width=2)
    more = len(bars) - len(shown)
    text = f"probabilities, 0 to 1{f'; {more} more in the tables' if more else ''}"
    _stamp(canvas, (left, TITLE + SIDE + 2), text, FAINT)


def _stamp(canvas: Picture, place: tuple[int, int], text: str, colour: tuple[int, int, int]) -> None:
    """Write a text that comes in many panels."""
    canvas.paste(colour, place, _stencil(text))


@lru_cache(maxsize=256)
def _stencil(text: str) -> Picture:
    """A text as opacities; drawing one takes more time than all else in a panel of one method."""
    from PIL import Image, ImageDraw

    _, _, right, bottom = _font(13).getbbox(text)
    stencil = Image.new("L", (max(1, int(right) + 1), max(1, int(bottom) + 1)))
    ImageDraw.Draw(stencil).text((0, 0), text, 255, font=_font(13))
    return stencil


def _short(text: str, room: float, size: int) -> str:
    """The text, shortened in the middle if it is wider than `room` pixels."""
    if _font(size).getlength(text) <= room:
        return text
    keep = len(text)
    while keep > 2 and _font(size).getlength(text[: keep // 2] + "…" + text[-(keep - keep // 2) :]) > room:
        keep -= max(1, keep // 16)
    return text[: keep // 2] + "…" + text[-(keep - keep // 2) :]


@cache
def _wrapped(text: str, room: float) -> tuple[str, ...]:
    """Split text into lines at spaces."""
    lines, line = [], ""
    for word in printable(text).split():
        longer = f"{line} {word}".strip()
        if line and _font(13).getlength(longer) > room:
            lines.append(line)
            longer = word
        line = longer
    return (*lines, line)


@cache
def _font(size: int) -> Any:
    from PIL import ImageFont

    return ImageFont.load_default(size)
