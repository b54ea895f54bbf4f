"""Folders for outputs."""

from __future__ import annotations

from pathlib import Path

from itk_infer.errors import ConfigError


def make_folder(folder: Path) -> None:
    """Make a folder for outputs.

    Raises:
        ConfigError: it cannot be created.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{folder}: cannot be created ({error.strerror})") from None
