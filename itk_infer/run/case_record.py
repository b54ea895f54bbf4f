"""The ledger's record of a case, and of its inputs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from itk_infer.files.records import InputFile
from itk_infer.files.stamp import Stamp


@dataclass(frozen=True, slots=True)
class CaseRecord:
    """The ledger's record of a case."""

    name: str
    state: str
    reason: str | None
    started: str
    attempts: int
    inputs: tuple[InputFile, ...] = ()
    results: dict[str, Any] | None = field(default=None)
    paths: tuple[str, ...] = ()


def packed(item: InputFile) -> dict[str, Any]:
    """Convert an input to the form in the ledger, JSON-ready."""
    stamp = item.stamp
    return {
        "path": item.path,
        "sha256": item.sha256,
        "size": stamp.size,
        "mtime_ns": stamp.mtime_ns,
        "inode": stamp.inode,
    }


def unpacked(item: dict[str, Any]) -> InputFile:
    """Convert the form in the ledger back to an input."""
    return InputFile(item["path"], item["sha256"], Stamp(item["size"], item["mtime_ns"], item["inode"]))
