"""What is still to do: the cases of a folder against the ledger and the files that are there."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from itk_infer.batch.cases import Case
from itk_infer.batch.fingerprint import sha256_of, stamp_of
from itk_infer.batch.ledger import CaseRecord, InputFile, Ledger, OutputFile
from itk_infer.batch.settings import RunSettings
from itk_infer.errors import InputError

# What changed, in words, for each part of `output_identity`.
PARTS = {
    "inputs": "another input",
    "engine": "another version of the engine",
    "model": "another model",
    "spec": "other model settings",
    "patch": "another patch size",
    "stride": "another patch stride",
    "orientation": "another output orientation",
    "precision": "another precision",
    "tta": "other mirroring",
    "skip_empty": "another rule for empty windows",
}
LEFT = "left by an attempt that did not end well"


@dataclass(frozen=True, slots=True)
class Planned:
    """What will be done about one case, and why.

    Attributes:
        case: The case.
        action: ``run``, ``skip`` or ``fail``.
        reason: Why; empty for a case that is simply new.
        labels: Whether the label map is to be written.
        logits: Whether logits are to be written.
        kept: Files that somebody else wrote or changed and that stay.
        orphans: Files that an earlier attempt left without a note; they are removed before the run.
        outdated: Earlier outputs that are not asked for now and will not agree with the new ones.
    """

    case: Case
    action: str
    reason: str = ""
    labels: bool = True
    logits: bool = False
    kept: tuple[Path, ...] = ()
    outdated: tuple[Path, ...] = ()
    orphans: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True)
class Known:
    """What the ledger said before the run.

    Attributes:
        cases: By name.
        outputs: By path below the output folder.
        crashed_at: Last sign of life of a run that was killed, seconds since the epoch.
    """

    cases: Mapping[str, CaseRecord]
    outputs: Mapping[str, OutputFile]
    crashed_at: float | None = None


def make_plan(
    cases: Sequence[Case],
    settings: RunSettings,
    identity: dict[str, Any],
    ledger: Ledger,
    crashed_at: float | None = None,
) -> list[Planned]:
    """Plan every case.

    Args:
        cases: What was found.
        settings: What was asked for.
        identity: `Predictor.identity`.
        ledger: What was done before. Unless it is read only, new stamps of unchanged inputs are noted.
        crashed_at: When a killed run in this folder gave its last sign.
    """
    known = Known(ledger.cases(), ledger.outputs(), crashed_at)
    return [_planned(case, settings, identity, known, ledger) for case in cases]


def _planned(case: Case, settings: RunSettings, identity: dict[str, Any], known: Known, ledger: Ledger) -> Planned:
    if case.problem is not None:
        return Planned(case, "fail", case.problem)
    if settings.overwrite:
        return Planned(case, "run", "overwrite", logits=settings.save_logits)
    record = known.cases.get(case.name)
    identity = {**identity, "inputs": _input_digests(case, record, ledger)}
    wanted = {"labels": settings.label_path(case), "logits": settings.logits_path(case)}
    states = {kind: _state(path, settings.output, identity, record, known) for kind, path in wanted.items()}
    unasked = "fresh" if settings.save_logits else states.pop("logits")
    outdated = () if unasked in ("fresh", "missing", "touched") else (wanted["logits"],)
    kept = tuple(wanted[kind] for kind, state in states.items() if state == "touched")
    todo = {kind: state for kind, state in states.items() if state not in ("fresh", "touched")}
    orphans = tuple(wanted[kind] for kind, state in todo.items() if state == LEFT)
    if states["labels"] == "touched":
        reason = f"kept {wanted['labels']}: somebody else wrote or changed it; --overwrite replaces it"
        return Planned(case, "skip", reason, kept=kept)
    if not todo:
        reason = f"kept {kept[0]}: somebody else changed it; --overwrite replaces it" if kept else "already done"
        return Planned(case, "skip", reason, kept=kept)
    stale = [reason for reason in todo.values() if reason != "missing"]
    reason = stale[0] if stale else ""
    if not stale and "labels" not in todo:
        reason = "its logits are missing"
    return Planned(case, "run", reason, "labels" in todo, "logits" in todo, kept, outdated, orphans)


def _state(
    path: Path,
    folder: Path,
    identity: dict[str, Any],
    record: CaseRecord | None,
    known: Known,
) -> str:
    """``fresh``, ``missing``, ``touched``, or why the file is out of date."""
    if not os.path.lexists(path):
        return "missing"
    output = known.outputs.get(path.relative_to(folder).as_posix())
    if output is None:
        return LEFT if _left_by_us(path, record, known) else "touched"
    if path.is_symlink() or not _unchanged(path, output):
        # A crash between the rename and the ledger's note looks like this, too.
        return LEFT if _left_by_us(path, record, known) else "touched"
    for part, words in PARTS.items():
        if output.identity.get(part) != identity[part]:
            return f"was made with {words}"
    return "fresh"


def _unchanged(path: Path, output: OutputFile) -> bool:
    return stamp_of(path) == output.stamp or sha256_of(path) == output.sha256


def _left_by_us(path: Path, record: CaseRecord | None, known: Known) -> bool:
    """Whether an attempt that did not end well can have committed this file before it could be noted."""
    if record is None or record.state in ("done", "skipped"):
        return False
    if record.ended is not None:
        ended = datetime.fromisoformat(record.ended).timestamp() + 1
    elif known.crashed_at is not None:
        ended = known.crashed_at + 15  # a little more than the heartbeat that `crashed_at` comes from
    else:
        return False
    return datetime.fromisoformat(record.started).timestamp() - 1 <= path.lstat().st_mtime <= ended


def _input_digests(case: Case, record: CaseRecord | None, ledger: Ledger) -> list[str]:
    """SHA-256 of each input file as it is now; empty if that cannot be told, or nothing was done before."""
    if record is None or len(record.inputs) != len(case.paths):
        return []
    current = []
    for path, known in zip(case.paths, record.inputs, strict=True):
        try:
            stamp = stamp_of(path)
            digest = known.sha256 if stamp == known.stamp else _content_digest(path)
        except (OSError, InputError):
            return []  # reading it will say why
        current.append(InputFile(str(path), digest, stamp))
    digests = [item.sha256 for item in current]
    unchanged = digests == [known.sha256 for known in record.inputs]
    if unchanged and tuple(current) != record.inputs and not ledger.read_only:
        ledger.refresh_inputs(case.name, current)
    return digests


def output_identity(identity: dict[str, Any], inputs: Sequence[InputFile]) -> dict[str, Any]:
    """All that decides the content of an output: `Predictor.identity`, and the image."""
    return {**identity, "inputs": [item.sha256 for item in inputs]}


def _content_digest(path: Path) -> str:
    from itk_infer.volume.read import file_sha256  # NumPy: only where a stamp leaves a doubt

    return file_sha256(path)


def input_file(path: Path, sha256: str) -> InputFile:
    """An input as the ledger remembers it."""
    return InputFile(str(path), sha256, stamp_of(path))
