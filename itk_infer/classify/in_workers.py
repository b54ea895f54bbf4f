"""Classification by the workers of an executor: processes of this machine, or of a cluster.

Workers are given parts of the archive and return the result of each file; they do not write the database. If a
worker dies, its part is halved repeatedly, until the file that causes it is in a part of its own. Parts that take
too long are divided, too.
"""

from __future__ import annotations

import itertools
import math
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
from itk_infer.executors.messages import CaseBegun, Failed, Message, Returned, Stopped, TimedOut, WorkerDied

FIRST, LEAST, MOST = 32, 8, 2048  # files per part: first, smallest and largest number
PART_S = 5.0  # target duration of a part, in seconds
SHARE = 4  # with a time limit, parts are to take this share of it at most
PIECES = 8  # parts that the files of a part are given to that took too long
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
        limit = executor.case_timeout
        self._seconds = PART_S if limit is None else min(PART_S, limit / SHARE)
        self._least = LEAST if limit is None else 1
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
        return max(self._least, min(self._size, left // (AHEAD * max(1, self._executor.workers))))

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
            case TimedOut():
                self._divide_or_fail(self._open.pop(message.name), message.reason)
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
            wanted = len(found) * self._seconds / spent
            self._size = int(min(MOST, max(self._least, min(wanted, 4 * self._size))))
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
            self._fail(part, f"{reason}; the same happened before, so it is not tried again")

    def _divide_or_fail(self, part: Part, reason: str) -> None:
        """Have the files of a part that took too long tried in smaller parts, until one that hangs is alone."""
        self._begun.pop(part.name, None)
        if len(part.units) == 1:
            self._fail(part, reason)
            return
        self._tell(f"a part of {len(part.files)} files {reason}; they are tried again, in smaller parts")
        self._size = max(self._least, self._size // PIECES)
        size = math.ceil(len(part.units) / PIECES)
        for at in range(0, len(part.units), size):
            self._submit(part.units[at : at + size], safer=True)

    def _fail(self, part: Part, reason: str) -> None:
        for file in part.files:
            self._take(FileDone(file.id, file.path, "failed", f"folder:{file.folder or '.'}", reason))


def _first_of(units: Iterator[Unit], files: int) -> tuple[Unit, ...]:
    """The next units with at least `files` files in total; fewer at the end."""
    chosen: list[Unit] = []
    count = 0
    while count < files and (unit := next(units, None)) is not None:
        chosen.append(unit)
        count += len(unit.files)
    return tuple(chosen)
