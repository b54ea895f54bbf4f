"""Digests of the pixels of files that are classified already, for images that have one UID.

A digest takes as long as the rest of the work on an uncompressed picture outside the network, and hardly any image
shares its UID with another one. Digests are therefore computed at the end of a run, of those that do.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from itk_infer.errors import InputError
from itk_infer.volume.picture_input.opening import open_pictures
from itk_infer.volume.picture_input.picture import NotAPicture, Pictures

OPEN_FILES = 3


class PixelDigests:
    """Reads files again.

    Args:
        root: Folder that paths of files are relative to.
        check: Called before each picture; raises to stop the run.
    """

    def __init__(self, root: Path, check: Callable[[], None] = lambda: None) -> None:
        self._root, self._check = root, check
        self._open: dict[str, Pictures] = {}  # the last ones, as each frame of two files is asked for in turn

    def __call__(self, path: str, sha256: str, frame: int) -> str:
        """Digest of a picture's decoded values; empty if its file is gone or has another content now.

        Args:
            path: Path of the file, relative to the root.
            sha256: Digest of the content that was classified.
            frame: Number of the picture, from 0.
        """
        self._check()
        try:
            if path not in self._open:
                while len(self._open) >= OPEN_FILES:
                    del self._open[next(iter(self._open))]
                self._open[path] = open_pictures(self._root / path)
            pictures = self._open[path]
            return pictures.picture(frame).sha256 if pictures.sha256 == sha256 else ""
        except (InputError, NotAPicture):
            return ""
