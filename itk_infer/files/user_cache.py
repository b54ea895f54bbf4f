"""The user's cache folder, for results that depend on this machine and can be computed again."""

from __future__ import annotations

import os
from pathlib import Path


def user_cache() -> Path | None:
    """The program's cache folder; it may not exist yet. None for a user without a home folder."""
    from platformdirs import user_cache_path

    folder = user_cache_path("itk_infer", appauthor=False)
    return folder if folder.is_absolute() else None  # "~/.cache" would become a folder "~" in the current one


def kept_folder(name: str) -> Path | None:
    """Create a sub-folder of the cache; None where it cannot be written."""
    cache = user_cache()
    if cache is None:
        return None
    folder = cache / name
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    return folder if os.access(folder, os.W_OK) else None
