"""Names of image files; separate from the readers, so that searching a folder imports no NumPy."""

from __future__ import annotations

import os
from pathlib import Path

# One group per format, longer endings first; `itk_infer.volume.formats` has a reader for each.
NIFTI = (".nii.gz", ".nii")
METAIMAGE = (".mha", ".mhd")
NRRD = (".nrrd", ".nhdr")
SUFFIXES = (*NIFTI, *METAIMAGE, *NRRD)


def split_suffix(name: str) -> tuple[str, str]:
    """Stem and lower-case suffix of an image name; the suffix is empty if it belongs to no format.

    Example:
        >>> split_suffix("a.b.NII.GZ")
        ('a.b', '.nii.gz')
    """
    for suffix in SUFFIXES:
        if name.lower().endswith(suffix) and len(name) > len(suffix):
            return name[: -len(suffix)], suffix
    return name, ""


def printable(path: Path | str) -> str:
    """A path or text for a message, with unprintable characters escaped."""
    text = os.fspath(path)
    return text if text.isprintable() else ascii(text)[1:-1]
