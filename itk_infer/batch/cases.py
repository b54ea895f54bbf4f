"""The cases of a folder, found by name alone; what is wrong inside a file is found when it is read."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from itk_infer.errors import ConfigError, NoInputError
from itk_infer.volume.names import SUFFIXES, split_suffix

CHANNEL = re.compile(r"(?P<case>.+)_(?P<channel>\d{4})")


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


def find_cases(source: Path, output: Path, *, recursive: bool, channels: int) -> list[Case]:
    """The cases of a folder, or of one file, sorted by name.

    Args:
        source: Folder or file.
        output: Output folder; never searched.
        recursive: Search sub-folders, links to folders included.
        channels: Input channels of the model. Above one, files are ``<case>_0000.ext``,
            ``<case>_0001.ext``, ...

    Raises:
        ConfigError: `source` does not exist, or is the output folder.
        NoInputError: there is no image.
    """
    if not source.exists():
        raise ConfigError(f"{source}: no such file or folder")
    folder = source if source.is_dir() else source.parent
    if output.exists() and folder.samefile(output):
        raise ConfigError(f"{output}: is also the input folder; results need a folder of their own")
    if source.is_dir():
        files = list(_files(source, PurePosixPath(), output, recursive, {source.resolve()}))
    else:
        files = [(PurePosixPath(), source)]
        if channels > 1:
            files = list(_siblings(source))
    found = [
        Case(below, stem, suffix, (path,))
        for below, path in files
        for stem, suffix in [split_suffix(path.name)]
        if suffix
    ]
    if not found:
        deeper = "" if recursive or not source.is_dir() else "; --recursive also searches its sub-folders"
        raise NoInputError(f"No input files found in {source}: looked for {', '.join(SUFFIXES)}{deeper}")
    if channels > 1:
        found = _grouped(found, channels)
    return sorted(_checked(found), key=lambda case: case.name)


def _files(
    folder: Path, below: PurePosixPath, output: Path, recursive: bool, seen: set[Path]
) -> Iterator[tuple[PurePosixPath, Path]]:
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        raise ConfigError(f"{folder}: cannot be searched ({error.strerror})") from None
    for entry in entries:
        if entry.name.startswith("."):
            continue  # partials, and the shadow files of other systems
        path = Path(entry.path)
        if split_suffix(entry.name)[1]:
            yield below, path
        elif recursive and entry.is_dir():
            real = path.resolve()
            if real not in seen and real != output.resolve():
                seen.add(real)
                yield from _files(path, below / entry.name, output, recursive, seen)


def _siblings(source: Path) -> Iterator[tuple[PurePosixPath, Path]]:
    """All channels of the case that one channel's file belongs to."""
    match = CHANNEL.fullmatch(split_suffix(source.name)[0])
    for path in sorted(source.parent.iterdir()) if match else [source]:
        other = CHANNEL.fullmatch(split_suffix(path.name)[0])
        if not match or (other and other["case"] == match["case"]):
            yield PurePosixPath(), path


def _grouped(files: list[Case], channels: int) -> list[Case]:
    """One case for each set of channel files."""
    groups: dict[tuple[PurePosixPath, str], dict[int, Case]] = defaultdict(dict)
    ambiguous: dict[tuple[PurePosixPath, str], str] = {}
    cases = []
    for file in files:
        match = CHANNEL.fullmatch(file.stem)
        if match is None:
            wanted = f"{file.stem}_0000{file.suffix} to {file.stem}_{channels - 1:04d}{file.suffix}"
            cases.append(replace(file, problem=f"the model takes {channels} channels: name the files {wanted}"))
            continue
        members = groups[file.folder, match["case"]]
        number = int(match["channel"])
        if number in members:
            names = f"{members[number].paths[0].name} and {file.paths[0].name}"
            ambiguous[file.folder, match["case"]] = f"channel {number} is there twice: {names}"
        members.setdefault(number, file)
    for (folder, stem), members in groups.items():
        paths = tuple(members[number].paths[0] for number in sorted(members))
        missing = sorted(set(range(channels)) - set(members))
        extra = sorted(set(members) - set(range(channels)))
        problem = ambiguous.get((folder, stem))
        if problem is None and missing:
            problem = f"channel file {stem}_{missing[0]:04d} is missing; the model takes {channels} channels"
        elif problem is None and extra:
            problem = f"{stem}_{extra[0]:04d} is one channel too many; the model takes {channels} channels"
        cases.append(Case(folder, stem, members[min(members)].suffix, paths, problem))
    return cases


def _checked(cases: list[Case]) -> Iterator[Case]:
    """Cases that would write the same file, or cannot be named, are marked."""
    names: dict[str, list[Case]] = defaultdict(list)
    for case in cases:
        # Some file systems do not tell Case.nii from case.nii.
        names[(case.folder / case.stem).as_posix().casefold()].append(case)
    for case in cases:
        try:
            case.name.encode("utf-8")
        except UnicodeEncodeError:
            readable = os.fsencode(case.stem).decode("utf-8", "backslashreplace")
            problem = "its file name is not valid UTF-8; rename it"
            yield replace(case, stem=readable, problem=problem)
            continue
        rivals = [other for other in names[(case.folder / case.stem).as_posix().casefold()] if other is not case]
        if rivals and case.problem is None:
            other = rivals[0].paths[0].name
            problem = f"would write the same outputs as {other}; rename one of the two, or move it away"
            yield replace(case, problem=problem)
        else:
            yield case
