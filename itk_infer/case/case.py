"""The files of a case. Cases are found by `itk_infer.run.cases`."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

from itk_infer.files.stamp import Stamp, stamp_of
from itk_infer.volume.dicom.series_files import SeriesFiles
from itk_infer.volume.names import printable


@dataclass(frozen=True, slots=True)
class Case:
    """One image to segment.

    Attributes:
        folder: Sub-folder below the input folder; ``.`` at the top.
        stem: File name without extension and channel number.
        suffix: Extension, lower case, with its dot; empty for a DICOM series.
        paths: Its files, one per input channel; for a DICOM series the folder that holds it.
        problem: Why the case cannot be run; None if it can.
        volumes: Volumes in its only file, if that is 4D, one per input channel; 1 for other images.
        series: DICOM series, one per input channel, whose folders are `paths`; empty for other images.
        chosen: For each series, a phrase: which one it is and why it was chosen.
    """

    folder: PurePosixPath
    stem: str
    suffix: str
    paths: tuple[Path, ...]
    problem: str | None = None
    volumes: int = field(default=1, kw_only=True)
    series: tuple[SeriesFiles, ...] = ()
    chosen: tuple[str, ...] = ()

    @property
    def files(self) -> tuple[Path, ...]:
        """All files that the case is read from."""
        return tuple(path for series in self.series for path in series.files) or self.paths

    def stamps(self) -> list[Stamp]:
        """Return size and time of each channel's files, which identify its content without reading it.

        Raises:
            OSError: the status of a file cannot be read.
        """
        return [series.stamp() for series in self.series] or [stamp_of(path) for path in self.paths]

    @property
    def name(self) -> str:
        """Name in the ledger, in events and in messages: the path below the input folder."""
        return (self.folder / f"{self.stem}{self.suffix}").as_posix()

    def unnamed(self, sentence: str) -> str:
        """Remove the case's name from the beginning of a sentence; the name of one of several channels stays."""
        path = self.paths[0]
        names = [self.name, *((os.fspath(path), path.name) if len(self.paths) == 1 else ())]
        for name in names:
            sentence = sentence.removeprefix(f"{printable(name)}: ")
        return sentence

    def absolute(self) -> Case:
        """Return the case with absolute paths, for a process with another current folder."""
        series = tuple(series.absolute() for series in self.series)
        return replace(self, paths=tuple(path.absolute() for path in self.paths), series=series)
