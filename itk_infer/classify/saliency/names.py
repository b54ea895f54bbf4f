"""File names of panels; an image has the same name in every run."""

from __future__ import annotations

import hashlib
import re
from pathlib import PurePosixPath

from itk_infer.classify.tables.source import ImageRow

LONGEST = 64  # longest UID, in characters


def panel_stem(row: ImageRow) -> str:
    """``<study>/<series>/<position>_<identifier>``, with slashes; frames of one file have numbers."""
    place = "" if row.position is None else f"{row.position:+09.2f}_"
    frame = f"_{row.frame:04d}" if (row.frames or 1) > 1 or row.frame else ""
    name = row.sop
    if name.startswith("sha256:"):  # the file has no UID
        name = f"{PurePosixPath(row.path).stem[:40]}-{name[7:15]}"
    return f"{safe(row.study)}/{safe(row.series or 'series')}/{place}{safe(name)}{frame}"


def safe(text: str) -> str:
    """A valid file name on all systems; different texts give different names."""
    plain = re.sub(r"[^A-Za-z0-9.-]", "_", text).strip(".")
    if plain == text and 0 < len(plain) <= LONGEST:
        return plain
    return f"{plain[: LONGEST - 9]}-{hashlib.sha256(text.encode('utf-8', 'surrogateescape')).hexdigest()[:8]}"
