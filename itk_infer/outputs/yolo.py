"""Polygons of a picture's labels in the text format of YOLO: a line per part, ``class x1 y1 x2 y2 ...``."""

from __future__ import annotations

from pathlib import Path

from itk_infer.files.commit import write_bytes
from itk_infer.outputs.sink import FinishedCase, OutputHeader
from itk_infer.volume.outlines import outlines


class YoloOutput:
    """See `CaseOutput`. Classes are numbered from 0 in the order of the label table.

    Corners are fractions of width and height. Polygons have no holes: pixels in holes become part of them.

    Args:
        path: Text file to write.
        header: Header of the case.
    """

    def __init__(self, path: Path, header: OutputHeader) -> None:
        self._path = path
        self._header = header

    def commit(self, case: FinishedCase) -> Path:
        """See `CaseOutput.commit`."""
        page = case.labels[0]
        height, width = page.shape
        lines = []
        for number, label in enumerate(self._header.labels):
            for polygon in outlines(page == label.value):
                corners = " ".join(f"{x / width:.6f} {y / height:.6f}" for x, y in polygon)
                lines.append(f"{number} {corners}\n")
        write_bytes("".join(lines).encode("ascii"), self._path, track=self._header.track)
        return self._path

    def abort(self) -> None:
        """Nothing to undo: before the commit there is no file, and a commit that fails leaves none."""
