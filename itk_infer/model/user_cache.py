"""Where the program keeps what it found out on this machine, and can find out again."""

from __future__ import annotations

from pathlib import Path


def user_cache() -> Path:
    """The program's folder among the user's caches; it may not exist yet."""
    from platformdirs import user_cache_path

    return user_cache_path("itk_infer", appauthor=False)
