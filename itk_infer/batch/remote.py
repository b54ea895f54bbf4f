"""The cluster's side: what a Dask worker does for one case. The model stays loaded between cases."""

from __future__ import annotations

import pickle
import threading
from functools import lru_cache
from typing import TYPE_CHECKING

from itk_infer.batch.case_run import run_case
from itk_infer.batch.messages import Began, Message, Outcome, Task, Told
from itk_infer.batch.model import ModelFacts, ModelSource, facts_of
from itk_infer.batch.settings import RunSettings
from itk_infer.errors import Interrupted, ItkInferError, ModelError

if TYPE_CHECKING:
    from itk_infer.predictor import Predictor

_one_at_a_time = threading.Lock()  # a Dask worker may have several threads
_stopped: set[str] = set()  # topics of runs that were told to stop


def facts(source: ModelSource, threads: int | None, gpus: int) -> ModelFacts | ItkInferError:
    """Load the model and tell about it, or why it cannot be loaded."""
    try:
        with _one_at_a_time:
            return facts_of(_loaded(source, _device(gpus), threads))
    except ItkInferError as error:
        return error


def compute(
    source: ModelSource, threads: int | None, gpus: int, settings: RunSettings, task: Task, number: int, topic: str
) -> Outcome | ItkInferError:
    """Run one case, and tell on the way what `Executor.step` tells.

    Args:
        source: The model.
        threads: CPU threads of the network.
        gpus: GPUs that the worker processes of one job share.
        settings: Folders and outputs.
        task: The case.
        number: Of this worker, for events.
        topic: Of Dask events that the parent listens to.

    Returns:
        The outcome, or why the model cannot be loaded.
    """
    from distributed import get_worker

    worker = get_worker()

    def tell(message: Message) -> None:
        worker.log_event(topic, pickle.dumps(message))

    def check() -> None:
        if topic in _stopped:
            raise Interrupted(15)

    with _one_at_a_time:
        tell(Began(task.name, number))
        try:
            predictor = _loaded(source, _device(gpus), threads)
        except ItkInferError as error:
            return error
        return run_case(predictor, settings, task, number, lambda event: tell(Told(event)), check)


def request_stop(topic: str) -> None:
    """Drop the case at work at its next window. Runs in the worker's event loop."""
    _stopped.add(topic)


@lru_cache(maxsize=1)
def _loaded(source: ModelSource, device: str | None, threads: int | None) -> Predictor:
    try:
        return source.load(device=device, threads=threads)
    except ItkInferError:
        raise
    except Exception as error:
        raise ModelError(f"the model cannot be loaded: unexpected {type(error).__name__}: {error}") from error


def _device(gpus: int) -> str | None:
    """Where several worker processes share the GPUs of a job, each takes its own by the end of its name."""
    from distributed import get_worker

    if gpus < 2:
        return None
    _, _, number = str(get_worker().name).rpartition("-")
    return f"cuda:{int(number) % gpus}" if number.isdecimal() else None
