"""Pairing of masks with their ground truth by file name."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from itk_infer.errors import ConfigError, NoInputError
from itk_infer.outputs.registry import label_maps
from itk_infer.volume.names import SUFFIXES, split_suffix

RULES = (
    "a mask belongs to the truth of the same name, endings aside (.nii.gz, .mha, .seg.nrrd ...); where there "
    "is none, to the one whose name is the same without a last word such as _seg, _mask, _label, _gt, _pred, _0000"
)
_LAST_WORD = re.compile(
    r"[_.-](seg|segmentation|mask|labels?|labelmap|gt|truth|groundtruth|manual|ref|reference|pred|prediction|0000)$",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Pair:
    """A mask and its ground truth.

    Attributes:
        name: Name of the case: the mask's path below its folder, without ending.
        mask: File of the mask.
        truth: File of the ground truth.
    """

    name: str
    mask: Path
    truth: Path


@dataclass(frozen=True, slots=True)
class Pairs:
    """The pairs of two folders, and the files without partner.

    Attributes:
        pairs: Sorted by name.
        masks_left: Masks without ground truth, by name.
        truths_left: Ground truth without a mask, by name.
        ambiguous: Sentences about names that match several files; these are not compared.
    """

    pairs: tuple[Pair, ...]
    masks_left: tuple[str, ...] = ()
    truths_left: tuple[str, ...] = ()
    ambiguous: tuple[str, ...] = ()


def find_pairs(masks: Path, truths: Path, *, recursive: bool = False) -> Pairs:
    """Pair the label maps of two folders by `RULES`, or two files whatever their names.

    Raises:
        ConfigError: a path does not exist, or one is a file and the other a folder.
        NoInputError: no mask has a ground truth.
    """
    for path in (masks, truths):
        if not path.exists():
            raise ConfigError(f"{path}: no such file or folder")
    if masks.is_file() and truths.is_file():
        return Pairs((Pair(_stem(masks.name), masks, truths),))
    if masks.is_file() or truths.is_file():
        raise ConfigError(f"{masks} and {truths}: give two folders, or two files")
    ours, theirs = label_files(masks, recursive), label_files(truths, recursive)
    matched, ambiguous = match_names(ours, theirs)
    pairs = []
    for name, other in matched.items():
        for files, side in ((ours[name], "masks"), (theirs[other], "truths")):
            if len(files) > 1:
                listed = ", ".join(path.name for path in files)
                ambiguous.append(f"{listed}: the same name twice among the {side}; move one away")
        if len(ours[name]) == len(theirs[other]) == 1:
            pairs.append(Pair(name, ours[name][0], theirs[other][0]))
    if not pairs:
        there = f"{len(ours)} images in {masks}, {len(theirs)} in {truths}"
        why = f"; {ambiguous[0]}" if ambiguous else ""
        deeper = "" if recursive else "; `recursive` also searches sub-folders"
        raise NoInputError(
            f"No mask has a truth ({there}; looked for {', '.join(SUFFIXES)}): {RULES}{why}{deeper}"
        )
    return Pairs(
        tuple(sorted(pairs, key=lambda pair: pair.name)),
        tuple(sorted(name for name in ours if name not in matched)),
        tuple(sorted(name for name in theirs if name not in matched.values())),
        tuple(ambiguous),
    )


def match_names(ours: Iterable[str], theirs: Iterable[str]) -> tuple[dict[str, str], list[str]]:
    """Match names by `RULES`.

    Args:
        ours: Names of masks or images, without endings.
        theirs: Names of ground truth, likewise.

    Returns:
        The matching name of `theirs` for each of `ours` that has one; and sentences about ambiguous names.
    """
    there = set(theirs)
    matched = {name: name for name in ours if name in there}
    ambiguous = []
    ours_by_core = _by_core(name for name in ours if name not in matched)
    theirs_by_core = _by_core(sorted(there - set(matched)))
    for core, names in ours_by_core.items():
        others = theirs_by_core.get(core, [])
        if len(names) == len(others) == 1:
            matched[names[0]] = others[0]
        elif others:
            listed = ", ".join((*names, *others))
            ambiguous.append(f"{listed}: their names fit each other in several ways; rename them")
    return matched, ambiguous


def label_files(folder: Path, recursive: bool) -> dict[str, list[Path]]:
    """Files of a folder that may be label maps, by their path below it, without ending."""
    found: dict[str, list[Path]] = defaultdict(list)
    of_folder: dict[Path, list[str]] = defaultdict(list)
    for path in sorted(folder.rglob("*") if recursive else folder.iterdir()):
        inside = path.relative_to(folder)
        hidden = any(part.startswith(".") for part in inside.parts)
        zarr = any(part.endswith(".zarr") for part in inside.parts)
        if not hidden and not zarr and split_suffix(path.name)[1] and path.is_file():
            of_folder[inside.parent].append(path.name)
    for below, names in of_folder.items():
        for name in label_maps(names):
            found[(below / _stem(name)).as_posix()].append(folder / below / name)
    return found


def _stem(name: str) -> str:
    stem, _ = split_suffix(name)
    return stem[:-4] if stem.lower().endswith(".seg") else stem


def _by_core(names: Iterable[str]) -> dict[str, list[str]]:
    """Names, grouped by the name without its last word."""
    found: dict[str, list[str]] = defaultdict(list)
    for name in names:
        found[_LAST_WORD.sub("", name)].append(name)
    return found
