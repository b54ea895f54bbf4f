"""Temporary images of the MONAI Label interface, which clients send in order to segment them more than once.

A session has a random id, which names its folder. It ends `KEPT_S` seconds after its last use, or on request.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from itk_infer.files.commit import remove
from itk_infer.files.folders import make_folder
from itk_infer.service.intake import check_image, recognised_suffix
from itk_infer.service.refusal import Refusal

ID = re.compile(r"[0-9a-f]{32}")
KEPT_S = 3600


@dataclass(frozen=True, slots=True)
class Session:
    """A session: its id, its image, and the time of its last use, in seconds since the epoch."""

    id: str
    image: Path
    used: float


class SessionStore:
    """Stores sessions of the MONAI Label interface; thread-safe.

    Args:
        folder: Folder for a subfolder per session; created if missing.
        max_image: Largest size of an image's decoded voxels, in bytes.
    """

    def __init__(self, folder: Path, max_image: int) -> None:
        make_folder(folder)
        self._folder = folder
        self._max_image = max_image

    def add(self, upload: Path) -> Session:
        """Start a session with an image.

        Args:
            upload: A complete file, which is moved.

        Raises:
            Refusal: the file is not an image.
        """
        self._sweep()
        session_id = secrets.token_hex(16)
        folder = self._folder / session_id
        folder.mkdir()
        try:
            image = folder / f"image{recognised_suffix(upload)}"
            upload.replace(image)
            check_image(image, self._max_image)
        except BaseException:
            remove(folder)
            raise
        return self.get(session_id)

    def get(self, session_id: str) -> Session:
        """The session with an id; sets the time of its last use.

        Raises:
            Refusal: ``not_found``.
        """
        folder = self._folder / session_id
        try:
            if not ID.fullmatch(session_id):
                raise FileNotFoundError
            image = next(folder.glob("image.*"))
            os.utime(folder)
        except (OSError, StopIteration):
            raise Refusal(
                "not_found", "there is no such session; it may have ended; send the image again"
            ) from None
        return Session(session_id, image, time.time())

    def copy_to(self, session_id: str, upload: Path) -> None:
        """Copy the image of a session to another path, as a hard link if possible.

        Raises:
            Refusal: ``not_found``.
        """
        image = self.get(session_id).image
        try:
            os.link(image, upload)
        except OSError:  # the file system has no hard links
            shutil.copyfile(image, upload)

    def remove(self, session_id: str) -> Session:
        """End a session and return it. Raises as `get`."""
        session = self.get(session_id)
        remove(self._folder / session_id)
        return session

    def _sweep(self) -> None:
        for folder in self._folder.iterdir():
            if time.time() - folder.stat().st_mtime > KEPT_S:
                remove(folder)
