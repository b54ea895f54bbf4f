"""Pictures (PNG, JPEG, TIFF, BMP, WebP) and NumPy arrays, as volumes without a position in the patient."""

from __future__ import annotations

from pathlib import Path

from itk_infer.volume.formats.layout import Layout, check_spacing
from itk_infer.volume.grid import Grid
from itk_infer.volume.pictures import picture_header, spacing_file


def check_header(path: Path) -> Layout:
    """The layout of a picture: pages are planes along Z, and pixels have 1 mm unless a file states a spacing.

    Raises:
        InputError: the header is damaged, or describes an unsupported picture.
    """
    header, spacing = picture_header(path)
    check_spacing(path, spacing[::-1])
    size = header.pages, header.height, header.width
    return Layout(
        size=size,
        dtype=header.dtype,
        data_path=spacing_file(path) or path,
        encoding="other",
        grid=Grid(size, spacing, oriented=False),
        channels=header.channels,
    )
