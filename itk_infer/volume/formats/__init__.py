"""Image formats. Each checks its own header; adding one means one file here and one entry in FORMATS."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from itk_infer.volume.formats import metaimage, nifti, nrrd
from itk_infer.volume.formats.layout import Layout
from itk_infer.volume.names import METAIMAGE, NIFTI, NRRD


@dataclass(frozen=True, slots=True)
class Format:
    """A file format.

    Attributes:
        suffixes: Lower-case endings of its files, longer ones first.
        image_io: Name of SimpleITK's reader, whose size is compared with the header's; None where the header
            is unambiguous.
        check_header: Parses and checks the header of a file; raises InputError.
    """

    suffixes: tuple[str, ...]
    image_io: str | None
    check_header: Callable[[Path], Layout]


FORMATS = (
    Format(NIFTI, None, nifti.check_header),
    Format(METAIMAGE, "MetaImageIO", metaimage.check_header),
    Format(NRRD, "NrrdImageIO", nrrd.check_header),
)
