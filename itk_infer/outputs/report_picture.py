"""One page per case, as a picture: planes with contours, volumes, reasons for review, model and versions."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from itk_infer.outputs.drawing.case import SeenCase, seen
from itk_infer.outputs.drawing.file import write_png
from itk_infer.outputs.drawing.planes import SHADOW, TEXT, drawn, mark
from itk_infer.outputs.drawing.words import drawable, fitting, font, wrapped
from itk_infer.outputs.sink import FinishedCase, OutputHeader
from itk_infer.spec import Label

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

WIDTH, HEIGHT = 1060, 760
EDGE, PLANES, PANEL, LINE = 20, 66, 328, 18
TABLE, FOOT, RIGHT = 424, 30, 640  # top of the table, height of the foot, left of the remarks
AMBER, DIM, RED = (255, 190, 70), (165, 170, 178), (150, 24, 28)
RESEARCH = "Research use only, not for diagnosis"
CONVENTION = "radiological view: the patient's right is on the left"
SIDE = re.compile(r"\b(left|right)\b", re.IGNORECASE)
BRACKETS = re.compile(r"[(\[]\s*[)\]]")  # that held the side
Colour = tuple[int, int, int]
COLUMNS = {"": (410, "ml"), "voxels": (500, "voxels"), "confidence": (590, "confidence")}  # right edges


@dataclass(frozen=True, slots=True)
class Row:
    """One structure of the table.

    Attributes:
        name: Name of the structure, without its side.
        labels: Labels by side: ``left``, ``right``, or an empty text for a structure without sides.
    """

    name: str
    labels: dict[str, Label]


class ReportPictureOutput:
    """Draws the page of a case after its label map is finished; see `CaseOutput`.

    Args:
        path: PNG to write, ``<case>.report.png``.
        header: Header of the case, with its image.
    """

    def __init__(self, path: Path, header: OutputHeader) -> None:
        self._path = path

    def commit(self, case: FinishedCase) -> Path:
        """See `CaseOutput.commit`."""
        from PIL import Image

        page = Image.fromarray(
            report_picture(case, self._path.name.removesuffix(".report.png"), time=datetime.now(UTC))
        )
        write_png(page, self._path, track=case.header.track)
        return self._path

    def abort(self) -> None:
        """Nothing to undo: before the commit there is no file, and a commit that fails leaves none."""


def report_picture(
    case: FinishedCase,
    title: str,
    *,
    identity: Sequence[str] = (),
    source: str = "",
    time: datetime | None = None,
) -> NDArray[np.uint8]:
    """Draw the page of a case.

    Up to three planes (axial, coronal, sagittal), each through the largest section of the labels, with contours in
    the colours of the label table; volume, voxels and confidence of each structure, both sides in one row; doubts;
    model and versions.

    Args:
        case: The case, with its image.
        title: First line.
        identity: Texts about patient and study for the second line; empty: none.
        source: Description of the image, such as that of its series; empty: not stated.
        time: Time of the result; None: not stated.

    Returns:
        RGB, (760, 1060, 3) as (rows, columns, colours).

    Raises:
        RuntimeError: the case came without its image.
    """
    from PIL import Image, ImageDraw

    shown = seen(case)
    page = Image.new("RGB", (WIDTH, HEIGHT), SHADOW)
    pen = ImageDraw.Draw(page)
    _text(pen, (EDGE, 10), title, 20, TEXT, WIDTH - 2 * EDGE)
    _text(pen, (EDGE, 38), "   ".join(identity) or CONVENTION, 14, DIM, WIDTH - 2 * EDGE)
    _paste_planes(page, shown)
    if identity:
        _text(pen, (EDGE, TABLE - 22), CONVENTION, 12, DIM, WIDTH)
    _draw_table(pen, case, shown)
    _draw_remarks(pen, case, source, time)
    pen.rectangle((0, HEIGHT - FOOT, WIDTH, HEIGHT), fill=RED)
    pen.text((EDGE, HEIGHT - FOOT + 6), RESEARCH, (255, 255, 255), font=font(16))
    return np.asarray(page).copy()


def table_of(labels: Sequence[Label]) -> list[Row]:
    """Group the label table by structure: names that differ only in the words left and right share a row."""
    rows: dict[str, Row] = {}
    for label in labels:
        words = SIDE.findall(label.name.replace("_", " "))
        name, side = label.name, ""
        if len(words) == 1:
            side = words[0].lower()
            name = " ".join(BRACKETS.sub(" ", SIDE.sub(" ", label.name.replace("_", " "))).split()).strip(" ,-")
        key = f"{'sided' if side else 'whole'} {name or label.name}"
        row = rows.get(key)
        if row is None or side in row.labels:  # the same name twice: apart
            key = key if row is None else f"{key} {label.value}"
            row = rows[key] = Row(name or label.name, {})
        row.labels[side] = label
    return list(rows.values())


def _paste_planes(page: Picture, shown: SeenCase) -> None:
    cuts = [shown.cut(shown.largest_section(axis)) for axis in shown.axes]
    gap = EDGE // 2
    scale = min(
        PANEL / max(plane.size_mm[0] for plane in cuts),
        (WIDTH - 2 * EDGE - gap * (len(cuts) - 1)) / sum(plane.size_mm[1] for plane in cuts),
    )
    colours = [label.rgb for label in shown.present]
    left = EDGE
    for plane in cuts:
        panel = drawn(plane, scale, shown.present, colours, "contour")
        number = f"{shown.position(plane)}, plane {plane.index + 1}/{shown.labels.shape[plane.axis]}"
        mark(panel, plane, scale, number)
        page.paste(panel, (left, PLANES + (PANEL - panel.height) // 2))
        left += panel.width + gap


def _draw_table(pen: Any, case: FinishedCase, shown: SeenCase) -> None:
    rows, counts = table_of(case.header.labels), _counts(case)
    voxel_ml = case.header.grid.voxel_volume_ml
    sided = any("left" in row.labels or "right" in row.labels for row in rows)
    room = (HEIGHT - FOOT - TABLE - 12) // LINE - 2  # less the heading and the sum
    shortened = rows
    if len(rows) > room:
        largest = sorted(rows, key=lambda row: -sum(counts[label.value] for label in row.labels.values()))
        kept = {id(row) for row in largest[: room - 1]}
        shortened = [row for row in rows if id(row) in kept]
    sides = {"right": 270, "left": 335} if sided else {}
    columns = {**{side: (right, f"{side} ml") for side, right in sides.items()}, **COLUMNS}
    top = TABLE
    pen.text((EDGE + 20, top), "structure", DIM, font=font(13))
    for right, word in columns.values():
        _right(pen, right, top, word, DIM)
    for row in shortened:
        top += LINE
        labels = [row.labels[side] for side in ("right", "left", "") if side in row.labels]
        for number, label in enumerate(labels):
            pen.rectangle((EDGE + 9 * number, top + 3, EDGE + 9 * number + 7, top + 13), fill=label.rgb)
        _text(pen, (EDGE + 20, top), _named(row), 13, TEXT, 180)
        voxels = sum(counts[label.value] for label in labels)
        volumes = {"": voxels, **{side: counts[label.value] for side, label in row.labels.items() if side}}
        for side, count in volumes.items():
            words, colour = (f"{count * voxel_ml:.4g}", TEXT) if count else ("not found", AMBER)
            _right(pen, columns[side][0], top, words, colour)
        _right(pen, columns["voxels"][0], top, f"{voxels:,}", TEXT)
        sure = [value for label in labels if (value := case.confidence.get(label.value)) is not None]
        if sure:
            _right(pen, columns["confidence"][0], top, f"{min(sure):.2f}", TEXT)
    top += LINE
    if len(shortened) < len(rows):
        _text(pen, (EDGE + 20, top), f"and {len(rows) - len(shortened)} smaller structures", 13, DIM, 300)
        top += LINE
    total = sum(counts.values())
    _text(pen, (EDGE + 20, top), f"all: {total * voxel_ml:.4g} ml, {total:,} voxels", 13, DIM, 400)


def _named(row: Row) -> str:
    """The name of a structure, with its values if the name cannot be drawn in full."""
    name = drawable(row.name)
    if "?" not in name or "?" in row.name:
        return name
    return f"{name} (label {', '.join(str(label.value) for label in row.labels.values())})"


def _counts(case: FinishedCase) -> dict[int, int]:
    highest = max((label.value for label in case.header.labels), default=0)
    counts = np.bincount(case.labels.ravel(), minlength=highest + 1)
    return {label.value: int(counts[label.value]) for label in case.header.labels}


def _draw_remarks(pen: Any, case: FinishedCase, source: str, time: datetime | None) -> None:
    about = case.header.about
    model = " ".join(filter(None, (about.get("model", ""), about.get("model_version", ""))))
    lines = [
        ("source", source),
        ("model", model or "unnamed"),
        ("SHA-256", about.get("model_sha256", "")[:32]),
        ("program", f"itk_infer {about.get('itk_infer', '')}".strip()),
        ("made", "" if time is None else time.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")),
    ]
    top = TABLE
    for name, words in lines:
        if words:
            pen.text((RIGHT, top), name, DIM, font=font(13))
            _text(pen, (RIGHT + 66, top), words, 13, TEXT, WIDTH - RIGHT - 66 - EDGE)
            top += LINE
    top += LINE // 2
    doubts = [line for doubt in case.doubts for line in wrapped(drawable(doubt), 13, WIDTH - RIGHT - EDGE)]
    room = (HEIGHT - FOOT - 12 - top) // LINE - 1
    verdict, colour = ("to be looked at", AMBER) if doubts else ("nothing unusual was noticed", DIM)
    pen.text((RIGHT, top), verdict, colour, font=font(14))
    for line in doubts if len(doubts) <= room else [*doubts[: room - 1], "and more"]:
        top += LINE
        pen.text((RIGHT, top), line, AMBER, font=font(13))


def _text(pen: Any, place: tuple[int, int], words: str, size: int, colour: Colour, width: int) -> None:
    pen.text(place, fitting(drawable(words), size, width), colour, font=font(size))


def _right(pen: Any, right: int, top: int, words: str, colour: Colour) -> None:
    pen.text((right - font(13).getlength(words), top), words, colour, font=font(13))
