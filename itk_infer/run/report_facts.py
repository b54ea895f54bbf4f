"""What the report has besides measurements: digests, pictures, times, decisions, runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from itk_infer.outputs.tables.table import FolderView, MaskFacts, RunFacts
from itk_infer.run.decision import Review
from itk_infer.run.decisions import mask_digests, valid_reviews
from itk_infer.run.ledger import Ledger
from itk_infer.run.masks import Mask
from itk_infer.volume.names import split_suffix

PICTURES = "pictures"
PICTURE_ENDINGS = (".webp", ".png", ".jpg")


def with_facts(view: FolderView, folder: Path, ledger: Ledger, masks: Sequence[Mask]) -> FolderView:
    """Add to a view what only the report and the viewer need."""
    digests = mask_digests(folder, ledger.outputs())
    reviews = valid_reviews(ledger, digests)
    drawn = {row.mask or row.file: row.picture for row in view.rows}
    facts = {
        mask.path or mask.case: _facts(
            folder, mask, drawn.get(mask.path or mask.case, ""), digests.get(mask.path, ""), reviews.get(mask.path)
        )
        for mask in masks
        if mask.listed
    }
    runs = [
        RunFacts(
            started,
            ended or "",
            tuple(about.get("command", ())),
            about.get("versions", {}),
            str(about.get("device", "")),
            " ".join(str(part) for part in about.get("model", {}).values() if part),
        )
        for started, ended, _, about in ledger.runs()
    ]
    failed = {name: case.reason or "" for name, case in ledger.cases().items() if case.state == "failed"}
    return replace(view, folder=folder, facts=facts, runs=runs, failed=failed)


def picture_of(folder: Path, case: str, pictures: str = PICTURES) -> str:
    """Find the picture of a case, below the output folder; empty if there is none.

    Args:
        folder: Output folder.
        case: Name of the case: the image's path below the input folder.
        pictures: Folder of pictures in `folder`, with the same sub-folders as the images.
    """
    name = PurePosixPath(case)
    stem, _ = split_suffix(name.name)
    for ending in PICTURE_ENDINGS:
        path = PurePosixPath(pictures) / name.parent / f"{stem}{ending}"
        if ".." not in path.parts and (folder / path).is_file():
            return path.as_posix()
    return ""


def _facts(folder: Path, mask: Mask, drawn: str, digest: str, review: Review | None) -> MaskFacts:
    picture = drawn if drawn and (folder / drawn).is_file() else picture_of(folder, mask.case)
    stamp = (folder / picture).stat() if picture else None
    results = mask.results or {}
    return MaskFacts(
        digest,
        picture,
        (stamp.st_size, stamp.st_mtime_ns) if stamp else (0, 0),
        results.get("seconds", {}),
        str(results.get("ended") or ""),
        *((review.verdict, review.who, review.time, review.note) if review else ()),
    )
