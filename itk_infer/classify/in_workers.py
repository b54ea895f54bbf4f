"""Classification by the workers of an executor: processes of this machine, or of a cluster.

They are given parts of the archive, and return what became of each file; they write nothing. A part whose worker
died is halved until the file is alone that it died of.
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

FIRST, LEAST, MOST = 32, 8, 2048  # files of a part
PART_S = 5.0  # seconds that a part should take
AHEAD = 2  # parts per worker that are handed out: one at work, one that waits


class InWorkers:
    """See `Computing`.

    Args:
        executor: Entered; opened here. Its runners are `PartRunner`.
        settings: Where the input is.
        check: Called often, here; raises to stop.
        tell: Takes sentences for the user.

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
        """See `Computing`: workers wait for their networks."""
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
            self._executor.stop(lambda message: None)  # nothing more may be recorded
            raise
        except ItkInferError:
            self._executor.stop(self._report_rest)
            raise

    def _files(self, left: int) -> int:
        """How many files the next part has: fewer at the end, so that all workers end at about one time."""
        return max(LEAST, min(self._size, left // (AHEAD * max(1, self._executor.workers))))

    def _submit(self, units: tuple[Unit, ...], *, safer: bool = False) -> None:
        model = self.facts.digest, self.facts.spec_digest
        name = f"part {next(self._numbers)}"
        part = Part(name, self._root, units, model, self.facts.precisions, self.facts.batch, safer)
        self._open[name] = part
        self._executor.submit(part)

    def _report(self, message: Message) -> None:
        """Take a message of the executor.

        Raises:
            InferenceError: a worker cannot go on.
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
        """As `_report`, of a run that has ended: only what is done counts."""
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
    """The next units with at least so many files; fewer at the end."""
    chosen: list[Unit] = []
    count = 0
    while count < files and (unit := next(units, None)) is not None:
        chosen.append(unit)
        count += len(unit.files)
    return tuple(chosen)
