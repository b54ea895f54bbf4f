"""Decide what to do about each case, from the ledger and the existing files."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from itk_infer.case.case import Case
from itk_infer.case.identity import difference
from itk_infer.errors import InputError
from itk_infer.files.intent import is_intended
from itk_infer.files.records import InputFile, OutputFile
from itk_infer.files.stamp import absolute_path, sha256_of, stamp_of
from itk_infer.outputs.registry import OUTPUTS
from itk_infer.run.case_record import CaseRecord
from itk_infer.run.ledger import Ledger
from itk_infer.run.settings import RunSettings

ALREADY_DONE = "already done"

OTHER_INPUT = "was made with another input"


@dataclass(frozen=True, slots=True)
class CaseAction:
    """What the run does about one case, and why.

    Attributes:
        case: The case.
        action: ``run``, ``skip`` or ``fail``.
        reason: Why; empty for a new case.
        wanted: Names of the outputs to write, and their files, in the order of the table.
        kept: Files that another program wrote or changed and that stay.
        outdated: Earlier outputs, by name, that are not asked for now and will not match the new ones.
    """

    case: Case
    action: str
    reason: str = ""
    wanted: tuple[tuple[str, Path], ...] = ()
    kept: tuple[Path, ...] = ()
    outdated: tuple[tuple[str, Path], ...] = ()


@dataclass(frozen=True, slots=True)
class LedgerSnapshot:
    """The content of the ledger before the run.

    Attributes:
        cases: Cases by name.
        outputs: Outputs by path below the output folder.
        inputs: Device and inode of every input file of the run.
    """

    cases: Mapping[str, CaseRecord]
    outputs: Mapping[str, OutputFile]
    inputs: frozenset[tuple[int, int]] = frozenset()


def make_plan(
    cases: Sequence[Case],
    settings: RunSettings,
    identity: dict[str, Any],
    ledger: Ledger,
) -> list[CaseAction]:
    """Decide what to do about every case.

    Args:
        cases: The cases found.
        settings: The settings of the run.
        identity: `Predictor.identity`.
        ledger: The ledger. Unless it is read-only, new stamps of unchanged inputs are recorded.
    """
    known = LedgerSnapshot(
        ledger.cases(), ledger.outputs(), _identities(path for case in cases for path in case.files)
    )
    return [_planned(case, settings, identity, known, ledger) for case in cases]


def _planned(
    case: Case, settings: RunSettings, identity: dict[str, Any], known: LedgerSnapshot, ledger: Ledger
) -> CaseAction:
    if case.problem is not None:
        return CaseAction(case, "fail", case.problem)
    paths = settings.paths(case)
    names = settings.outputs
    asked = {name: path for name, path in paths.items() if name in names}
    unasked = {name: path for name, path in paths.items() if name not in asked}
    refusal = _without_source(case, asked) or _danger(paths.values(), settings.output, known)
    if refusal:
        return CaseAction(case, "fail", refusal)
    if settings.overwrite:
        earlier = _other_source(case, asked.values(), settings.output, known)
        reason = f"replaces the result of {earlier}" if earlier else ""
        stays = {
            name: path
            for name, path in unasked.items()
            if path.relative_to(settings.output).as_posix() in known.outputs
        }
        return CaseAction(case, "run", reason, tuple(asked.items()), outdated=tuple(stays.items()))
    record = known.cases.get(case.name)
    identity = {**identity, "inputs": _input_digests(case, record, ledger)}
    states = {name: _state(path, settings.output, identity, known) for name, path in paths.items()}
    outdated = tuple(
        (name, path) for name, path in unasked.items() if states[name] not in ("fresh", "missing", "touched")
    )
    kept = tuple(path for name, path in asked.items() if states[name] == "touched")
    todo = {name: path for name, path in asked.items() if states[name] not in ("fresh", "touched")}
    if not todo:
        words = "it was there before" if settings.file_name is not None else "another program wrote or changed it"
        reason = f"kept {kept[0]}: {words}; `overwrite` replaces it" if kept else ALREADY_DONE
        return CaseAction(case, "skip", reason, kept=kept)
    replaced = [path for name, path in todo.items() if states[name] == OTHER_INPUT]
    earlier = _other_source(case, replaced, settings.output, known)
    if earlier and not _is_withdrawn(earlier):
        return CaseAction(
            case,
            "fail",
            f"{replaced[0]} is the result of another image, {earlier}; choose another output folder or, to have "
            "it replaced, move it away or give `overwrite`",
        )
    stale = [states[name] for name in todo if states[name] != "missing"]
    reason = stale[0] if stale else ""
    if earlier:
        reason = f"{OTHER_INPUT}, {earlier}"
    if not stale and all(OUTPUTS[name].flags for name in todo):
        reason = _missing([OUTPUTS[name].title for name in todo])
    return CaseAction(case, "run", reason, tuple(todo.items()), kept, outdated)


def _missing(titles: Sequence[str]) -> str:
    several = len(titles) > 1 or titles[0].endswith("s")
    return f"its {' and '.join(titles)} {'were' if several else 'was'} missing"


def _without_source(case: Case, asked: Iterable[str]) -> str:
    """Why outputs that refer to a DICOM series cannot be made for a case; empty if they can."""
    kind = next((OUTPUTS[name] for name in asked if "source" in OUTPUTS[name].needs), None)
    if kind is None or case.series:
        return ""
    return f"is not a DICOM series, to which a {kind.title} refers: give the series, or leave `{kind.keyword}` out"


def _danger(paths: Iterable[Path], folder: Path, known: LedgerSnapshot) -> str:
    """Why writing these outputs could overwrite something else; empty if it cannot."""
    for path in paths:
        if _identities([path]) & known.inputs:
            return f"would replace the input {path}; choose another output folder"
        for parent in path.relative_to(folder).parents:
            if (folder / parent).is_symlink() and parent.name:
                return (
                    f"{folder / parent} is a link, and nothing is written through a link; replace it by a folder"
                )
    return ""


def _identities(paths: Iterable[Path]) -> frozenset[tuple[int, int]]:
    """Device and inode of the paths that exist."""
    found = set()
    for path in paths:
        with contextlib.suppress(OSError):
            stat = path.stat()
            found.add((stat.st_dev, stat.st_ino))
    return frozenset(found)


def _state(
    path: Path,
    folder: Path,
    identity: dict[str, Any],
    known: LedgerSnapshot,
) -> str:
    """``fresh``, ``missing``, ``touched``, or why the file is out of date."""
    if not os.path.lexists(path):
        return "missing"
    output = known.outputs.get(path.relative_to(folder).as_posix())
    if output is None or path.is_symlink() or not is_unchanged(path, output):
        # A run may have been killed between naming the file and recording it.
        return "left by an interrupted run" if is_intended(path) else "touched"
    words = difference(output.identity, identity, output.kind)
    return f"was made with {words}" if words else "fresh"


def _other_source(case: Case, paths: Iterable[Path], folder: Path, known: LedgerSnapshot) -> Path | None:
    """Another input file from which one of these outputs was made; None if there is none."""
    for path in paths:
        output = known.outputs.get(path.relative_to(folder).as_posix())
        record = known.cases.get(output.case) if output is not None else None
        for item, own in zip(record.inputs if record else (), case.paths, strict=False):
            earlier = Path(item.path)  # a relative one, as older ledgers hold, has no known starting folder
            if earlier.is_absolute() and earlier != absolute_path(own):
                return earlier
    return None


def _is_withdrawn(path: Path) -> bool:
    """Whether an input was certainly removed: its folder exists, but the file does not."""
    return path.parent.is_dir() and not os.path.lexists(path)


def is_unchanged(path: Path, output: OutputFile) -> bool:
    """Whether a file is the one that was committed: by its stamp, or else by its content."""
    return stamp_of(path) == output.stamp or sha256_of(path) == output.sha256


def _input_digests(case: Case, record: CaseRecord | None, ledger: Ledger) -> list[str]:
    """SHA-256 of each input file as it is now; empty if it cannot be read, or has no earlier record."""
    if record is None or len(record.inputs) != len(case.paths):
        return []
    current = []
    try:
        stamps = case.stamps()
        for index, (path, stamp, known) in enumerate(zip(case.paths, stamps, record.inputs, strict=True)):
            digest = known.sha256 if stamp == known.stamp else _content_digest(case, index)
            current.append(InputFile(str(absolute_path(path)), digest, stamp))
    except (OSError, InputError):
        return []  # the attempt to read it reports why
    digests = [item.sha256 for item in current]
    unchanged = digests == [known.sha256 for known in record.inputs]
    if unchanged and tuple(current) != record.inputs and not ledger.read_only:
        ledger.refresh_inputs(case.name, current)
    return digests


def _content_digest(case: Case, channel: int) -> str:
    # imports NumPy, so only if the stamp differs
    if case.series:
        from itk_infer.volume.dicom.reading import series_sha256

        return series_sha256(case.series[channel])
    from itk_infer.volume.read import file_sha256

    return file_sha256(case.paths[channel])
