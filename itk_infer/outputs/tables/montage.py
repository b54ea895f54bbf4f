"""``montage.png``: the pictures of a folder side by side, the most doubtful first."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from itk_infer.files.commit import new_file
from itk_infer.outputs.drawing.words import drawable
from itk_infer.outputs.tables.table import CaseRow, FolderView, Table

MONTAGE = "montage.png"
TILE, HEAD, GAP, PER_ROW = 360, 22, 8, 6
MOST = 60  # pictures in one montage
BACKGROUND, TEXT = (16, 18, 22), (235, 238, 242)


def tables(view: FolderView) -> dict[str, Table]:
    """The montage of a folder, by file name."""
    rows = sorted(view.rows, key=_sort_key)
    shown = rows[:MOST]
    content = [[row.file, row.soft_dice, row.picture, row.picture_sha256] for row in shown], len(rows)
    return {MONTAGE: Table(content, lambda path: write_montage(path, shown, len(rows)))}


def _sort_key(row: CaseRow) -> tuple[float, str]:
    known = row.soft_dice is not None and math.isfinite(row.soft_dice)
    return row.soft_dice if known and row.soft_dice is not None else math.inf, row.file


def write_montage(path: Path, rows: Sequence[CaseRow], cases: int) -> None:
    """Write the montage beside the pictures.

    Args:
        path: File to write, in the output folder.
        rows: The cases, in order; one whose picture is missing has an empty tile.
        cases: Of the whole folder.

    Raises:
        OutputError: the file cannot be written.
    """
    from PIL import Image, ImageDraw, ImageFont

    tiles = []
    for row in rows:
        picture = path.parent / row.picture
        small = None
        if row.picture and picture.is_file():
            with Image.open(picture) as whole:
                small = whole.convert("RGB")
                small.thumbnail((TILE, TILE))
        tiles.append((row, small))
    columns = min(PER_ROW, max(1, len(tiles)))
    lines = [tiles[start : start + columns] for start in range(0, len(tiles), columns)]
    heights = [max(small.height if small else TILE // 3 for _, small in line) + HEAD for line in lines]
    size = columns * (TILE + GAP) + GAP, sum(heights) + GAP * (len(lines) + 2) + HEAD
    canvas = Image.new("RGB", size, BACKGROUND)
    pen, font = ImageDraw.Draw(canvas), ImageFont.load_default(14)
    several = f"the {len(rows)} most doubtful of {cases} masks" if len(rows) < cases else f"{cases} masks"
    pen.text((GAP, GAP), f"{several}, lowest soft Dice first", TEXT, font=font)
    top = GAP + HEAD
    for line, height in zip(lines, heights, strict=True):
        for number, (row, small) in enumerate(line):
            left = GAP + number * (TILE + GAP)
            certain = "" if row.soft_dice is None else f"{row.soft_dice:.2f}  "
            text = f"{certain}{drawable(row.file)}"
            pen.text((left, top), text if len(text) <= 44 else f"{text[:41]}...", TEXT, font=font)
            if small is None:
                pen.text((left, top + HEAD), "no picture", (150, 155, 162), font=font)
            else:
                canvas.paste(small, (left, top + HEAD))
        top += height + GAP
    with new_file(path, track=True) as partial:
        canvas.save(partial, format="PNG", optimize=True)
