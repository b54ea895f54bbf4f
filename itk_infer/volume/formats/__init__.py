"""Supported image formats: one module here and one entry in FORMATS each. Imports nothing heavy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from itk_infer.volume.formats.layout import Layout

NIFTI = (".nii.gz", ".nii")
PICTURES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp", ".npy", ".npz")


@dataclass(frozen=True, slots=True)
class FileGroup:
    """Files of one folder that are one image.

    Attributes:
        stem: The image's name, without a suffix.
        path: The file that represents all of them; the format finds the others from it.
        problem: Reason why the image cannot be read; None if it can.
    """

    stem: str
    path: Path
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Format:
    """A file format.

    Attributes:
        suffixes: Lower-case endings of its files, longer ones first.
        header: ``module:function`` in `itk_infer.volume.formats`, called with a path: parses and checks a header,
            returns a `Layout`, and raises InputError.
        image_io: Name of SimpleITK's reader, whose size is compared with the header's; None if the header is
            unambiguous.
        grouping: ``module:function`` in the same package, called with all its files in one folder, sorted: returns
            a `FileGroup` per image. None: each file is an image.
        picture: Whether its files have no position in the patient, and may be in colour.
    """

    suffixes: tuple[str, ...]
    header: str
    image_io: str | None = None
    grouping: str | None = None
    picture: bool = False

    def check_header(self, path: Path) -> Layout:
        """Parse and check the header of an image.

        Raises:
            InputError: the header is damaged or ambiguous.
        """
        check: Callable[[Path], Layout] = _function(self.header)
        return check(path)

    def group(self, paths: Sequence[Path]) -> Sequence[FileGroup]:
        """Group the files of one folder into images.

        Args:
            paths: All files of this format in the folder, or the one that the user named.
        """
        if self.grouping is None:
            return [FileGroup(self.split(path.name)[0], path) for path in paths]
        group: Callable[[Sequence[Path]], Sequence[FileGroup]] = _function(self.grouping)
        return group(paths)

    def split(self, name: str) -> tuple[str, str]:
        """Stem and lower-case suffix of a file name; the suffix is empty if it is not one of this format."""
        for suffix in self.suffixes:
            if name.lower().endswith(suffix) and len(name) > len(suffix):
                return name[: -len(suffix)], suffix
        return name, ""


FORMATS = (
    Format(NIFTI, "nifti:check_header"),
    Format((".mha", ".mhd"), "metaimage:check_header", "MetaImageIO"),
    Format((".nrrd", ".nhdr"), "nrrd:check_header", "NrrdImageIO"),
    Format(PICTURES, "picture:check_header", picture=True),
)


def format_of(name: str) -> Format | None:
    """The format with this file name's ending; None if it is not supported."""
    return next((form for form in FORMATS if form.split(name)[1]), None)


def _function(place: str) -> Any:
    module, _, function = place.partition(":")
    return getattr(import_module(f"{__name__}.{module}"), function)
