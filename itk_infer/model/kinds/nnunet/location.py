"""Find a model folder from the path that a user gave. Runs nothing, imports nothing heavy."""

from __future__ import annotations

import os
import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from itk_infer.errors import ModelError
from itk_infer.model.kinds.nnunet.archive import is_archive, unpacked

FOLD = re.compile(r"fold_(\d+|all)")
CHECKPOINT = re.compile(r"checkpoint_(\w+)\.pth")
INTERACTIVE = "inference_session_class.json"
_MAX_DEPTH, _MAX_FOLDERS = 5, 500  # limits of the search below the given folder


@dataclass(frozen=True, slots=True)
class Location:
    """A model folder, with the fold and checkpoint that the path named.

    Attributes:
        root: The folder that holds plans.json and the folds.
        fold: ``0``, ``all``, ...; None if the path names neither fold nor checkpoint.
        checkpoint: ``final``, ``best``, ...; None if the path names no checkpoint.
        notes: Sentences for the user on how it was found.
    """

    root: Path
    fold: str | None = None
    checkpoint: str | None = None
    notes: tuple[str, ...] = ()


def is_nnunet(path: Path) -> bool:
    """Whether a path is a model of nnU-Net or holds one, see `locate`; also for versions that cannot be run.

    Runs nothing, and raises nothing.
    """
    try:
        if is_archive(path):
            return True
        path = _absolute(path)
        return _named(path) is not None or (path.is_dir() and next(_found(path), None) is not None)
    except (OSError, ValueError):
        return False


def locate(path: Path) -> Location:
    """Find the model folder that a path names.

    Args:
        path: A folder with plans.json and folds, one of its folds, a checkpoint in one, or a folder or a zip that
            holds one such folder.

    Raises:
        ModelError: there is none, there are several, or its version cannot be run.
    """
    if is_archive(path):
        folder = unpacked(path)
        return replace(locate(folder), notes=(f"{path.name} was unpacked into {folder}",))
    path = _absolute(path)
    try:
        named = _named(path)
        folders = list(_found(path)) if named is None and path.is_dir() else []
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror})") from None
    if named is None:
        if not folders:
            raise ModelError(f"{path}: holds no model folder of nnU-Net (plans.json, dataset.json and fold_0)")
        if len(folders) > 1:
            raise ModelError(f"{path}: holds {len(folders)} models; give one of them: {_listed(folders, path)}")
        named = Location(folders[0])
    _refuse_others(named.root)
    return named


def previous_stage_folder(root: Path, configuration: str, given: Path | None) -> Path:
    """Find the model folder of a cascade's previous stage.

    Args:
        root: The model folder of the cascade.
        configuration: The previous stage's configuration.
        given: The folder, if the user gave one; None: the one beside `root` of the same trainer and plans, or else
            the only one of that configuration.

    Raises:
        ModelError: there is no such folder, or more than one.
    """
    if given is not None:
        return given.absolute()
    trained = root.name.rpartition("__")[0]
    expected = root.parent / f"{trained}__{configuration}"
    if expected.is_dir():
        return expected
    others = [entry for entry in sorted(root.parent.glob(f"*__{configuration}")) if entry.is_dir()]
    if len(others) == 1:
        return others[0]
    what = f"there are {len(others)} of that configuration" if others else "it is not there"
    raise ModelError(
        f"{root}: is the second stage of a cascade and needs the model folder {expected.name} beside it, and "
        f"{what}; put it there, or say where it is (`previous_stage`)"
    )


def checkpoints(fold: Path) -> dict[str, Path]:
    """The checkpoints in a fold, by the part of their names after ``checkpoint_``."""
    files = sorted(fold.iterdir()) if fold.is_dir() else []
    matches = ((CHECKPOINT.fullmatch(file.name), file) for file in files if file.is_file())
    return {match[1]: file for match, file in matches if match is not None}


def folds(root: Path) -> dict[str, Path]:
    """The folds of a model folder that hold a checkpoint: numbers in their order, then ``all``."""
    there = {match[1]: entry for entry in root.iterdir() if (match := FOLD.fullmatch(entry.name))}
    ordered = sorted(there, key=lambda name: (name == "all", int(name) if name != "all" else 0))
    return {name: there[name] for name in ordered if checkpoints(there[name])}


def _absolute(path: Path) -> Path:
    """Remove ``.`` and ``..``, so that the path has a name. Links are kept: their targets may have other names."""
    return Path(os.path.abspath(path))  # noqa: PTH100


def _named(path: Path) -> Location | None:
    """The location of a path that is a model folder, a fold or a checkpoint itself."""
    if path.is_dir():
        if match := FOLD.fullmatch(path.name):
            return Location(path.parent, match[1]) if checkpoints(path) else None
        return Location(path) if _is_model(path) else None
    fold, file = FOLD.fullmatch(path.parent.name), CHECKPOINT.fullmatch(path.name)
    return Location(path.parent.parent, fold[1], file[1]) if fold and file and path.is_file() else None


def _is_model(folder: Path) -> bool:
    """Whether this is a model folder; also for versions that cannot be run."""
    json_files = all((folder / name).is_file() for name in ("plans.json", "dataset.json"))
    return json_files or bool(folds(folder)) or _is_version_1(folder)


def _is_version_1(folder: Path) -> bool:
    if (folder / "plans.pkl").is_file():
        return True
    return any(
        next(entry.glob("*.model"), None) is not None
        for entry in folder.iterdir()
        if (FOLD.fullmatch(entry.name) or entry.name == "all") and entry.is_dir()
    )


def _found(folder: Path) -> Iterator[Path]:
    """Model folders below a folder, the nearest first; not searched within model folders."""
    waiting, seen = deque([(folder, 0)]), 0
    while waiting and seen < _MAX_FOLDERS:
        here, depth = waiting.popleft()
        seen += 1
        try:
            if depth and _is_model(here):
                yield here
                continue
            below = sorted(entry for entry in here.iterdir() if entry.is_dir() and not entry.name.startswith("."))
        except OSError:  # not readable
            continue
        if depth < _MAX_DEPTH:
            waiting.extend((entry, depth + 1) for entry in below)


def _listed(folders: list[Path], above: Path, limit: int = 10) -> str:
    names = [str(folder.relative_to(above)) for folder in folders[:limit]]
    return ", ".join(names) + (f" and {len(folders) - limit} more" if len(folders) > limit else "")


def _refuse_others(root: Path) -> None:
    if (root / INTERACTIVE).is_file():
        raise ModelError(
            f"{root}: is a model of nnInteractive ({INTERACTIVE}), which needs a person's clicks for every image; "
            "give the folder of a segmentation model"
        )
    if not folds(root) and _is_version_1(root):
        raise ModelError(
            f"{root}: is a model of nnU-Net v1 (plans.pkl, .model files), whose networks and preprocessing are "
            "others; only version 2 can be run. Export the network to ONNX"
        )
