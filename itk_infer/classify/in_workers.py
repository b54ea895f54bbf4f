"""Classification by the workers of an executor: processes of this machine, or of a cluster.

Workers are given parts of the archive and return the result of each file; they do not write the database. If a
worker dies, its part is halved repeatedly, until the file that causes it is in a part of its own.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from typing import Any

from itk_infer.classify.messages import FileDone
from itk_infer.classify.model_facts import ModelFacts
from itk_infer.classify.part import Part
from itk_infer.classify.settings import ClassifySettings
from itk_infer.classify.units import Unit
from itk_infer.errors import InferenceError, ItkInferError, LockLostError
from itk_infer.executors.executor import Executor
from itk_infer.executors.messages import CaseBegun, Failed, Message, Returned, Stopped, WorkerDied

FIRST, LEAST, MOST = 32, 8, 2048  # files per part: first, smallest and largest number
PART_S = 5.0  # target duration of a part, in seconds
AHEAD = 2  # parts per worker that are handed out: one being computed, one queued


class InWorkers:
    """Classifies by an executor's workers; implements `Computing`.

    Args:
        executor: Context already entered; opened here. Its runners are of `PartRunner`.
        settings: Input and output folders.
        check: Called often, in the calling thread; raises to stop.
        tell: Called with sentences for the user.

    Raises:
        ModelError: the model cannot be loaded.
    """

    def __init__(
        self,
        executor: Executor,
        settings: ClassifySettings,
        check: Callable[[], None],
        tell: Callable[[str], None],
    ) -> None:
        self._executor, self._root, self._tell = executor, settings.root, tell
        self.facts: ModelFacts = executor.open(check)
        self._open: dict[str, Part] = {}
        self._begun: dict[str, float] = {}
        self._numbers = itertools.count(1)
        self._size = FIRST
        self._take: Callable[[FileDone], None] = lambda done: None

    @property
    def parallel(self) -> int:
        """See `Computing`."""
        return max(1, self._executor.workers) * self.facts.threads

    def late_notes(self) -> list[str]:
        """See `Computing`; empty, because workers finish building their networks before `facts` is sent."""
        return []

    def work(
        self, units: Iterator[Unit], waiting: int, take: Callable[[FileDone], None], pause: Callable[[], None]
    ) -> None:
        """See `Computing`."""
        self._take = take
        more, left = True, waiting
        try:
            while more or self._open:
                pause()
                while more and len(self._open) < AHEAD * max(1, self._executor.workers):
                    chosen = _first_of(units, self._files(left))
                    more = bool(chosen)
                    if more:
                        left -= sum(len(unit.files) for unit in chosen)
                        self._submit(chosen)
                if self._open:
                    self._executor.step(self._report)
        except LockLostError:
            self._executor.stop(lambda message: None)  # results that still arrive must not be recorded
            raise
        except ItkInferError:
            self._executor.stop(self._report_rest)
            raise

    def _files(self, left: int) -> int:
        """Number of files in the next part; fewer at the end, so that all workers end at about the same time."""
        return max(LEAST, min(self._size, left // (AHEAD * max(1, self._executor.workers))))

    def _submit(self, units: tuple[Unit, ...], *, safer: bool = False) -> None:
        model = self.facts.digest, self.facts.spec_digest
        name = f"part {next(self._numbers)}"
        part = Part(name, self._root, units, model, self.facts.precisions, self.facts.batch, safer)
        self._open[name] = part
        self._executor.submit(part)

    def _report(self, message: Message) -> None:
        """Process a message of the executor.

        Raises:
            InferenceError: a worker cannot continue.
        """
        match message:
            case CaseBegun():
                self._begun[message.name] = time.monotonic()
            case Returned():
                self._returned(self._open.pop(message.name), message)
            case WorkerDied():
                self._retry_or_fail(self._open.pop(message.name), message.reason)
            case Failed():
                del self._open[message.name]
                raise InferenceError(message.reason)
            case Stopped():
                del self._open[message.name]

    def _report_rest(self, message: Message) -> None:
        """As `_report`, after the end of the run: only results of finished parts are used."""
        if isinstance(message, Returned):
            self._returned(self._open.pop(message.name), message)

    def _returned(self, part: Part, message: Returned) -> None:
        found: tuple[Any, ...] = message.value
        spent = time.monotonic() - self._begun.pop(part.name, time.monotonic())
        if spent > 0 and not part.safer:
            wanted = len(found) * PART_S / spent
            self._size = int(min(MOST, max(LEAST, min(wanted, 4 * self._size))))
        for done in found:
            self._take(done)

    def _retry_or_fail(self, part: Part, reason: str) -> None:
        self._begun.pop(part.name, None)
        if len(part.units) > 1:
            self._tell(f"{reason}; its {len(part.files)} files are tried again, in two parts")
            middle = len(part.units) // 2
            self._submit(part.units[:middle], safer=True)
            self._submit(part.units[middle:], safer=True)
        elif not part.safer:
            self._tell(f"{reason}; {part.files[0].path} is tried once more")
            self._submit(part.units, safer=True)
        else:
            words = f"{reason}; the same happened before, so it is not tried again"
            for file in part.files:
                self._take(FileDone(file.id, file.path, "failed", f"folder:{file.folder or '.'}", words))


def _first_of(units: Iterator[Unit], files: int) -> tuple[Unit, ...]:
    """The next units with at least `files` files in total; fewer at the end."""
    chosen: list[Unit] = []
    count = 0
    while count < files and (unit := next(units, None)) is not None:
        chosen.append(unit)
        count += len(unit.files)
    return tuple(chosen)
