"""The search for images in a folder. Every file that may be one is found, or listed as passed over."""

from __future__ import annotations

import json
import os
import sqlite3
import stat
from collections import defaultdict
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from itk_infer.errors import ConfigError
from itk_infer.run.ledger import NAME as LEDGER
from itk_infer.run.ledger import Ledger
from itk_infer.run.passed_over import PassedOver, label_map, unread
from itk_infer.run.shard import shard_ledgers
from itk_infer.volume.dicom.elements import looks_like_dicom
from itk_infer.volume.marks import detached_data, label_mark
from itk_infer.volume.names import is_picture, split_suffix
from itk_infer.volume.other_formats import DICOM, PAIR, RAW, ZARR, OtherFormat, is_sidecar, other_format

DICOM_START = 1024  # bytes
DETACHED = (".mhd", ".nhdr")
TOP = PurePosixPath()
ZARR_FILES = frozenset({"zarr.json", ".zgroup", ".zarray"})


@dataclass(slots=True)
class Search:
    """A search, with the files found so far.

    Args:
        output: The output folder of the run, which is not searched; None: there is none.
        recursive: Search sub-folders, links to folders included.

    Attributes:
        images: Files of formats that are read, with their folders below the first one.
        labels: Those of them that are results or label maps, with a phrase for each.
        passed: Inputs that are not read.
        dicom: DICOM files, with their folders below the first one.
        others: Files that are not images by name or content.
    """

    output: Path | None
    recursive: bool
    images: list[tuple[PurePosixPath, Path]] = field(default_factory=list)
    labels: dict[Path, str] = field(default_factory=dict)
    passed: list[PassedOver] = field(default_factory=list)
    dicom: list[tuple[PurePosixPath, Path]] = field(default_factory=list)
    others: list[PurePosixPath] = field(default_factory=list)
    _seen: set[Path] = field(default_factory=set)
    _results: set[Path] = field(default_factory=set)

    def look_at(self, path: Path) -> None:
        """Look at one file, or search a folder.

        Raises:
            ConfigError: the folder, or one inside it, cannot be listed.
        """
        if path.is_dir():
            if is_zarr(path):
                self._zarr(path, TOP)
                return
            self._folder(path, TOP)
            if not self.recursive and all(is_picture(file.name) for _, file in self.images):  # DICOM studies
                self._dicom_below(path, TOP)
        elif split_suffix(path.name)[1]:
            self._image(path, TOP)
        else:
            self._pass_over(path.parent, TOP, [path.name], [])

    def _folder(self, folder: Path, below: PurePosixPath) -> None:
        self._seen.add(folder.resolve())
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError as error:
            raise ConfigError(f"{folder}: cannot be searched ({error.strerror})") from None
        self._results |= recorded_results(folder, {entry.name for entry in entries})
        others: list[str] = []
        headers: list[Path] = []
        # Hidden files: unfinished files, and metadata of other operating systems.
        self.others += [below / e.name for e in entries if e.name.startswith(".") and e.is_file()]
        for entry in (entry for entry in entries if not entry.name.startswith(".")):
            path = Path(entry.path)
            if split_suffix(entry.name)[1]:
                self._image(path, below)
                headers += [path] if path.name.lower().endswith(DETACHED) else []
            elif not entry.is_dir():
                others.append(entry.name)
            elif is_zarr(path):
                self._zarr(path, below)
            elif self.recursive and self._is_new(path):
                self._folder(path, below / entry.name)
        self._pass_over(folder, below, others, headers)

    def _dicom_below(self, folder: Path, below: PurePosixPath) -> None:
        """Search the sub-folders of a folder for DICOM only."""
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError as error:
            raise ConfigError(f"{folder}: cannot be searched ({error.strerror})") from None
        named: list[str] = []
        for entry in entries:
            path = Path(entry.path)
            if not entry.is_dir():
                if below == TOP:  # searched before
                    continue
                if _is_dicom(path):
                    self.dicom.append((below, path))
                elif not entry.name.startswith(".") and entry.name.lower().endswith(DICOM.suffixes):
                    named.append(entry.name)
                else:
                    self.others.append(below / entry.name)
            elif not entry.name.startswith(".") and not is_zarr(path) and self._is_new(path):
                self._seen.add(path.resolve())
                self._dicom_below(path, below / entry.name)
        if named:
            self.passed.append(unread(below, named, DICOM))

    def _image(self, path: Path, below: PurePosixPath) -> None:
        self.images.append((below, path))
        mark = "a result of itk_infer" if path in self._results else label_mark(path)
        if mark:
            self.labels[path] = mark

    def _is_new(self, folder: Path) -> bool:
        real = folder.resolve()
        return real not in self._seen and (self.output is None or real != self.output.resolve())

    def _zarr(self, path: Path, below: PurePosixPath) -> None:
        if path in self._results or _is_own_zarr(path):
            self.passed.append(label_map(below / path.name, "logits of itk_infer"))
        else:
            self.passed.append(unread(below, [path.name], ZARR))

    def _pass_over(self, folder: Path, below: PurePosixPath, names: list[str], headers: list[Path]) -> None:
        """List the files of one folder that are not read, one entry per image, as far as can be determined.

        Args:
            folder: The folder.
            below: Its path below the first one.
            names: Files without a known suffix.
            headers: Headers in the folder whose voxels may be in separate files.
        """
        data = {name for path in headers for name in detached_data(path)}
        found: dict[tuple[OtherFormat, str], list[str]] = defaultdict(list)
        for name in names:
            if _is_dicom(folder / name):
                self.dicom.append((below, folder / name))
                continue
            form = None if name in data else other_format(folder / name)
            if form is None or (form is RAW and headers):
                self.others.append(below / name)
                continue
            stem = name.lower().removesuffix(".gz").rpartition(".")[0] if form is PAIR else name
            found[form, "" if form.slices else stem].append(name)
        for (form, _), group in found.items():
            self.passed.append(unread(below, group, form))


def is_zarr(folder: Path) -> bool:
    """Whether a folder is a Zarr store, whose files are not searched."""
    return folder.name.lower().endswith(".zarr") or any((folder / name).is_file() for name in ZARR_FILES)


def _is_dicom(path: Path) -> bool:
    """Whether a file is DICOM, from its first bytes; files with other known names are not opened."""
    name = path.name
    if name.startswith(".") or is_sidecar(name) or split_suffix(name)[1]:
        return False
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            return False
        with path.open("rb") as file:
            return looks_like_dicom(file.read(DICOM_START))
    except OSError:
        return False


def recorded_results(folder: Path, names: set[str]) -> set[Path]:
    """Return the outputs on record in the ledgers of a folder, if it is an output folder.

    Args:
        folder: The folder.
        names: Names of the files in it.
    """
    if LEDGER not in names and not any(name.startswith("itk_infer.shard-") for name in names):
        return set()
    found = set()
    for ledger in (folder / LEDGER, *shard_ledgers(folder)):
        try:
            with closing(Ledger(folder, read_only=True, name=ledger.name)) as known:
                found |= {folder / path for path in known.outputs()}
        except (ConfigError, sqlite3.Error, ValueError):
            continue  # damaged; results are then recognised by marks inside the files
    return found


def _is_own_zarr(folder: Path) -> bool:
    try:
        document = json.loads((folder / "zarr.json").read_text("utf-8"))
        return "itk_infer" in document["attributes"]["about"]
    except (OSError, ValueError, KeyError, TypeError):
        return False
