"""The first DICOM files of an archive, read and decoded while the model is loaded.

Loading a model keeps one core busy for some tenths of a second, in which another one can decode. Files are opened
in the order of the search, in which the run takes them. A file that fails here is opened again by the run.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING

from itk_infer.classify.find import FoundFile, folders_of
from itk_infer.errors import ItkInferError
from itk_infer.volume.names import is_picture, split_suffix
from itk_infer.volume.picture_input.dicom_pictures import DicomPictures
from itk_infer.volume.picture_input.opening import open_pictures
from itk_infer.volume.picture_input.picture import NotAPicture, Picture, PictureFacts, Pictures

if TYPE_CHECKING:
    from itk_infer.spec.classify_spec import SelectRule

MOST_BYTES = 1 << 26  # of files and their decoded pictures
MOST_DONE = 1000  # files with results that are passed over; a run that goes on is about to search them all itself
State = tuple[int, int, int]
SWITCH_S = 0.0005  # longest time that a thread waits for Python code of another


class Ahead:
    """Opens and decodes files in a thread until it is stopped, or has `MOST_BYTES`; a context manager.

    Args:
        source: The folder that will be searched, or one file.
        database: Database of earlier runs. Files whose results of the last run are current are passed over.
    """

    def __init__(self, source: Path, database: Path | None = None) -> None:
        self._source, self._root = source, source if source.is_dir() else source.parent
        self._database = database
        self._opened: dict[Path, tuple[Pictures, State | None]] = {}
        self._stop = threading.Event()
        self._bytes = 0
        self._thread = threading.Thread(target=self._work, name="ahead")
        self._before = sys.getswitchinterval()

    def __enter__(self) -> Ahead:
        # Importing modules holds the lock of Python's interpreter, which decoding takes and releases often.
        sys.setswitchinterval(min(SWITCH_S, self._before))
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._thread.join()
        self._opened.clear()

    def stop(self) -> None:
        """Open and decode nothing more; a picture that is being decoded is completed."""
        self._stop.set()
        sys.setswitchinterval(self._before)

    def open(self, path: Path, *, keep: bool = False) -> Pictures:
        """As `open_pictures`, for a path below the source, which is opened once.

        Args:
            path: The file.
            keep: Whether it will be opened again.
        """
        found = self._opened.get(path) if keep else self._opened.pop(path, None)
        # The search may have met a file that was written after it was read here.
        return found[0] if found is not None and _state(path) == found[1] else open_pictures(path)

    def _work(self) -> None:
        try:
            if self._database is None or not self._database.exists():
                self._read(lambda folder, files: files)
                return
            from itk_infer.classify.done_files import DoneFiles

            with DoneFiles(self._database) as done:
                self._read(done.without)
        except ItkInferError:  # a folder that cannot be searched, or a damaged database, which the run reports
            return

    def _read(self, wanted: Callable[[str, list[FoundFile]], list[FoundFile]]) -> None:
        passed = 0
        for folder, files in folders_of(self._source, frozenset()):
            chosen = wanted(folder, files)
            passed += len(files) - len(chosen)
            for file in chosen:
                self._bytes += file.size
                self._decode(self._root / folder / file.name)
                if self._stop.is_set() or self._bytes >= MOST_BYTES:
                    return
            if self._stop.is_set() or passed > MOST_DONE:
                return

    def _decode(self, path: Path) -> None:
        if is_picture(path.name) or split_suffix(path.name)[1]:  # decoded as a whole when they are opened
            return
        state = _state(path)
        try:
            pictures = open_pictures(path)
        except (ItkInferError, NotAPicture, OSError):
            return
        if not isinstance(pictures, DicomPictures):
            return
        ahead = _DecodedAhead(pictures)
        self._opened[path] = ahead, state
        while ahead.decode_next() and self._bytes < MOST_BYTES and not self._stop.is_set():
            self._bytes += pictures.frame_bytes


def _state(path: Path) -> State | None:
    """What changes when a file is written; None if it cannot be read."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


class _DecodedAhead:
    """A file whose first pictures are decoded already, or are being decoded; implements `Pictures`."""

    def __init__(self, pictures: Pictures) -> None:
        self._pictures = pictures
        self._decoded: dict[int, Future[Picture]] = {}

    @property
    def facts(self) -> PictureFacts:
        """See `Pictures.facts`."""
        return self._pictures.facts

    @property
    def sha256(self) -> str:
        """See `Pictures.sha256`."""
        return self._pictures.sha256

    def check(self, select: Sequence[SelectRule] = ()) -> None:
        """See `Pictures.check`."""
        self._pictures.check(select)

    def picture(self, frame: int) -> Picture:
        """See `Pictures.picture`."""
        decoded = self._decoded.get(frame)
        return self._pictures.picture(frame) if decoded is None else decoded.result()

    def decode_next(self) -> bool:
        """Decode one more picture; False if it fails, or it was the last one."""
        frame = len(self._decoded)
        decoded = self._decoded[frame] = Future()
        try:
            decoded.set_result(self._pictures.picture(frame))
        except BaseException as error:  # raised again where the picture is asked for
            decoded.set_exception(error)
            return False
        return frame + 1 < self.facts.frames
