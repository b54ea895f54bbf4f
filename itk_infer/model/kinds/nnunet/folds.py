"""The folds of a model that are run, and the checkpoint of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from itk_infer.errors import ConfigError, ModelError
from itk_infer.model.kinds.nnunet.location import Location, checkpoints, folds


@dataclass(frozen=True, slots=True)
class Fold:
    """One fold.

    Attributes:
        name: ``0``, ``1``, ..., or ``all``.
        checkpoint: The file with its weights.
    """

    name: str
    checkpoint: Path


def choose_folds(
    location: Location, asked: Sequence[str] | None, kind: str | None
) -> tuple[tuple[Fold, ...], list[str]]:
    """Choose the folds to run.

    Args:
        location: The model folder, and perhaps a fold and a checkpoint that the user's path named.
        asked: Names of folds. None: all numbered ones, or fold_all if there are none.
        kind: ``final`` or ``best`` checkpoint. None: final, or best if a fold has no final one.

    Returns:
        At least one fold, and notes for the user.

    Raises:
        ModelError: there is no fold, or not the one or the checkpoint that was asked for.
        ConfigError: the path names another fold or checkpoint than the options.
    """
    root, there = location.root, folds(location.root)
    if not there:
        raise ModelError(f"{root}: has no fold with a checkpoint (fold_0/checkpoint_final.pth)")
    if location.fold is not None:
        if asked is not None and tuple(asked) != (location.fold,):
            raise ConfigError(f"the path names fold {location.fold}, and `folds` others; leave one of them out")
        asked = (location.fold,)
    if location.checkpoint is not None:
        if kind not in (None, location.checkpoint):
            raise ConfigError(
                f"the path names checkpoint_{location.checkpoint}.pth; leave `checkpoint={kind}` out"
            )
        kind = location.checkpoint
    if asked is not None and tuple(asked) == ("all",) and "all" not in there:
        asked = None  # all folds, if none is called so
    numbered = [name for name in there if name != "all"]
    names = list(asked) if asked is not None else numbered or ["all"]
    missing = [name for name in names if name not in there]
    if missing:
        raise ModelError(f"{root}: there is no fold {_and(missing)}; there is {_and(list(there))}")
    chosen: list[Fold] = []
    notes: list[str] = []
    for name in names:
        file, note = _checkpoint(there[name], kind)
        if file is not None:
            chosen.append(Fold(name, file))
        elif asked is not None:
            raise ModelError(f"{there[name]}: {note}")
        if note:
            notes.append(f"fold {name}: {note}" + ("" if file else ", so it is not used"))
    if not chosen:
        raise ModelError(f"{root}: no fold can be used; {'; '.join(notes)}")
    return tuple(chosen), [_used([fold.name for fold in chosen], list(there)), *notes]


def _checkpoint(fold: Path, kind: str | None) -> tuple[Path | None, str]:
    """The checkpoint of a fold or None, and a note about it."""
    there = checkpoints(fold)
    for wanted in (kind,) if kind else ("final", "best"):
        if wanted in there:
            fallback = kind is None and wanted != "final"
            return there[
                wanted
            ], "checkpoint_best.pth is used, as there is no checkpoint_final.pth" if fallback else ""
    wanted = f"checkpoint_{kind}.pth" if kind else "checkpoint_final.pth or checkpoint_best.pth"
    return None, f"there is no {wanted}, but {_and([file.name for file in there.values()])}"


def _used(used: list[str], there: list[str]) -> str:
    if len(used) > 1:
        words = f"folds {_and(used)} are used, and their logits averaged"
    else:
        words = f"fold {used[0]} is used"
    others = [name for name in there if name not in used]
    if not others and len(used) == 1:
        return f"{words}, the only one there"
    return f"{words}; there is also {_and(others)}" if others else words


def _and(names: list[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
