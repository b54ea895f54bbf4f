"""Evaluation of many cases: stored scores are reused, the others computed by several processes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import get_context
from multiprocessing.resource_tracker import ensure_running

from itk_infer.errors import CaseError
from itk_infer.evaluate.case import CaseTask, evaluate_case
from itk_infer.evaluate.scores import CaseScores, completed
from itk_infer.evaluate.store import ScoreStore, identity_of
from itk_infer.machine import ran_out, shortage
from itk_infer.system import blocked_signals, end_with_parent, leave_signals_to_parent

OnCase = Callable[[str, int, int], None]


@dataclass(slots=True)
class Evaluation:
    """The scores of a folder.

    Attributes:
        cases: Scores by case name, each with an entry for every label of any case.
        failed: Reason of failure by case name.
        reused: Number of cases whose scores were stored.
    """

    cases: list[CaseScores] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    reused: int = 0


def evaluate_all(tasks: Sequence[CaseTask], store: ScoreStore, workers: int, on_case: OnCase) -> Evaluation:
    """Evaluate all cases; failures do not stop the others.

    Args:
        tasks: One per case.
        store: Receives the scores of each case as soon as they are computed.
        workers: Number of processes; 1: this process only.
        on_case: Called after each case with its name, the number of cases done, and the total.
    """
    result = Evaluation()
    identities: dict[str, str] = {}
    scores: dict[str, CaseScores] = {}
    todo = []
    for task in tasks:
        name = task.pair.name
        try:
            identities[name] = identity_of(task)
        except OSError as error:
            result.failed[name] = f"{error.filename}: cannot be read ({error.strerror})"
            continue
        known = store.get(name, identities[name])
        if known is None:
            todo.append(task)
        else:
            scores[name] = known
    result.reused = len(scores)
    for name, outcome in _outcomes(todo, min(workers, len(todo))):
        if isinstance(outcome, str):
            result.failed[name] = outcome
        else:
            store.put(identities[name], outcome)
            scores[name] = outcome
        on_case(name, len(scores) + len(result.failed), len(tasks))
    result.cases = completed([scores[name] for name in sorted(scores)])
    return result


def _outcomes(tasks: Sequence[CaseTask], workers: int) -> Iterator[tuple[str, CaseScores | str]]:
    """Yield the name of each case, with its scores or the reason of its failure, as cases finish."""
    if workers <= 1:
        for task in tasks:
            yield task.pair.name, _outcome(task)
        return
    suspects = []  # cases that were running when a process ended, one of which is the cause
    waiting = list(reversed(tasks))
    while waiting:
        with _pool(workers) as pool:
            running: dict[Future[CaseScores | str], CaseTask] = {}
            broken = False
            while (waiting or running) and not broken:
                while waiting and len(running) < workers and not broken:  # no queue, so that few are suspects
                    task = waiting.pop()
                    try:
                        running[pool.submit(_outcome, task)] = task
                    except BrokenProcessPool:  # another case broke it just before
                        suspects.append(task)
                        broken = True
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    task = running.pop(future)
                    try:
                        yield task.pair.name, future.result()
                    except BrokenProcessPool:
                        suspects.append(task)
                        broken = True
            suspects += running.values()
    for task in suspects:
        with _pool(1) as pool:
            try:
                yield task.pair.name, pool.submit(_outcome, task).result()
            except BrokenProcessPool:
                yield task.pair.name, "its worker process ended, perhaps because memory ran out"


@contextmanager
def _pool(workers: int) -> Iterator[ProcessPoolExecutor]:
    """A pool of processes that end with this one, and ignore signals, which this one handles."""
    pool = ProcessPoolExecutor(
        workers, mp_context=get_context("spawn"), initializer=_begin_worker, initargs=(os.getpid(),)
    )
    ensure_running()  # otherwise the first process would start it, which unblocks the signals
    with blocked_signals():
        for _ in range(workers):  # starts all processes within the block
            pool.submit(int)
    try:
        yield pool
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        raise
    pool.shutdown()


def _begin_worker(parent: int) -> None:
    leave_signals_to_parent()
    end_with_parent(parent)


def _outcome(task: CaseTask) -> CaseScores | str:
    try:
        return evaluate_case(task)
    except CaseError as error:
        return str(error)
    except Exception as error:
        if ran_out(error):
            return shortage(f"comparing {task.pair.name}")
        return f"{task.pair.name}: {type(error).__name__}: {error}; please report it as a bug"
