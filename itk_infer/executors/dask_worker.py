"""Functions that Dask workers run, for one case each. The model stays loaded between cases."""

from __future__ import annotations

import pickle
import threading
from functools import lru_cache
from typing import Any

from itk_infer.errors import InterruptedRunError, ItkInferError, ModelError
from itk_infer.executors.messages import AnyTask, CaseBegun, Message, Outcome, Reported
from itk_infer.executors.runner import Opener, Runner

_one_at_a_time = threading.Lock()  # a Dask worker may have several threads
_stopped: set[str] = set()  # topics of runs that are being stopped


def facts(opener: Opener, source: Any, threads: int | None, gpus: int) -> Any:
    """Load the model and return its description, or the error."""
    try:
        with _one_at_a_time:
            return _loaded(opener, source, _device(gpus), threads).facts
    except ItkInferError as error:
        return error


def compute(
    opener: Opener, source: Any, threads: int | None, gpus: int, task: AnyTask, number: int, topic: str
) -> Outcome | ItkInferError:
    """Run one case, and send its messages, which `Executor.step` reports.

    Args:
        opener: Loads the model.
        source: The model, an argument of `opener`.
        threads: CPU threads of the network.
        gpus: GPUs that the worker processes of one job share.
        task: The case.
        number: Number of this worker, for events.
        topic: Topic of Dask events that the parent subscribes to.

    Returns:
        The outcome, or the error that loading the model raised.
    """
    from distributed import get_worker

    worker = get_worker()

    def tell(message: Message) -> None:
        worker.log_event(topic, pickle.dumps(message))

    def check() -> None:
        if topic in _stopped:
            raise InterruptedRunError(15)

    with _one_at_a_time:
        tell(CaseBegun(task.name, number))
        try:
            runner = _loaded(opener, source, _device(gpus), threads)
        except ItkInferError as error:
            return error
        return runner.run(task, number, lambda event: tell(Reported(event)), check)


def request_stop(topic: str) -> None:
    """Drop the running case at its next window. Called in the worker's event loop."""
    _stopped.add(topic)


@lru_cache(maxsize=1)
def _loaded(opener: Opener, source: Any, device: str | None, threads: int | None) -> Runner:
    try:
        return opener(source, device, threads)
    except ItkInferError:
        raise
    except Exception as error:
        raise ModelError(f"the model cannot be loaded: unexpected {type(error).__name__}: {error}") from error


def _device(gpus: int) -> str | None:
    """Device of this worker process; if several share a job's GPUs, from the number that ends its name."""
    from distributed import get_worker

    if gpus < 2:
        return None
    _, _, number = str(get_worker().name).rpartition("-")
    return f"cuda:{int(number) % gpus}" if number.isdecimal() else None
