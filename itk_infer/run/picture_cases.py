"""Pictures as cases: a file has all channels, unless files are numbered as channels."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from itk_infer.case.case import Case
from itk_infer.errors import InputError
from itk_infer.run.passed_over import PassedOver, unread
from itk_infer.spec import InputSpec
from itk_infer.volume.other_formats import ARRAY, PICTURE

CHANNEL = re.compile(r"(?P<case>.+)_(?P<channel>\d{4})")


def picture_cases(found: Sequence[Case], wanted: InputSpec) -> list[Case]:
    """Group the pictures of a folder to cases.

    Grey files that are numbered from ``_0000`` to the last channel of the model are one picture. If the spec says
    that files are numbered, as nnU-Net's are, a single ``_0000`` is left out of the name. Every other file is a
    picture of its own, because numbers are often those of frames.

    Args:
        found: A case per file.
        wanted: The model's input.
    """
    groups: dict[tuple[PurePosixPath, str, str], dict[int, Case]] = defaultdict(dict)
    for case in found:
        if match := CHANNEL.fullmatch(case.stem):
            groups[case.folder, match["case"], case.suffix][int(match["channel"])] = case
    together: dict[Path, Case] = {}
    takes = len(wanted.channels)
    for (_, stem, _), members in groups.items():
        first = members.get(0)
        if first is None:
            continue
        named = replace(first, stem=stem, paths=tuple(members[number].paths[0] for number in sorted(members)))
        channels = takes > 1 and sorted(members) == list(range(takes)) and not _in_colour(first.paths[0])
        if channels or (wanted.numbered_files and len(members) == 1):
            together.update((path, named) for path in named.paths)
    return list(dict.fromkeys(together.get(case.paths[0], case) for case in found))


def pictures_beside(pictures: Sequence[Case]) -> Iterator[PassedOver]:
    """Describe pictures in a folder with volumes, which a 3D model does not segment."""
    groups: dict[tuple[PurePosixPath, bool], list[str]] = defaultdict(list)
    for case in pictures:
        groups[case.folder, case.suffix in (".npy", ".npz")].append(case.paths[0].name)
    for (folder, arrays), names in groups.items():
        if arrays:
            yield from (unread(folder, [name], ARRAY) for name in names)
        else:
            yield unread(folder, names, PICTURE)


def _in_colour(path: Path) -> bool:
    from itk_infer.volume.pictures import picture_header  # NumPy

    try:
        return picture_header(path)[0].channels > 1
    except (InputError, OSError):
        return False
