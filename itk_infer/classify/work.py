"""Threads that read, decode, resize and run the network; a thread that fills a batch runs it while others decode.

Decoders, resizing, digests and runtimes release the GIL, so all threads share one model and one memory.
"""

from __future__ import annotations

import queue
import threading
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from itk_infer.classifier import Classifier
from itk_infer.classify.messages import FileDone, ImageDone
from itk_infer.classify.sequence import Slot, with_neighbours
from itk_infer.classify.tasks import Tasks
from itk_infer.classify.units import Unit, WaitingFile
from itk_infer.errors import InferenceError, InputError, unexpected
from itk_infer.machine import ran_out, shortage, usable_cores
from itk_infer.volume.names import printable
from itk_infer.volume.picture_input.opening import open_pictures
from itk_infer.volume.picture_input.picture import NotAPicture, PictureFacts, Pictures

Planes = list[NDArray[np.float32]]
BACKLOG = 1000  # most units that wait for a thread
MOST_EARLY = 1 << 25  # bytes of pictures that are resized before the network is built
LOOK_S = 0.1  # seconds between calls of `pause` while no result arrives
GAP = "a picture beside it in the series could not be read; the next one stands in for it"


class Work:
    """The threads of a run in this process.

    Args:
        classifier: The loaded model.
        root: Folder that paths of files are relative to.
        batch: Pictures per call of the network.
        threads: Number of threads, at least 1.
        open_file: As `open_pictures`; opens each file.
    """

    def __init__(
        self,
        classifier: Classifier,
        root: Path,
        batch: int,
        threads: int,
        open_file: Callable[[Path], Pictures] = open_pictures,
    ) -> None:
        self._classifier, self._root, self._batch, self._open_file = classifier, root, batch, open_file
        self._tasks = Tasks(lambda: classifier.model.ready)
        self._results: queue.Queue[FileDone | BaseException] = queue.Queue(maxsize=4 * batch * threads)
        self._lock = threading.Lock()
        self._on_gpu = _on_gpu(classifier)
        self._device: AbstractContextManager[Any] = threading.Lock() if self._on_gpu else nullcontext()
        self._waiting: dict[tuple[tuple[int, ...], ...], list[_Picture]] = defaultdict(list)
        self._early = 0  # bytes of batches that were complete before the network was built
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._loop, name="classify", daemon=True) for _ in range(threads)]
        for thread in self._threads:
            thread.start()

    def classify(self, units: Iterator[Unit], take: Callable[[FileDone], None], pause: Callable[[], None]) -> None:
        """Classify all units; the arguments are those of `Computing.work`."""
        given = taken = 0
        more = True
        while more or taken < given:
            pause()
            while more and self._tasks.backlog < BACKLOG:
                unit = next(units, None)
                if unit is None:
                    more = False
                    self._tasks.finish()  # incomplete batches are run, too
                else:
                    self._tasks.put(partial(self._work, unit))
                    given += len(unit.files)
            try:
                result = self._results.get(timeout=LOOK_S)
            except queue.Empty:
                continue
            if isinstance(result, BaseException):
                raise result
            taken += 1
            take(result)

    def close(self) -> None:
        """Drop what is not done, and wait for the threads."""
        self._stop.set()
        self._tasks.give_up()
        for thread in self._threads:
            while thread.is_alive():
                thread.join(0.05)
                while not self._results.empty():  # a thread may be waiting to put a result
                    self._results.get()

    def _loop(self) -> None:
        try:
            self._tasks.work()
            if not self._stop.is_set():
                with self._lock:
                    rest = [batch for batch in self._waiting.values() if batch]
                    self._waiting.clear()
                for batch in rest:
                    self._run(batch, divide=False)
        except BaseException as error:
            self._results.put(error)

    def _work(self, unit: Unit) -> None:
        reach = self._classifier.reach
        if not reach:
            for file in unit.files:
                self._work_alone(file)
            return
        for around, at in with_neighbours(self._slots(unit), reach):
            if self._stop.is_set():
                return
            self._add(around[at], [item.planes for item in around], at)

    def _work_alone(self, file: WaitingFile) -> None:
        """Classify the pictures of a file without neighbours; free threads help with its frames."""
        job = _Job(file, self._results.put)
        pictures = self._open(job)
        if pictures is None:
            return
        frames = deque(range(pictures.facts.frames))

        def work() -> None:
            while frames and not self._stop.is_set():
                try:
                    frame = frames.popleft()
                except IndexError:  # another thread took the last frame
                    return
                picture = self._decode(job, pictures, frame)
                if picture is None:
                    frames.clear()
                    return
                self._add(picture, [picture.planes], 0)

        self._tasks.share(work, min(len(frames), len(self._threads)) - 1)
        work()

    def _slots(self, unit: Unit) -> Iterator[Slot[_Picture]]:
        """Decode the pictures of a unit one after the other; those that fail are left out."""
        last: Slot[_Picture] | None = None
        gap = False
        for file, twin in zip(unit.files, unit.twins, strict=True):
            for picture in self._pictures(file):
                if picture is None:
                    gap = len(unit.files) > 1
                    if last is not None and gap:
                        last.item.job.note_once(GAP)
                    continue
                if gap:
                    picture.job.note_once(GAP)
                    gap = False
                if twin and last is not None:
                    last.twins.append(picture)
                    continue
                if last is not None:
                    yield last
                last = Slot(picture)
        if last is not None:
            yield last

    def _pictures(self, file: WaitingFile) -> Iterator[_Picture | None]:
        """Yield the pictures of a file in order; None for one that cannot be decoded, which is reported."""
        job = _Job(file, self._results.put)
        pictures = self._open(job)
        if pictures is None:
            yield None
            return
        order = range(pictures.facts.frames)
        positions = pictures.facts.positions
        if None not in positions and len(positions) == len(order):
            order = sorted(order, key=lambda frame: positions[frame])  # type: ignore[assignment, arg-type, return-value]
        for frame in order:
            picture = self._decode(job, pictures, frame)
            yield picture
            if picture is None:
                return

    def _open(self, job: _Job) -> Pictures | None:
        """Open the pictures of a file; None if it cannot be opened or needs no work, which is reported."""
        file = job.file
        try:
            pictures = self._open_file(self._root / file.path)
            job.opened(pictures)
            if file.expected is not None and file.expected == pictures.sha256 and not self._classifier.reach:
                job.end("unchanged")
                return None
            pictures.check(self._classifier.spec.select)
        except NotAPicture as reason:
            job.end("skipped", str(reason))
            return None
        except Exception as error:
            job.end("failed", _why(file, error))
            return None
        return pictures

    def _decode(self, job: _Job, pictures: Pictures, frame: int) -> _Picture | None:
        """Decode one picture; None if that fails, in which case its file is reported as failed."""
        try:
            return _Picture(job, frame, self._classifier.planes(pictures.picture(frame)))
        except Exception as error:
            job.end("failed", _why(job.file, error))
            return None

    def _add(self, picture: _Picture, around: list[Planes], at: int) -> None:
        """Add a picture with its neighbours to a batch, and run the batch if it is full."""
        picture = replace(picture, around=around, at=at)
        shapes = tuple(part.shape for part in picture.planes)
        with self._lock:
            waiting = self._waiting[shapes]
            waiting.append(picture)
            if len(waiting) < self._batch:
                return
            del self._waiting[shapes]
            early = self._early < MOST_EARLY and not self._classifier.model.ready
            if early:
                self._early += sum(part.nbytes for one in waiting for part in one.planes)
        if early:
            self._tasks.put_off(partial(self._run, waiting))
        else:
            self._run(waiting)

    def _run(self, batch: list[_Picture], *, divide: bool = True) -> None:
        """Run the network on a batch; if it fails, run its halves, until only bad pictures fail.

        Args:
            batch: The pictures.
            divide: Whether idle threads may take a part of it, which is so at the end of an archive.
        """
        batch = [picture for picture in batch if not picture.job.ended]
        if not batch or self._stop.is_set():
            return
        if divide and len(batch) > 1 and self._tasks.idle and not self._on_gpu:
            middle = (len(batch) + 1) // 2
            self._tasks.share(partial(self._run, batch[middle:]), 1)
            batch = batch[:middle]
        inputs = [(picture.around, picture.at) for picture in batch]
        try:
            with self._device:
                scores = self._classifier.scores_around(inputs)
        except InferenceError as error:
            if len(batch) == 1:
                batch[0].job.end("failed", str(error))
                return
            middle = len(batch) // 2
            self._run(batch[:middle], divide=False)
            self._run(batch[middle:], divide=False)
            return
        logits, std = scores.logits, scores.std
        for number, picture in enumerate(batch):
            picture.job.scored(
                ImageDone(
                    picture.frame,
                    scores.probabilities[number].tolist(),
                    None if logits is None else logits[number].tolist(),
                    None if std is None else std[number].tolist(),
                    scores.members[:, number].tolist(),
                )
            )


