"""``montage.png``: the pictures of a folder side by side, the most doubtful first."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from itk_infer.files.commit import new_file
from itk_infer.outputs.drawing.file import part_of
from itk_infer.outputs.drawing.words import drawable, fitting
from itk_infer.outputs.tables.table import CaseRow, FolderView, Table

MONTAGE = "montage.png"
HEAD, GAP, PER_ROW = 22, 8, 6
LARGEST, NARROWEST = (360, 480), 220  # largest width and height of a picture; smallest width, for its name
MOST = 60  # pictures in one montage
BACKGROUND, TEXT = (16, 18, 22), (235, 238, 242)
AMBER = (255, 190, 70)
COLOURS = {"accept": (120, 200, 255), "reject": (255, 130, 90)}  # colours of verdicts; others are amber


def tables(view: FolderView) -> dict[str, Table]:
    """The montage of a folder, by file name."""
    rows = sorted(view.rows, key=_sort_key)
    shown = rows[:MOST]
    content = [[row.file, row.certainty, row.word, row.picture, row.picture_sha256] for row in shown], len(rows)
    return {MONTAGE: Table(content, lambda path: write_montage(path, shown, len(rows)))}


def _sort_key(row: CaseRow) -> tuple[float, str]:
    return math.inf if row.certainty is None else row.certainty, row.file


def write_montage(path: Path, rows: Sequence[CaseRow], cases: int) -> None:
    """Write the montage beside the pictures.

    Args:
        path: File to write, in the output folder.
        rows: The cases, in order; cases without a picture get an empty tile.
        cases: Number of cases in the folder.

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
                small = part_of(whole).convert("RGB")
                small.thumbnail(LARGEST)
        tiles.append((row, small))
    columns = min(PER_ROW, max(1, len(tiles)))
    wide = max([NARROWEST, *(small.width for _, small in tiles if small)])
    lines = [tiles[start : start + columns] for start in range(0, len(tiles), columns)]
    heights = [max(small.height if small else 3 * HEAD for _, small in line) + HEAD for line in lines]
    size = columns * (wide + GAP) + GAP, sum(heights) + GAP * (len(lines) + 2) + HEAD
    canvas = Image.new("RGB", size, BACKGROUND)
    pen, font = ImageDraw.Draw(canvas), ImageFont.load_default(14)
    agreement = any(row.agreement is not None for row in rows)
    first = "lowest agreement of the members" if agreement else "lowest soft Dice"
    several = f"the {len(rows)} most doubtful of {cases} masks" if len(rows) < cases else f"{cases} masks"
    pen.text((GAP, GAP), f"{several}, {first} first", TEXT, font=font)
    top = GAP + HEAD
    for line, height in zip(lines, heights, strict=True):
        for number, (row, small) in enumerate(line):
            left = GAP + number * (wide + GAP)
            certain = "" if row.certainty is None else f"{row.certainty:.2f}  "
            word = f"{row.word}  " if row.word else ""
            pen.text((left, top), certain, TEXT, font=font)
            before = left + font.getlength(certain)
            pen.text((before, top), word, COLOURS.get(row.word, AMBER), font=font)
            before += font.getlength(word)
            pen.text((before, top), fitting(drawable(row.file), 14, left + wide - before), TEXT, font=font)
            if small is None:
                pen.text((left, top + HEAD), "no picture", (150, 155, 162), font=font)
            else:
                canvas.paste(small, (left, top + HEAD))
        top += height + GAP
    with new_file(path, track=True) as partial:
        canvas.save(partial, format="PNG", optimize=True)
