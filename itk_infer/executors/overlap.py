"""Overlap of three cases in one worker: the next is read and the last is written while one is computed.

For workers whose network runs on a GPU, which would otherwise wait for compression. On a CPU, the network needs
all cores.
"""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from itk_infer.case.case import Case
from itk_infer.engine.memory import Memory
from itk_infer.errors import InterruptedRunError
from itk_infer.executors.case_files import OnEvent, PendingCase, compute_case
from itk_infer.executors.messages import Computed, Outcome, Task
from itk_infer.executors.reading import CaseImage, ReadAhead
from itk_infer.machine import MemoryBound
from itk_infer.predictor import Predictor


class Overlap:
    """Computes cases one after the other, while the next is read and the previous one is written.

    The memory of all cases in flight stays below the predictor's `memory_bound`: if both would not fit, the next
    case is not read ahead, and a case is computed after the previous one is written.

    Args:
        predictor: The loaded model.
        worker: Number of the worker, for events.
        send: Sends `Computed` and outcomes to the parent. Called in two threads.
        show: As for `run_case`. Called in two threads.
        check: As for `run_case`.
    """

    def __init__(
        self,
        predictor: Predictor,
        worker: int,
        send: Callable[[Computed | Outcome], None],
        show: OnEvent,
        check: Callable[[], None],
    ) -> None:
        self._predictor = predictor
        self._worker = worker
        self._send = send
        self._show = show
        self._check = check
        self._reading = ReadAhead()
        self._writing = ThreadPoolExecutor(1, "writing")
        self._unwritten: dict[Future[None], int] = {}  # bytes of each case that is still to be written

    def close(self) -> None:
        """Wait for reading and writing to finish, and end both threads.

        No thread may hold a SimpleITK image while the interpreter shuts down.
        """
        self._writing.shutdown()
        self._reading.close()

    def run(self, task: Task, ahead: Case | None) -> None:
        """Compute a case, pass its files to the writing thread, and send `Computed`.

        Args:
            task: The case. After a second attempt, its files are written before this returns.
            ahead: Case to read meanwhile; None: none.
        """

        def read(case: Case, bound: MemoryBound | None) -> CaseImage:
            found = self._reading.take(case)
            if found is None:
                self._make_room(self._reading.memory(case) or 0)
                found = self._reading.read(case, bound)
            return found

        def on_memory(memory: Memory) -> None:
            self._make_room(memory.peak)
            if ahead is not None:
                self._reading.start(ahead, self._room(memory.peak))

        found = compute_case(
            self._predictor,
            task,
            self._worker,
            self._show,
            self._check,
            read=read,
            on_memory=on_memory,
        )
        if not isinstance(found, PendingCase):
            self._send(found)
        elif task.safer:
            self._send(found.write())
        else:
            self._send(Computed(found.name))
            writing = self._writing.submit(self._write, found)
            self._unwritten[writing] = found.memory

    def _write(self, case: PendingCase) -> None:
        try:
            try:
                self._check()
            except InterruptedRunError:  # stopped while waiting for the previous case
                outcome: Outcome = case.drop()
            else:
                outcome = case.write()
            self._send(outcome)
        except BaseException:  # without the exit, the parent would wait forever
            traceback.print_exc()
            os._exit(1)

    def _room(self, needed: int) -> int | None:
        """Bytes left beside `needed` and the cases being written; None: no limit."""
        self._unwritten = {writing: size for writing, size in self._unwritten.items() if not writing.done()}
        bound = self._predictor.memory_bound
        if bound is None:
            return None
        return bound.bytes - needed - sum(self._unwritten.values())

    def _make_room(self, needed: int) -> None:
        """Wait for the previous case to be written if both do not fit in memory."""
        room = self._room(needed)
        if room is not None and room < 0:
            for writing in self._unwritten:
                writing.result()
