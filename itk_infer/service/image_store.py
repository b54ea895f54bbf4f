"""Images that clients of the MONAI Label interface store on the server, with manually drawn labels.

The folder of an image is named by a digest of its id, which the client chose. Each label is stored under a new
number, and is never replaced or deleted, because it is manual work.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from itk_infer.files.commit import new_file, remove, write_bytes
from itk_infer.files.folders import make_folder
from itk_infer.service.intake import check_image, recognised_suffix
from itk_infer.service.refusal import Refusal

ABOUT, CONFIDENCE, LABELS = "about.json", "confidence.json", "labels"
LONGEST_ID = 200
TAG = re.compile(r"[A-Za-z0-9_-]{1,40}")


@dataclass(frozen=True, slots=True)
class StoredImage:
    """A stored image.

    Attributes:
        id: Id chosen by the client.
        folder: Folder of the image and its labels.
        path: File of the image.
        created: Time in seconds since the epoch.
        confidence: Confidence of its last segmentation; None if it was not segmented.
    """

    id: str
    folder: Path
    path: Path
    created: float
    confidence: float | None

    @property
    def labels(self) -> dict[str, Path]:
        """The latest label file of each tag."""
        found = {}
        for path in sorted((self.folder / LABELS).glob("[0-9]*-*.*")):
            found[path.name.partition("-")[2].partition(".")[0]] = path
        return found

    @property
    def suffix(self) -> str:
        """Suffix of the image file, with its dot."""
        return self.path.name.removeprefix("image")


class ImageStore:
    """Stores images of the MONAI Label interface; thread-safe.

    Args:
        folder: Folder for a subfolder per image; created if missing.
        max_image: Largest size of an image's decoded voxels, in bytes.
    """

    def __init__(self, folder: Path, max_image: int) -> None:
        make_folder(folder)
        self._folder = folder
        self._max_image = max_image
        self._lock = threading.Lock()

    def add(self, image_id: str, upload: Path) -> StoredImage:
        """Store an image. If the id has an image with the same content, that one is returned.

        Args:
            image_id: Id chosen by the client.
            upload: A complete file, which is moved.

        Raises:
            Refusal: the file is not an image; ``conflict``: the id has another image.
        """
        folder = self._folder_of(image_id)
        checked = upload.with_name(f"{upload.name}{recognised_suffix(upload)}")
        upload.replace(checked)
        try:
            check_image(checked, self._max_image)
            with self._lock:
                former = self._read(folder)
                if former is not None:
                    if _digest(former.path) != _digest(checked):
                        raise Refusal("conflict", "another image has this id; give the volume another name")
                    return former
                remove(folder)  # incomplete, left by a killed server
                (folder / LABELS).mkdir(parents=True)
                checked.replace(folder / f"image{checked.name.removeprefix(upload.name)}")
                about = {"id": image_id, "created": time.time()}
                write_bytes(json.dumps(about).encode(), folder / ABOUT)
        finally:
            remove(checked)
        return self.get(image_id)

    def get(self, image_id: str) -> StoredImage:
        """The image with an id.

        Raises:
            Refusal: ``not_found``.
        """
        found = self._read(self._folder_of(image_id))
        if found is None:
            raise Refusal("not_found", "there is no image of this id; send it first")
        return found

    def all(self) -> list[StoredImage]:
        """All images, oldest first."""
        found = (self._read(folder) for folder in self._folder.iterdir())
        return sorted((image for image in found if image is not None), key=lambda image: image.created)

    def segmented(self, image: StoredImage, confidence: float | None) -> None:
        """Store the confidence of an image's last segmentation."""
        write_bytes(json.dumps(confidence).encode(), image.folder / CONFIDENCE)

    def next_to_label(self) -> StoredImage:
        """The unlabelled image with the lowest confidence of its segmentation, or else the oldest one.

        Raises:
            Refusal: ``not_found``: all images have labels.
        """
        waiting = [image for image in self.all() if not image.labels]
        if not waiting:
            raise Refusal("not_found", "every image on the server has a label")
        return min(waiting, key=lambda image: (image.confidence is None, image.confidence or 0.0, image.created))

    def add_label(self, image_id: str, tag: str, upload: Path, about: Any) -> Path:
        """Store a manually drawn label; earlier ones are kept.

        Args:
            image_id: Id of the image.
            tag: Kind of label, such as ``final``.
            upload: A complete file, which is moved.
            about: Description sent by the client, JSON-ready.

        Raises:
            Refusal: the file is not an image, or the image or tag cannot be used.
        """
        image = self.get(image_id)
        if not TAG.fullmatch(tag):
            raise Refusal("invalid", "tag: give letters, digits, _ and - only")
        suffix = recognised_suffix(upload)
        with self._lock:
            folder = image.folder / LABELS
            number = 1 + max((int(path.name.partition("-")[0]) for path in folder.glob("[0-9]*-*")), default=0)
            final = folder / f"{number:06d}-{tag}{suffix}"
            write_bytes(json.dumps(about).encode(), folder / f"about-{number:06d}-{tag}.json")
            with new_file(final) as partial:
                upload.replace(partial)
        return final

    def _folder_of(self, image_id: str) -> Path:
        if not 0 < len(image_id) <= LONGEST_ID:
            raise Refusal("invalid", f"image: give an id of 1 to {LONGEST_ID} characters")
        return self._folder / hashlib.sha256(image_id.encode("utf-8", "surrogatepass")).hexdigest()[:32]

    def _read(self, folder: Path) -> StoredImage | None:
        try:
            about = json.loads((folder / ABOUT).read_bytes())
            path = next(folder.glob("image.*"))
        except (OSError, ValueError, StopIteration):
            return None
        try:
            confidence = json.loads((folder / CONFIDENCE).read_bytes())
        except (OSError, ValueError):
            confidence = None
        return StoredImage(about["id"], folder, path, about["created"], confidence)


def _digest(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()
