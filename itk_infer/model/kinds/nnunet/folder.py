"""A model folder of nnU-Net: its plans, its data set, and the folds to run."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from itk_infer.errors import ModelError
from itk_infer.model.kinds.nnunet.folds import Fold, choose_folds
from itk_infer.model.kinds.nnunet.location import is_nnunet, locate

__all__ = ["NnunetFolder", "is_nnunet", "open_folder"]

_MAX_JSON_BYTES = 64 * 2**20


@dataclass(frozen=True, slots=True)
class NnunetFolder:
    """An opened model folder.

    Attributes:
        root: The folder.
        plans: The content of plans.json.
        dataset: The content of dataset.json.
        plans_source: File that the plans were read from, for messages.
        dataset_source: File that the data set was read from, for messages.
        folds: The folds to run, at least one.
        notes: Sentences for the user.
    """

    root: Path
    plans: Mapping[str, Any]
    dataset: Mapping[str, Any]
    plans_source: str
    dataset_source: str
    folds: tuple[Fold, ...]
    notes: tuple[str, ...]


def open_folder(path: Path, folds: Sequence[str] | None = None, checkpoint: str | None = None) -> NnunetFolder:
    """Open the model that a path names, see `locate` and `choose_folds`.

    A missing JSON file is read from the first fold's checkpoint, which has a copy.

    Args:
        path: Folder, fold, checkpoint or zip.
        folds: Names of folds; None: all.
        checkpoint: ``final`` or ``best``; None: final if it exists, else best.

    Raises:
        ModelError: there is not exactly one model that can be run, or one of its files cannot be read.
        ConfigError: path and options contradict each other.
    """
    location = locate(path)
    chosen, notes = choose_folds(location, folds, checkpoint)
    plans, plans_source = _content(location.root / "plans.json", chosen[0], "plans", notes)
    dataset, dataset_source = _content(location.root / "dataset.json", chosen[0], "dataset_json", notes)
    return NnunetFolder(
        location.root, plans, dataset, plans_source, dataset_source, chosen, (*location.notes, *notes)
    )


def _content(path: Path, fold: Fold, key: str, notes: list[str]) -> tuple[Mapping[str, Any], str]:
    """The content of a JSON file, or the checkpoint's copy of it, and its name for messages."""
    if path.is_file():
        return _read(path), str(path)
    from itk_infer.model.kinds.nnunet.weights import read_checkpoint

    found = read_checkpoint(fold.checkpoint)
    content = found.plans if key == "plans" else found.dataset
    if content is None:
        raise ModelError(
            f"{path}: is missing, and {fold.checkpoint.name} of fold {fold.name} holds no copy; get the file from "
            "where the model comes from"
        )
    notes.append(
        f"{path.name} is missing; the copy in {fold.checkpoint.parent.name}/{fold.checkpoint.name} is used"
    )
    return content, f"{fold.checkpoint}, {key}"


def _read(path: Path) -> Mapping[str, Any]:
    try:
        if path.stat().st_size > _MAX_JSON_BYTES:
            raise ModelError(f"{path}: is larger than 64 MiB, and not a file of nnU-Net")
        content = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror})") from None
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{path}: is not valid JSON ({error}); copy or download it again") from None
    if not isinstance(content, Mapping):
        raise ModelError(f"{path}: is not a JSON object; copy or download it again")
    return content
