"""Where the program keeps what it found out on this machine, and can find out again."""

from __future__ import annotations

import os
from pathlib import Path


def user_cache() -> Path | None:
    """The program's folder among the user's caches; it may not exist yet. None for a user without a home."""
    from platformdirs import user_cache_path

    folder = user_cache_path("itk_infer", appauthor=False)
    return folder if folder.is_absolute() else None  # "~/.cache" would become a folder "~" in the current one


def kept_folder(name: str) -> Path | None:
    """A folder of the cache, made; None where it cannot be written."""
    cache = user_cache()
    if cache is None:
        return None
    folder = cache / name
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    return folder if os.access(folder, os.W_OK) else None
