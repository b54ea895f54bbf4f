"""The files of a series, as they are handed to where it is read. Imports nothing heavy."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, replace
from pathlib import Path

from itk_infer.files.stamp import Stamp, stamp_of
from itk_infer.spec.series_rule import Condition


@dataclass(frozen=True, slots=True)
class SeriesFiles:
    """What a volume is read from.

    Attributes:
        files: Of the series, sorted; without copies, and without localizers.
        instances: Conditions on its slices; those that do not meet them are left out.
        values: ``stored``, or ``SUVbw``.
    """

    files: tuple[Path, ...]
    instances: tuple[Condition, ...] = ()
    values: str = "stored"

    def absolute(self) -> SeriesFiles:
        """The same for a process with another current folder."""
        return replace(self, files=tuple(path.absolute() for path in self.files))

    @property
    def reading(self) -> str:
        """Settings besides the files that change the voxels, as text."""
        return repr(self.instances) + (self.values if self.values != "stored" else "")

    def stamp(self) -> Stamp:
        """One stamp for all files: bytes, newest modification, and a number made of all names and stamps.

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
