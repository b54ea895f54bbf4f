"""Which files are torch's: recognised by the names of their entries, before any of them is read."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

from itk_infer.files.zip_archive import ZipArchive

ENDINGS = (".ts", ".pt", ".pt2")
MODEL_JSON = re.compile(r"^[^/]+/models/model\.json$")  # the graph, in an archive that torch.export.save wrote


def is_torch_file(path: Path) -> bool:
    """Whether a path is a torch file that may hold a program. Runs nothing, and raises nothing."""
    if not path.is_file():
        return False
    return is_torchscript(path) or is_exported(path) or (path.suffix in ENDINGS and _is_torch_save(path))


def is_exported(path: Path) -> bool:
    """Whether a file is an archive that torch.export.save wrote. Runs nothing, and raises nothing."""
    return any(MODEL_JSON.match(name) for name in entry_names(path))


def _is_torch_save(path: Path) -> bool:
    """Whether a file was written by torch.save: weights, or a pickled module."""
    if any(name.endswith("data.pkl") for name in entry_names(path)):
        return True
    with path.open("rb") as file:
        return file.read(2) == b"\x80\x02"  # a pickle, torch's format before archives


def is_torchscript(path: Path) -> bool:
    """Whether a file is an archive with code, as torch.jit.save writes. Runs nothing, and raises nothing."""
    return any(is_code(name) for name in entry_names(path))


def entry_names(path: Path) -> list[str]:
    """Names of the entries of a zip archive; empty for other files."""
    try:
        if not path.is_file() or not zipfile.is_zipfile(path):
            return []
        with ZipArchive(path) as archive:
            return archive.namelist()
    except (OSError, zipfile.BadZipFile, ValueError, NotImplementedError):
        return []


def is_code(name: str) -> bool:
    """Whether an entry of an archive is a part of a program."""
    return "/code/" in f"/{name}" and name.casefold().endswith(".py")
