"""Remove, on request, the ledger's rows of images and masks that no longer exist."""

from __future__ import annotations

import os
from pathlib import Path

from itk_infer.outputs.registry import DERIVED, LABELS
from itk_infer.run.ledger import Ledger
from itk_infer.run.masks import images_gone


def forget_missing(folder: Path, ledger: Ledger) -> list[str]:
    """Delete the rows of cases whose image, or all of whose masks, no longer exist. No file is deleted.

    An existing mask stays on record as a file of this program, so that a later run may replace it.

    Returns:
        A sentence per case.
    """
    cases, outputs = ledger.cases(), ledger.outputs()
    lost = images_gone(cases)
    files = [output for output in outputs.values() if output.kind != DERIVED]
    there = {output.path for output in files if os.path.lexists(folder / output.path)}
    masks: dict[str, list[str]] = {name: [] for name in cases}
    for output in files:
        if output.kind == LABELS and output.case in masks:
            masks[output.case].append(output.path)
    sentences = {}
    for name, paths in masks.items():
        left = [path for path in paths if path in there]
        if name in lost:
            sentences[name] = f"{name}: forgotten, because the image is no longer at {lost[name]}"
            if left:
                sentences[name] += f"; {', '.join(left)} stays, and the spreadsheet has no row of it"
        elif paths and not left:
            sentences[name] = f"{name}: forgotten, because {', '.join(paths)} is gone; a run computes it again"
    ledger.forget(sentences, [output.path for output in files if output.path not in there])
    return list(sentences.values())