def _why(file: WaitingFile, error: Exception) -> str:
    """Why a file failed. One bad file never stops the others, even if this program has a bug."""
    if isinstance(error, InputError):
        return str(error)
    name = printable(Path(file.path).name)
    return f"{name}: {shortage('this picture') if ran_out(error) else unexpected(error)}"


@dataclass(frozen=True, slots=True)
class _Picture:
    """A decoded picture; `around` and `at` are the arguments of `Classifier.inputs`."""

    job: _Job
    frame: int
    planes: Planes
    around: Sequence[Planes] = ()
    at: int = 0


class _Job:
    """A file in progress; reported once, when all its pictures are classified or one of them has failed."""

    def __init__(self, file: WaitingFile, done: Callable[[FileDone], None]) -> None:
        self.file, self._done = file, done
        self._facts, self._sha256 = PictureFacts(), ""
        self._images: list[ImageDone] = []
        self._notes: list[str] = []
        self._lock = threading.Lock()
        self.ended = False

    def opened(self, pictures: Pictures) -> None:
        self._facts, self._sha256 = pictures.facts, pictures.sha256
        if self._facts.note:
            self._notes.append(self._facts.note)

    def note_once(self, note: str) -> None:
        if note not in self._notes:
            self._notes.append(note)

    def scored(self, image: ImageDone) -> None:
        with self._lock:
            self._images.append(image)
            complete = len(self._images) == self._facts.frames
        if complete:
            self.end("done")

    def end(self, state: Any, reason: str = "") -> None:
        with self._lock:
            if self.ended:
                return
            self.ended = True
        images = tuple(sorted(self._images, key=lambda image: image.frame)) if state == "done" else ()
        self._done(
            FileDone(
                self.file.id,
                self.file.path,
                state,
                self._facts.study or f"folder:{self.file.folder or '.'}",
                reason,
                "; ".join(self._notes) if state == "done" else "",
                self._sha256 or None,
                self._facts,
                images,
            )
        )


def threads_on(classifier: Classifier, cores: int) -> int:
    """Threads of a `Work` on so many cores of the CPU.

    A thread whose batch is run waits for the library's threads, so twice as many keep all cores busy. Where the
    user leaves cores to other programs, they would take those, too, and there are no more than cores.
    """
    return cores if cores < usable_cores() or _on_gpu(classifier) else 2 * cores


def _on_gpu(classifier: Classifier) -> bool:
    return any(network.device != "cpu" for network in classifier.model.networks)
