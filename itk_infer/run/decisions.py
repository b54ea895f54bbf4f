"""Decisions about masks: which are still valid, and those exported from the report as a CSV file."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from itk_infer.errors import ConfigError
from itk_infer.files.records import OutputFile
from itk_infer.files.stamp import sha256_of
from itk_infer.outputs.registry import LABELS
from itk_infer.run.decision import VERDICTS, Review
from itk_infer.run.ledger import Ledger
from itk_infer.run.plan import is_unchanged

COLUMNS = ("case", "mask", "sha256", "verdict", "who", "when", "note")
REQUIRED = ("mask", "sha256", "verdict")
MAX_NAMED = 5


def mask_digests(folder: Path, outputs: Mapping[str, OutputFile]) -> dict[str, str]:
    """SHA-256 of each existing label map, by path; files that were changed after a run are read again.

    Args:
        folder: Output folder.
        outputs: Outputs in the ledger, by path.
    """
    digests = {}
    for name, output in outputs.items():
        path = folder / name
        if output.kind == LABELS and path.is_file():
            kept = not path.is_symlink() and is_unchanged(path, output)
            digests[name] = output.sha256 if kept else sha256_of(path)
    return digests


def valid_reviews(ledger: Ledger, digests: Mapping[str, str]) -> dict[str, Review]:
    """Decisions that are valid for the masks as they are now, by path.

    Args:
        ledger: The ledger of the output folder.
        digests: See `mask_digests`.
    """
    reviews = ledger.reviews()
    return {path: reviews[path, digest] for path, digest in digests.items() if (path, digest) in reviews}


@dataclass(frozen=True, slots=True)
class ReadDecisions:
    """The content of a file of decisions.

    Attributes:
        reviews: Decisions about existing masks.
        outdated: Masks that were changed or removed since; their rows are left out.
    """

    reviews: tuple[Review, ...]
    outdated: tuple[str, ...]

    @property
    def sentence(self) -> str:
        """A sentence on what was recorded and what was left out."""
        words = f"{len(self.reviews)} decisions recorded"
        if self.outdated:
            more = f" and {len(self.outdated) - MAX_NAMED} more" if len(self.outdated) > MAX_NAMED else ""
            words += (
                f"; {len(self.outdated)} left out, because the mask changed or vanished after it was looked at: "
                f"{', '.join(self.outdated[:MAX_NAMED])}{more}"
            )
        return words


def read_decisions(path: Path, outputs: Mapping[str, OutputFile], digests: Mapping[str, str]) -> ReadDecisions:
    """Read the CSV file that the report's page exports.

    Args:
        path: File with the columns `COLUMNS`; rows without a verdict are skipped.
        outputs: Outputs in the ledger, by path.
        digests: See `mask_digests`.

    Raises:
        ConfigError: the file cannot be read, lacks a column, or has an unknown verdict.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ConfigError(f"{path}: cannot be read ({reason}); export the decisions again") from None
    delimiter = ";" if text.partition("\n")[0].count(";") >= len(REQUIRED) - 1 else ","
    try:
        rows = list(csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter))
    except csv.Error as error:
        raise ConfigError(f"{path}: is not a CSV file ({error}); export the decisions again") from None
    missing = [name for name in REQUIRED if not rows or rows[0].get(name) is None]
    if rows and missing:
        raise ConfigError(f"{path}: has no column {missing[0]!r}; there must be {', '.join(COLUMNS)}")
    reviews, outdated = [], []
    for number, row in enumerate(rows, 2):
        cells = {name: plain_cell(row.get(name) or "") for name in COLUMNS}
        verdict = cells["verdict"].strip().lower()
        if not verdict:
            continue
        if verdict not in VERDICTS:
            raise ConfigError(f"{path}, row {number}: verdict {verdict!r}; write one of {', '.join(VERDICTS)}")
        mask = cells["mask"]
        if digests.get(mask) != cells["sha256"] or mask not in outputs:
            outdated.append(mask)
            continue
        time = cells["when"] or datetime.now(UTC).isoformat(timespec="seconds")
        reviews.append(
            Review(mask, cells["sha256"], outputs[mask].case, verdict, cells["who"], time, cells["note"])
        )
    return ReadDecisions(tuple(reviews), tuple(outdated))


def record_decisions(folder: Path, ledger: Ledger, path: Path) -> str:
    """Record a file of decisions in the ledger, except older ones. Raises what `read_decisions` raises.

    Returns:
        A sentence: how many were recorded, and which were left out.
    """
    outputs = ledger.outputs()
    digests = mask_digests(folder, outputs)
    read, known = read_decisions(path, outputs, digests), valid_reviews(ledger, digests)
    ledger.record_reviews(r for r in read.reviews if r.path not in known or r.time >= known[r.path].time)
    return f"{path}: {read.sentence}"


def plain_cell(text: str) -> str:
    """Remove the apostrophe that prevents a spreadsheet from evaluating a cell as a formula."""
    return text[1:] if len(text) > 1 and text[0] == "'" and text[1] in "=+-@" else text
