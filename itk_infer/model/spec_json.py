"""JSON files that describe models."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from itk_infer.errors import SpecError

MAX_SPEC_BYTES = 2**20


def read_json(path: Path) -> Any:
    """Read a spec file.

    Raises:
        SpecError: it cannot be read, is larger than `MAX_SPEC_BYTES`, or is not JSON.
    """
    try:
        if path.stat().st_size > MAX_SPEC_BYTES:
            raise SpecError(f"{path}: larger than 1 MiB; this is not a model spec")
        return json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise SpecError(f"{path}: cannot be read ({error.strerror})") from None
    except (ValueError, RecursionError) as error:
        raise SpecError(f"{path}: is not valid JSON ({error})") from None
