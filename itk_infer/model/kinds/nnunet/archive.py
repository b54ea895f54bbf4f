"""Unpack a zip with a model folder, as nnUNetv2_export_model_to_zip writes it, once per content.

Zips of MONAI bundles are unpacked by the same rules.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import stat
import tempfile
import zipfile
from pathlib import Path, PurePosixPath

from itk_infer.errors import ModelError
from itk_infer.files.user_cache import kept_folder
from itk_infer.files.zip_archive import ZipArchive

MAX_BYTES = 64 * 2**30  # of all unpacked files together
MAX_RATIO = 200  # unpacked to packed size; weights hardly compress
MAX_ENTRIES = 100_000
_CHECKPOINT = re.compile(r"(^|/)fold_(\d+|all)/checkpoint_\w+\.pth$")
_NEEDED = re.compile(rf"\.json$|{_CHECKPOINT.pattern}")
_BLOCK = 2**20


def is_archive(path: Path) -> bool:
    """Whether a file is a zip with checkpoints of nnU-Net in it. Raises nothing."""
    return has_entry(path, _CHECKPOINT)


def has_entry(path: Path, pattern: re.Pattern[str]) -> bool:
    """Whether a file is a zip with an entry whose name matches. Raises nothing."""
    try:
        if not path.is_file() or not zipfile.is_zipfile(path):
            return False
        with ZipArchive(path) as archive:
            return any(pattern.search(name) for name in archive.namelist())
    except (OSError, zipfile.BadZipFile, ValueError, NotImplementedError):
        return False


def unpacked(path: Path, cache_name: str = "nnunet", needed: re.Pattern[str] = _NEEDED) -> Path:
    """Unpack the JSON files and checkpoints of a zip into a folder in the user's cache, and return the folder.

    Files are unpacked into a hidden folder, which is then renamed, so that a folder that exists is complete. It is
    used again for a zip of the same content.

    Args:
        path: The zip.
        cache_name: Sub-folder of the cache.
        needed: Names of the entries that are unpacked.

    Raises:
        ModelError: an entry would be written elsewhere, is a link or encrypted; the zip is damaged or too large;
            there is no cache folder, or no room in it.
    """
    cache = kept_folder(cache_name)
    if cache is None:
        raise ModelError(f"{path}: there is no cache folder to unpack it into; unpack it and give the folder")
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        target = cache / digest[:32]
        if target.is_dir():
            return target
        with ZipArchive(path) as archive:
            entries = _checked(archive, path, needed)
            _refuse_lack_of_room(entries, cache, path)
            partial = Path(tempfile.mkdtemp(prefix=".partial-", dir=cache))
            try:
                for entry in entries:
                    _extract(archive, entry, partial)
                return _renamed(partial, target)
            finally:
                shutil.rmtree(partial, ignore_errors=True)
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
        raise ModelError(f"{path}: cannot be unpacked ({error}); copy or download it again") from None
    except OSError as error:
        raise ModelError(f"{path}: cannot be unpacked into {cache} ({error.strerror or error})") from None


def _checked(archive: zipfile.ZipFile, path: Path, pattern: re.Pattern[str]) -> list[zipfile.ZipInfo]:
    """The entries that a model needs; raises if any entry is dangerous."""
    entries = archive.infolist()
    if len(entries) > MAX_ENTRIES:
        raise ModelError(f"{path}: holds {len(entries)} entries; more than {MAX_ENTRIES} is no model")
    known: set[str] = set()
    for entry in entries:
        name = entry.filename
        if name in known:
            raise ModelError(f"{path}: refused, because it holds {name[:80]!r} twice")
        known.add(name)
        parts = PurePosixPath(name).parts
        if not parts or name.startswith("/") or ".." in parts or "\\" in name or ":" in name or "\0" in name:
            raise ModelError(f"{path}: refused, because its entry {name!r} would be written outside its folder")
        if stat.S_ISLNK(entry.external_attr >> 16):
            raise ModelError(f"{path}: refused, because its entry {name!r} is a link")
        if entry.flag_bits & 1:
            raise ModelError(f"{path}: is encrypted; unpack it and give the folder")
    needed = [entry for entry in entries if not entry.is_dir() and pattern.search(entry.filename)]
    size = sum(entry.file_size for entry in needed)
    packed = sum(entry.compress_size for entry in needed)
    if size > MAX_BYTES or size > MAX_RATIO * max(packed, _BLOCK):
        raise ModelError(
            f"{path}: refused, because {packed} bytes would unpack to {size}; unpack it yourself if you trust it, "
            "and give the folder"
        )
    return needed


def _refuse_lack_of_room(entries: list[zipfile.ZipInfo], cache: Path, path: Path) -> None:
    size, free = sum(entry.file_size for entry in entries), shutil.disk_usage(cache).free
    if size > free:
        raise ModelError(
            f"{path}: needs {size} bytes unpacked, and {cache} has {free} left; "
            "unpack it elsewhere and give the folder"
        )


def _extract(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, folder: Path) -> None:
    """Unpack one file, and no more bytes than its header states, which `_checked` has checked."""
    target = folder.joinpath(*PurePosixPath(entry.filename).parts)
    target.parent.mkdir(parents=True, exist_ok=True)
    left = entry.file_size
    with archive.open(entry) as source, target.open("xb") as file:
        while block := source.read(_BLOCK):
            left -= len(block)
            if left < 0:
                raise zipfile.BadZipFile(f"{entry.filename} is longer than its header says")
            file.write(block)
    if left:
        raise zipfile.BadZipFile(f"{entry.filename} is shorter than its header says")


def _renamed(partial: Path, target: Path) -> Path:
    try:
        partial.rename(target)
    except OSError:
        if not target.is_dir():  # else another process was first, with the same content
            raise
    return target
