"""``coco.json`` and ``coco-polygons.json``: the labels of all pictures of a folder as objects in COCO's format.

https://cocodataset.org/#format-data; an object is a connected component (8 neighbours) of a label.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from itk_infer.files.commit import write_bytes
from itk_infer.files.stamp import sha256_of
from itk_infer.outputs.tables.table import CaseRow, FolderView, Table
from itk_infer.spec import Label
from itk_infer.volume.components import components
from itk_infer.volume.names import is_picture
from itk_infer.volume.outlines import outlines
from itk_infer.volume.pictures import read_label_picture

COCO, POLYGONS = "coco.json", "coco-polygons.json"
LOSES_HOLES = (
    "Polygons lose the holes of objects; the areas are those of the masks. coco.json has the masks themselves."
)
Segmentation = Callable[[NDArray[np.bool_], tuple[int, int], tuple[int, int]], Any]


def tables(view: FolderView) -> dict[str, Table]:
    """The masks of a folder as run lengths, by file name."""
    return {COCO: _table(view, run_lengths, "")}


def polygon_tables(view: FolderView) -> dict[str, Table]:
    """The masks of a folder as polygons, by file name."""
    return {POLYGONS: _table(view, polygons, LOSES_HOLES)}


def document(
    folder: Path, rows: Sequence[CaseRow], labels: Sequence[Label], segmentation: Segmentation, note: str
) -> dict[str, Any]:
    """Make the document of a folder.

    Args:
        folder: Output folder, where the masks are.
        rows: The cases of the folder that have a mask and are pictures.
        labels: The label table.
        segmentation: Encodes an object: takes its mask in its box, the box's corner and the picture's size (Y, X).
        note: A sentence for the description.

    Raises:
        InputError: a mask cannot be read.
    """
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for row, number, page in _pages(folder, rows):
        image = {"id": len(images) + 1, "file_name": row.file, "height": page.shape[0], "width": page.shape[1]}
        images.append(image if number is None else {**image, "page": number})
        for value, box, mask in components(page[None]).each():
            (_, y, x), inside = (side.start for side in box), mask[0]
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image["id"],
                    "category_id": value,
                    "segmentation": segmentation(inside, (y, x), (page.shape[0], page.shape[1])),
                    "area": int(np.count_nonzero(inside)),
                    "bbox": [x, y, inside.shape[1], inside.shape[0]],
                    "iscrowd": 0,
                }
            )
    return {
        "info": {"description": f"Masks by itk_infer. {note}".strip()},
        "categories": [{"id": label.value, "name": label.name} for label in labels],
        "images": images,
        "annotations": annotations,
    }


def run_lengths(mask: NDArray[np.bool_], corner: tuple[int, int], size: tuple[int, int]) -> dict[str, Any]:
    """Encode a mask as COCO's compressed run lengths."""
    from pycocotools.mask import encode

    whole = np.zeros(size, np.uint8, order="F")
    y, x = corner
    whole[y : y + mask.shape[0], x : x + mask.shape[1]] = mask
    packed = encode(whole)
    return {"size": list(size), "counts": packed["counts"].decode("ascii")}


def polygons(mask: NDArray[np.bool_], corner: tuple[int, int], size: tuple[int, int]) -> list[list[int]]:
    """Encode a mask as outlines, each as x, y, x, y, ..."""
    y0, x0 = corner
    return [[n for x, y in outline for n in (x + x0, y + y0)] for outline in outlines(mask)]


def _table(view: FolderView, segmentation: Segmentation, note: str) -> Table:
    labels = next(iter(view.schemes.values()), ())
    rows = sorted((row for row in view.rows if row.mask and is_picture(row.mask)), key=lambda row: row.file)

    def write(path: Path) -> None:
        content = document(path.parent, rows, labels, segmentation, note)
        write_bytes(json.dumps(content).encode("utf-8"), path, track=True)

    content = (
        [[row.file, row.mask, _digest(view.folder, row.mask)] for row in rows],
        [[label.value, label.name] for label in labels],
    )
    return Table(content, write)


def _digest(folder: Path | None, mask: str) -> str:
    path = (folder or Path()) / mask
    return sha256_of(path) if path.is_file() else ""


def _pages(folder: Path, rows: Sequence[CaseRow]) -> Iterator[tuple[CaseRow, int | None, NDArray[Any]]]:
    """Yield each page of each mask, with its number if there are several."""
    for row in rows:
        path = folder / row.mask
        if not path.is_file():
            continue
        pages = read_label_picture(path)
        for number, page in enumerate(pages):
            yield row, None if len(pages) == 1 else number, page
