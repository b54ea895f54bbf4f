"""The tables that are made from the ledger and the existing masks, and can be made again at any time."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from itk_infer._version import __version__
from itk_infer.files.intent import is_intended, remove_intent
from itk_infer.files.records import OutputFile
from itk_infer.files.stamp import sha256_of, stamp_of
from itk_infer.outputs.registry import DERIVED, REPORT, run_outputs
from itk_infer.outputs.tables.table import CaseRow, FolderView, Table
from itk_infer.run.label_schemes import OTHER_TABLE, LabelScheme, label_schemes
from itk_infer.run.ledger import Ledger
from itk_infer.run.masks import Mask, masks_on_record
from itk_infer.run.report_facts import with_facts
from itk_infer.run.review import missing_labels, review_reasons
from itk_infer.run.verdicts import with_verdicts
from itk_infer.spec import Label
from itk_infer.spec.calibration import Calibration

MOST_NAMED = 5


def write_derived(
    folder: Path,
    ledger: Ledger,
    *,
    asked: Collection[str],
    overwrite: bool,
    renew: bool = False,
    calibration: Calibration | None = None,
) -> list[str]:
    """Write outputs of the stage ``run`` that are asked for or exist, unless they are up to date.

    Args:
        folder: Output folder.
        ledger: Its ledger.
        asked: Names of outputs; those without a flag are always written.
        overwrite: Replace files that another program changed.
        renew: Also write files that are up to date.
        calibration: Gives each mask a verdict.

    Returns:
        Sentences about masks that may mislead, see `masks_in_words`, and about files that were kept because
        another program changed them.

    Raises:
        OutputError: a file cannot be written.
    """
    outputs = ledger.outputs()
    view, masks, schemes = _view(folder, ledger)
    if not masks:
        return []
    if calibration is not None:
        view = replace(view, rows=with_verdicts(view.rows, masks, outputs, calibration))
    kinds = [k for k in run_outputs() if not k.flags or k.name in asked or (folder / str(k.ending)).exists()]
    if any(kind.name == REPORT for kind in kinds):
        view = with_facts(view, folder, ledger, masks)
    tables: dict[str, Table] = {}
    for kind in kinds:
        tables |= kind.load()(view)
    sentences = masks_in_words(folder, masks, schemes)
    for name, table in tables.items():
        path, output, digest = folder / name, outputs.get(name), _digest(table.content)
        known = output is not None and output.identity.get("content") == digest
        if known and not (renew or overwrite) and path.exists():
            continue
        if not overwrite and _touched(path, output):
            sentences.append(f"kept {path}: another program wrote or changed it; `overwrite` replaces it")
            continue
        table.write(path)
        ledger.record_output(OutputFile(name, "", DERIVED, {"content": digest}, sha256_of(path), stamp_of(path)))
        remove_intent(path)
    for name, output in outputs.items():
        if output.kind == DERIVED and OTHER_TABLE.fullmatch(name) and name not in tables:
            if not _touched(folder / name, output):
                (folder / name).unlink(missing_ok=True)
            ledger.forget([], [name])
    return sentences


def report_view(folder: Path, ledger: Ledger) -> FolderView:
    """Return what the report is made from; writes nothing."""
    view, masks, _ = _view(folder, ledger)
    return with_facts(view, folder, ledger, masks)


def _view(folder: Path, ledger: Ledger) -> tuple[FolderView, list[Mask], dict[str, LabelScheme]]:
    model, outputs = ledger.last_model(), ledger.outputs()
    masks = masks_on_record(folder, ledger.cases(), outputs, model.get("identity", {}))
    schemes = label_schemes(masks, [Label(**label) for label in model.get("labels", ())])
    pictures = {output.case: output for output in outputs.values() if output.kind == "pictures"}
    rows = _rows([mask for mask in masks if mask.listed], schemes, pictures)
    tables = {name: list(scheme.labels.values()) for name, scheme in schemes.items()}
    return FolderView(rows, tables, folder), masks, schemes


def masks_in_words(folder: Path, masks: Sequence[Mask], schemes: dict[str, LabelScheme]) -> list[str]:
    """Return sentences about masks whose measurements or labels may mislead, one per kind."""
    sentences = [
        f"{_named(scheme.masks)}: the values mean other labels than in the masks of the latest run; "
        f"the label table of these is {folder / name}"
        for name, scheme in list(schemes.items())[1:]
    ]
    named = {path for scheme in list(schemes.values())[1:] for path in scheme.masks}
    otherwise = [mask.path for mask in masks if mask.difference and mask.path not in named]
    if otherwise:
        sentences.append(
            f"{_named(otherwise)}: made with another model or other settings than the latest run; "
            f"itk_infer status {folder} lists them"
        )
    gone = [mask.case for mask in masks if mask.listed and mask.gone]
    if gone:
        sentences.append(
            f"{_named(gone)}: on record, but the image or the mask is gone; itk_infer report {folder} "
            "`forget_missing` drops the rows"
        )
    return sentences


def _agreement(known: Mapping[str, Any] | None, lacks: str) -> float | None:
    """The agreement of the worst label; 0 if a label is missing that most cases have."""
    value: float | None = known.get("agreement") if known else None
    return 0.0 if lacks and value is not None else value


def _named(names: Sequence[str]) -> str:
    names = list(dict.fromkeys(names))
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return ", ".join(names[:MOST_NAMED]) + more


def _touched(path: Path, output: OutputFile | None) -> bool:
    if not os.path.lexists(path):
        return False
    known = output is not None and not path.is_symlink() and sha256_of(path) == output.sha256
    return not known and not is_intended(path)


def _digest(content: Sequence[object]) -> str:
    return hashlib.sha256(json.dumps([__version__, *content]).encode()).hexdigest()


def _rows(
    masks: Sequence[Mask], schemes: dict[str, LabelScheme], pictures: Mapping[str, OutputFile]
) -> list[CaseRow]:
    """One row per mask; measurements of masks that no longer exist are left out."""
    table_of = {path: name for name, scheme in schemes.items() for path in scheme.masks}
    reasons: dict[str, str] = {}
    missing: dict[str, str] = {}
    for name in schemes:  # masks are compared with others of the same labels only
        alike = [m for m in masks if m.results and m.path and m.present and table_of.get(m.path) == name]
        results = {mask.path: mask.results for mask in alike if mask.results}
        reasons |= review_reasons(results)
        missing |= missing_labels(results)
    rows = []
    for mask in masks:
        known = mask.results if mask.present or not mask.path else None
        findings = known["findings"] if known else ()
        lacks = missing.get(mask.path, "") if known and known.get("soft_dice") is not None else ""
        rows.append(
            CaseRow(
                file=mask.case,
                confidence=known["confidence"] if known else None,
                confidence_foreground=known["confidence_foreground"] if known else None,
                confidence_per_label={f["name"]: f["confidence"] for f in findings},
                volumes_ml={f["name"]: f["volume_ml"] for f in findings},
                review="; ".join(filter(None, (*mask.remarks, reasons.get(mask.path, "")))),
                mask=mask.path,
                label_table=table_of.get(mask.path, "") if mask.present else "",
                picture=pictures[mask.case].path if mask.case in pictures else "",
                picture_sha256=pictures[mask.case].sha256 if mask.case in pictures else "",
                soft_dice=0.0 if lacks else known.get("soft_dice") if known else None,
                worst_label=lacks or (known.get("worst_label") or "" if known else ""),
                soft_dice_per_label={f["name"]: f.get("soft_dice") for f in findings},
                expected_ml={f["name"]: f.get("expected_ml") for f in findings},
                components={f["name"]: f.get("components") for f in findings},
                outside_largest={f["name"]: f.get("outside_largest") for f in findings},
                agreement=_agreement(known, lacks),
                agreement_per_label={f["name"]: f.get("agreement") for f in findings},
                mutual_information=known.get("mutual_information") if known else None,
            )
        )
    return rows
