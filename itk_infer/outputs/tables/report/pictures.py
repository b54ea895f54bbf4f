"""Pictures of the report, reduced so that they can be embedded in the page."""

from __future__ import annotations

import base64
import io
from pathlib import Path

from itk_infer.outputs.tables.report.entry import Entry

MAX_CASES_INSIDE = 2000  # beyond that, or MAX_BYTES_INSIDE, pictures are linked
MAX_BYTES_INSIDE = 50_000_000
SMALL = 24_000  # bytes; larger pictures are reduced
WIDTH = 480  # pixels of a reduced picture
QUALITY = 78
TYPES = {".webp": "image/webp", ".png": "image/png", ".jpg": "image/jpeg"}


def are_inside(entries: list[Entry]) -> bool:
    """Whether pictures are embedded in the page."""
    total = sum(min(entry.facts.picture_stamp[0], SMALL) for entry in entries if entry.facts.picture)
    return len(entries) <= MAX_CASES_INSIDE and total <= MAX_BYTES_INSIDE


def data_uri(path: Path) -> str:
    """Encode a picture as a data URI; empty if it cannot be read.

    Large pictures are reduced to `WIDTH` pixels, as WebP.
    """
    from PIL import Image

    try:
        data = path.read_bytes()
        kind = TYPES[path.suffix.lower()]
        if len(data) > SMALL:
            with Image.open(io.BytesIO(data)) as picture:
                picture.thumbnail((WIDTH, WIDTH))
                small = io.BytesIO()
                picture.convert("RGB").save(small, "WEBP", quality=QUALITY)
            data, kind = small.getvalue(), "image/webp"
    except (OSError, ValueError, Image.DecompressionBombError):
        return ""
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"
