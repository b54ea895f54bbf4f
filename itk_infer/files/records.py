"""Input and output files as they were when they were read and written: what a ledger keeps of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from itk_infer.files.stamp import Stamp


@dataclass(frozen=True, slots=True)
class InputFile:
    """One input file as it was when it was read."""

    path: str
    sha256: str
    stamp: Stamp


@dataclass(frozen=True, slots=True)
class OutputFile:
    """One output file as it was when it was committed.

    Attributes:
        path: Below the output folder, with slashes.
        case: Name of its case; empty for a table.
        kind: Name of the output (see `itk_infer.outputs.registry`); ``derived`` for a table.
        identity: All that decides its content besides the image.
        sha256: SHA-256 of the content.
        stamp: When it was committed.
        results: Measurements of this label map; None for other outputs, and in ledgers of version 1.
    """

    path: str
    case: str
    kind: str
    identity: dict[str, Any]
    sha256: str
    stamp: Stamp
    results: dict[str, Any] | None = None
