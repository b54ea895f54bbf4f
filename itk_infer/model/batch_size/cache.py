"""Batch sizes cached for later runs, each in a small JSON file of its own.

Separate files need no lock: of two runs that write at the same time, the later one replaces a whole file, with
the same content.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from itk_infer.files.user_cache import user_cache
from itk_infer.model.batch_size.search import MAX_BATCH


@dataclass(frozen=True, slots=True)
class BatchKey:
    """What the fastest batch size depends on.

    Attributes:
        model: SHA-256 of the model's files.
        device: Name of the device; for a CPU with the number of threads.
        provider: Library that runs the network, with its version.
        precision: Number format.
        patch: Window size Z, Y, X.
        mirrorings: Network inputs per window (1, or the number of mirrored copies).
    """

    model: str
    device: str
    provider: str
    precision: str
    patch: tuple[int, int, int]
    mirrorings: int

    def document(self) -> dict[str, Any]:
        """The key as a JSON-ready mapping."""
        return asdict(self) | {"patch": list(self.patch)}


class BatchCache:
    """A folder of batch sizes. Never raises: a file that cannot be read or written leads to a search and a note.

    Args:
        folder: Created when something is written; None if this user has no cache folder.

    Attributes:
        notes: Sentences on files that could not be read or written.
    """

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self.notes: list[str] = []

    def read(self, key: BatchKey) -> int | None:
        """Read the batch size of a key; None if there is no usable file."""
        if self.folder is None:
            return None
        path = self._path(self.folder, key)
        try:
            document = json.loads(path.read_text("utf-8"))
        except FileNotFoundError:
            return None
        except OSError as error:
            self.notes.append(f"batch cache: {path} cannot be read ({error.strerror}); searching again")
            return None
        except ValueError:
            document = None
        batch = (
            document.get("batch") if isinstance(document, dict) and document.get("key") == key.document() else 0
        )
        if type(batch) is int and 1 <= batch <= MAX_BATCH:
            return batch
        self.notes.append(f"batch cache: {path} was not written by this program; searching again")
        return None

    def write(self, key: BatchKey, batch: int) -> None:
        """Write a batch size; the file appears complete or not at all."""
        if self.folder is None:
            self.notes.append("batch cache: this user has no home folder; nothing was kept")
            return
        path = self._path(self.folder, key)
        partial = path.with_name(f".{path.name}.{uuid.uuid4().hex[:12]}")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            try:
                partial.write_text(json.dumps({"key": key.document(), "batch": batch}, indent=1), "utf-8")
                partial.replace(path)
            finally:
                partial.unlink(missing_ok=True)
        except OSError as error:
            self.notes.append(f"batch cache: {self.folder} cannot be written ({error.strerror}); nothing was kept")

    @staticmethod
    def _path(folder: Path, key: BatchKey) -> Path:
        digest = hashlib.sha256(json.dumps(key.document(), sort_keys=True).encode()).hexdigest()
        return folder / f"batch-{digest[:16]}.json"


def open_cache(where: bool | Path) -> BatchCache | None:
    """Open a cache.

    Args:
        where: True: the user's cache folder; False: no cache; else the folder to use.
    """
    if where is False:
        return None
    return BatchCache(user_cache() if where is True else where)
