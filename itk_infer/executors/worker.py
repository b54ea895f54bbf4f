"""The main loop of a worker process: loads the model, then runs cases until the parent ends it or exits."""

from __future__ import annotations

import os
import queue
import signal
import threading
from multiprocessing.connection import Connection
from typing import Any

from itk_infer.errors import InterruptedRunError, ItkInferError, ModelError
from itk_infer.events import CaseStarted, Progress, Warned
from itk_infer.executors.gpus import VARIABLE, Placement
from itk_infer.executors.messages import STOP, Assignment, Drop, LoadFailed, Ready, Reported
from itk_infer.executors.runner import Opener
from itk_infer.streams import forgive_streams, open_missing_streams
from itk_infer.system import end_with_parent, leave_signals_to_parent


def serve(link: Connection, parent: int, number: int, opener: Opener, source: Any, placement: Placement) -> None:
    """The main function of a worker process.

    Args:
        link: Connection to the parent, which sends `Assignment`, `Drop` or `STOP`; its end ends this process.
        parent: Process id of the parent.
        number: Number of this worker, for events.
        opener: Loads the model.
        source: The model, an argument of `opener`.
        placement: Device and threads.
    """
    end_with_parent(parent)
    open_missing_streams()
    leave_signals_to_parent()
    os.dup2(2, 1)  # stdout is reserved for the parent's events
    forgive_streams()
    tasks: queue.SimpleQueue[Assignment] = queue.SimpleQueue()
    stopping = threading.Event()
    dropped: set[str] = set()  # names of cases
    at_work = ""
    sending = threading.Lock()

    def send(message: Any) -> None:
        with sending:  # two threads send if cases overlap
            link.send(message)

    def show(event: CaseStarted | Progress | Warned) -> None:
        send(Reported(event))

    def listen() -> None:
        while True:
            try:
                message = link.recv()
            except (EOFError, OSError):
                os._exit(0)  # the parent has ended, or closed the pipe
            if message == STOP:
                stopping.set()
            elif isinstance(message, Drop):
                dropped.add(message.name)
            else:
                tasks.put(message)

    def check() -> None:
        # Another thread may write a case that is computed already, and is not dropped any more.
        computing = threading.current_thread() is threading.main_thread()
        if stopping.is_set() or (computing and at_work in dropped):
            raise InterruptedRunError(signal.SIGTERM)

    threading.Thread(target=listen, name="parent", daemon=True).start()
    try:
        if placement.visible is not None:
            os.environ[VARIABLE] = placement.visible
        runner = opener(source, placement.device, placement.threads)
        facts = runner.facts
    except ItkInferError as error:
        send(LoadFailed(error))
        return
    except Exception as error:
        send(LoadFailed(ModelError(f"the model cannot be loaded: unexpected {type(error).__name__}: {error}")))
        return
    overlap = runner.overlapping(number, send, show, check)
    send(Ready(facts, overlap is not None))
    try:
        while True:
            given = tasks.get()
            at_work = given.task.name
            if overlap is not None:
                overlap.run(given.task, given.ahead)
            else:
                send(runner.run(given.task, number, show, check))
            dropped.discard(at_work)
    finally:  # also after an error, such as a lost connection to the parent
        if overlap is not None:
            overlap.close()
