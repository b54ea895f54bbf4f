"""Names of image files; separate from the readers, so that searching a folder imports no NumPy."""

from __future__ import annotations

import os
from pathlib import Path

from itk_infer.volume.formats import FORMATS, format_of

UNCERTAINTY = ".uncertainty.nii.gz"  # ending of maps of uncertainty, which are not label maps
SUFFIXES = tuple(suffix for form in FORMATS for suffix in form.suffixes)


def split_suffix(name: str) -> tuple[str, str]:
    """Stem and lower-case suffix of an image name; the suffix is empty if it belongs to no format.

    Example:
        >>> split_suffix("a.b.NII.GZ")
        ('a.b', '.nii.gz')
    """
    form = format_of(name)
    return (name, "") if form is None else form.split(name)


def is_picture(name: str) -> bool:
    """Whether a name has the ending of a picture or an array, which have no position in the patient."""
    form = format_of(name)
    return form is not None and form.picture


def printable(path: Path | str) -> str:
    """A path or text for a message, with unprintable characters escaped."""
    text = os.fspath(path)
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)
