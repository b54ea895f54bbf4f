"""The files of a series, as passed to the code that reads it. Imports nothing heavy."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, replace
from pathlib import Path

from itk_infer.files.stamp import Stamp, stamp_of
from itk_infer.spec.series_rule import Condition


@dataclass(frozen=True, slots=True)
class SeriesFiles:
    """The files of a volume, and how to read them.

    Attributes:
        files: Files of the series, sorted, without copies and localizers.
        instances: Conditions on its slices; slices that do not meet them are skipped.
        values: Meaning of the voxel values: ``stored``, or ``SUVbw``.
    """

    files: tuple[Path, ...]
    instances: tuple[Condition, ...] = ()
    values: str = "stored"

    def absolute(self) -> SeriesFiles:
        """The same with absolute paths, for a process with another current folder."""
        return replace(self, files=tuple(path.absolute() for path in self.files))

    @property
    def reading(self) -> str:
        """Settings other than the files that affect the voxels, as text."""
        return repr(self.instances) + (self.values if self.values != "stored" else "")

    def stamp(self) -> Stamp:
        """One stamp for all files: total size, latest modification, and a number derived from names and stamps.

        Raises:
            OSError: the status of a file cannot be read.
        """
        stamps = [stamp_of(path) for path in self.files]
        digest = hashlib.sha256(self.reading.encode())
        for path, stamp in zip(self.files, stamps, strict=True):
            digest.update(os.fsencode(path.absolute()))
            digest.update(f"\0{stamp.size} {stamp.mtime_ns} {stamp.inode}\0".encode())
        number = int.from_bytes(digest.digest()[:6], "big")
        return Stamp(sum(s.size for s in stamps), max((s.mtime_ns for s in stamps), default=0), number)
