"""Label maps drawn over their images: three planes per case, for a quick check."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from itk_infer.files.commit import new_file
from itk_infer.spec import Label

if TYPE_CHECKING:
    import SimpleITK as sitk
    from PIL.Image import Image

PANEL = 380  # pixels of the longer side of a plane
MARGIN = 16
CAPTION = 58
BACKGROUND, TEXT = (16, 18, 22), (235, 238, 242)


@dataclass(frozen=True, slots=True)
class Drawn:
    """One row of the picture.

    Attributes:
        title: Large text above the planes.
        image: The scan.
        labels: Its label map, in any orientation, over the same voxels.
        notes: One short text per label, in its colour.
    """

    title: str
    image: sitk.Image
    labels: sitk.Image
    notes: tuple[tuple[Label, str], ...]


def draw_cases(path: Path, cases: Sequence[Drawn]) -> None:
    """Draw one row per case: the axial, coronal and sagittal planes with most labelled voxels, with contours.

    Planes are shown as radiologists see them: the patient's right on the left, superior up.

    Args:
        path: PNG to write.
        cases: The rows.

    Raises:
        OutputError: the file cannot be written.
    """
    from PIL import Image, ImageDraw

    rows = [_planes(case) for case in cases]
    width = max(sum(plane.width for plane in row) + MARGIN * (len(row) + 1) for row in rows)
    height = sum(max(plane.height for plane in row) + CAPTION + MARGIN for row in rows) + MARGIN
    canvas = Image.new("RGB", (width, height), BACKGROUND)
    draw = ImageDraw.Draw(canvas)
    top = MARGIN
    for case, row in zip(cases, rows, strict=True):
        _caption(draw, case, top)
        left = MARGIN
        tallest = max(plane.height for plane in row)
        for name, plane in zip(("axial", "coronal", "sagittal"), row, strict=True):
            middle = top + CAPTION + (tallest - plane.height) // 2
            canvas.paste(plane, (left, middle))
            draw.text((left + 9, middle + 7), name, TEXT, font=_font(14), stroke_width=2, stroke_fill=BACKGROUND)
            left += plane.width + MARGIN
        top += CAPTION + tallest + MARGIN
    with new_file(path) as partial:
        canvas.save(partial, format="PNG", optimize=True)


def _caption(draw: Any, case: Drawn, top: int) -> None:
    draw.text((MARGIN, top), case.title, TEXT, font=_font(20))
    left = MARGIN
    for label, note in case.notes:
        text = f"{label.name}  {note}"
        draw.rectangle((left, top + 35, left + 10, top + 45), fill=label.rgb)
        draw.text((left + 17, top + 30), text, TEXT, font=_font(15))
        left += 17 + int(draw.textlength(text, font=_font(15))) + 26


def _font(size: int) -> Any:
    from PIL import ImageFont

    return ImageFont.load_default(size)


def _planes(case: Drawn) -> list[Image]:
    import SimpleITK as sitk

    # In LPS an axial array has the patient's right on the left and anterior on top.
    image, labels = (sitk.DICOMOrient(item, "LPS") for item in (case.image, case.labels))
    voxels, values = sitk.GetArrayFromImage(image).astype(np.float32), sitk.GetArrayFromImage(labels)
    low, high = np.percentile(voxels, (1, 99.5))
    grey = np.clip((voxels - low) / max(high - low, 1e-6) * 255, 0, 255).astype(np.uint8)
    x, y, z = image.GetSpacing()
    found = [int(np.argmax(np.count_nonzero(values, axis=tuple({0, 1, 2} - {axis})))) for axis in range(3)]
    table = [label for label, _ in case.notes]
    sizes = [(values.shape[1] * y, values.shape[2] * x), (values.shape[0] * z, values.shape[2] * x)]
    sizes.append((values.shape[0] * z, values.shape[1] * y))
    scale = PANEL / max(max(size) for size in sizes)
    planes = []
    for axis, (rows, columns) in enumerate(sizes):
        slices = [np.take(array, found[axis], axis) for array in (grey, values)]
        if axis:
            slices = [array[::-1] for array in slices]  # superior up
        size = (max(1, round(columns * scale)), max(1, round(rows * scale)))
        planes.append(_plane(slices[0], slices[1], size, table))
    return planes


def _plane(grey: NDArray[np.uint8], values: NDArray[Any], size: tuple[int, int], labels: Sequence[Label]) -> Image:
    """One plane, with a line round every label. Drawn at twice the size, for smooth lines."""
    from PIL import Image, ImageChops, ImageFilter

    twice = (2 * size[0], 2 * size[1])
    canvas = Image.fromarray(grey).resize(twice, Image.Resampling.BICUBIC).convert("RGB")
    for label in labels:
        share = Image.fromarray((values == label.value).astype(np.float32))
        smooth = np.asarray(share.resize(twice, Image.Resampling.BICUBIC)) > 0.5
        mask = Image.fromarray(smooth.astype(np.uint8) * 255)
        line = ImageChops.difference(mask.filter(ImageFilter.MaxFilter(3)), mask.filter(ImageFilter.MinFilter(5)))
        colour = Image.new("RGB", twice, label.rgb)
        canvas = Image.composite(Image.blend(canvas, colour, 0.22), canvas, mask)
        canvas = Image.composite(colour, canvas, line)
    return canvas.resize(size, Image.Resampling.LANCZOS)
