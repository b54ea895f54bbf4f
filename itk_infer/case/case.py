"""The files of a case. Finding them is the run's work."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from itk_infer.volume.names import printable


@dataclass(frozen=True, slots=True)
class Case:
    """One image to segment.

    Attributes:
        folder: Sub-folder below the input folder; ``.`` at the top.
        stem: File name without extension and channel number.
        suffix: Extension, lower case, with its dot.
        paths: Its files, one an input channel.
        problem: Why it cannot even be tried; None for a good case.
    """

    folder: PurePosixPath
    stem: str
    suffix: str
    paths: tuple[Path, ...]
    problem: str | None = None

    @property
    def name(self) -> str:
        """What the ledger, events and people call it: its path below the input folder."""
        return (self.folder / f"{self.stem}{self.suffix}").as_posix()

    def unnamed(self, sentence: str) -> str:
        """A sentence without the case's name at its beginning, for those who add it; a channel's name stays."""
        path = self.paths[0]
        names = [self.name, *((os.fspath(path), path.name) if len(self.paths) == 1 else ())]
        for name in names:
            sentence = sentence.removeprefix(f"{printable(name)}: ")
        return sentence

    def absolute(self) -> Case:
        """The same case for a process with another current folder."""
        return replace(self, paths=tuple(path.absolute() for path in self.paths))
