"""Marks in image files that identify them as label maps, read from their first bytes.

NIfTI has an intent code for label maps. NRRD and MetaImage have key/value pairs, among them those that 3D Slicer
and this program write.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path

from itk_infer.volume.file_start import file_start
from itk_infer.volume.formats import NIFTI
from itk_infer.volume.names import UNCERTAINTY, is_picture, split_suffix

PREFIX = "itk_infer"  # prefix of the keys that this program writes
PICTURE_MARKS = (b"tEXtitk_infer_", b'"itk_infer_')  # in text chunks of PNG, in the description of TIFF
INTENT_OFFSET = 68  # byte position in a NIfTI-1 header
INTENT_LABEL = 1002  # NIFTI_INTENT_LABEL of nifti1.h
INTENT_ESTIMATE = 1001  # NIFTI_INTENT_ESTIMATE: the value of some parameter
SEGMENT_KEY = re.compile(r"Segment(ation|\d+)_")
LONGEST_VALUE = 200  # characters; MetaIO truncates lines at 499


def label_mark(path: Path) -> str:
    """The mark that identifies an image file as a label map, as a phrase for messages; empty if it has none."""
    _, suffix = split_suffix(path.name)
    if path.name.endswith(UNCERTAINTY):
        return "a map of uncertainty of itk_infer"
    start = file_start(path)
    if suffix in NIFTI:
        intents = [struct.unpack_from(order + "h", start, INTENT_OFFSET)[0] for order in "<>" if len(start) >= 348]
        return "marked as a label map (NIfTI intent code 1002)" if INTENT_LABEL in intents else ""
    if is_picture(path.name):
        return "a result of itk_infer" if any(mark in start for mark in PICTURE_MARKS) else ""
    for key in _keys(start):
        if key.startswith(PREFIX):
            return "a result of itk_infer"
        if SEGMENT_KEY.match(key):
            return "a segmentation of 3D Slicer"
    return ""


def own_keys(about: Mapping[str, str]) -> dict[str, str]:
    """The key/value pairs written into a result: one short line each; empty values are left out.

    Args:
        about: Properties of the model and the program, by name.
    """
    lines = {key: " ".join(value.split())[:LONGEST_VALUE] for key, value in about.items()}
    return {f"{PREFIX}_{key}": line for key, line in lines.items() if line}


def detached_data(path: Path) -> tuple[str, ...]:
    """The data files named by a detached header (``.mhd``, ``.nhdr``); empty if it names none."""
    lines = file_start(path).decode("utf-8", "replace").splitlines()
    for index, line in enumerate(lines):
        key, _, value = line.replace("=", ":", 1).partition(":")
        if key.strip().lower() in ("elementdatafile", "data file", "datafile"):
            listed = lines[index + 1 :] if value.strip().startswith("LIST") else [value]
            return tuple(name.strip().removeprefix("./") for name in listed if name.strip())
    return ()


def _keys(start: bytes) -> Iterator[str]:
    """The keys of a text header: those of NRRD's key/value pairs, and of all lines of a MetaImage."""
    separator = ":=" if start.startswith(b"NRRD") else "="
    for line in start.decode("utf-8", "replace").split("\n"):
        if not line.strip() or line.startswith("ElementDataFile"):
            return
        key, separated, _ = line.partition(separator)
        if separated:
            yield key.strip()
