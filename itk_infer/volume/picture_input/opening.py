"""Opens files of pictures, by name and content."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from itk_infer.errors import InputError
from itk_infer.volume.dicom.elements import looks_like_dicom
from itk_infer.volume.names import is_picture, printable, split_suffix
from itk_infer.volume.other_formats import DICOM, format_of_name, is_sidecar
from itk_infer.volume.picture_input.array_picture import ArrayPictures
from itk_infer.volume.picture_input.dicom_pictures import DicomPictures
from itk_infer.volume.picture_input.picture import NotAPicture, PictureFacts, Pictures
from itk_infer.volume.pictures import read_picture

COLOURS = 3  # channels of a picture in colours
START = 1024  # bytes by which DICOM is recognised


def open_pictures(path: Path) -> Pictures:
    """Open a file of pictures, which is read once as a whole.

    Args:
        path: The file.

    Raises:
        NotAPicture: the file holds no picture.
        InputError: it is damaged, or of an unsupported kind.
    """
    name = path.name
    if is_picture(name):
        return _photo(path)
    if split_suffix(name)[1]:
        return _volume(path)
    named = name.lower().endswith(DICOM.suffixes)
    if is_sidecar(name):
        raise NotAPicture("no picture, by its name")
    try:
        with path.open("rb", buffering=0) as file:  # a buffer would have to be joined with the rest
            start = b""
            while len(start) < START and (more := file.read(START - len(start))):  # may return less than is there
                start += more
            if looks_like_dicom(start):
                file.seek(0)
                return DicomPictures(path, file.read())
    except OSError as error:
        raise unreadable(path, error) from None
    form = format_of_name(name)
    if named:
        what = "is empty" if not start else "is named as DICOM, and holds none"
        raise InputError(f"{printable(name)}: {what}; copy or send it again, or remove it")
    if form is not None:
        raise InputError(f"{printable(name)}: is {form.name}, which is not read; {form.remedy}")
    raise NotAPicture("no picture, by its content")


def unreadable(path: Path, error: OSError) -> InputError:
    """The error for a file that cannot be read."""
    reason = error.strerror or type(error).__name__
    return InputError(f"{printable(path.name)}: cannot be read ({reason}); check the file and its permissions")


def _photo(path: Path) -> ArrayPictures:
    read = read_picture(path)
    pages = read.pages[..., 0] if read.pages.shape[-1] == 1 else read.pages
    name = printable(path.name)
    if pages.ndim == 4 and pages.shape[-1] != COLOURS:
        channels = pages.shape[-1]
        raise InputError(
            f"{name}: has {channels} channels, and a picture is grey or in colours; save them as files"
        )
    note = "; ".join(note.removeprefix(f"{name}: ") for note in read.notes)
    facts = PictureFacts(len(pages), positions=(None,) * len(pages), note=note)
    return ArrayPictures(pages, facts, read.sha256, True, name)


def _volume(path: Path) -> ArrayPictures:
    from itk_infer.volume.read import read_image

    read = read_image(path)
    values, spacing = read.array, read.grid.spacing[0]
    positions = tuple(float(number * spacing) for number in range(len(values)))
    facts = PictureFacts(
        len(values), series=f"sha256:{read.sha256}", positions=positions, note="; ".join(read.warnings)
    )
    return ArrayPictures(np.asarray(values).copy(), facts, read.sha256, False, printable(path.name))
