"""Queues of tasks for threads; parts of a running unit, shared among threads, come before further units."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

Task = Callable[[], None]


class Tasks:
    """Queues of tasks; any number of threads may run `work`.

    Args:
        ready: Whether tasks that were put off can be run without waiting.
    """

    def __init__(self, ready: Callable[[], bool] = lambda: True) -> None:
        self._ready = ready
        self._waiting: deque[Task] = deque()
        self._shared: deque[Task] = deque()
        self._put_off: deque[Task] = deque()
        self._under_way = self._idle = 0
        self._finished = False
        self._changed = threading.Condition()

    @property
    def backlog(self) -> int:
        """Number of queued tasks that have not been started."""
        return len(self._waiting)

    @property
    def idle(self) -> int:
        """Number of threads that have nothing to do any more, unless a running task shares a part of it."""
        return self._idle if self._finished else 0

    def put(self, task: Task) -> None:
        """Add a task at the end."""
        with self._changed:
            self._waiting.append(task)
            self._changed.notify()

    def share(self, task: Task, count: int) -> None:
        """Have `count` other threads run `task`, a part of the running task, as soon as they are free."""
        with self._changed:
            self._shared.extend([task] * count)
            self._changed.notify(count)

    def put_off(self, task: Task) -> None:
        """Add a task that is run once it is ready, or there is nothing else to do."""
        with self._changed:
            self._put_off.append(task)
            self._changed.notify()

    def finish(self) -> None:
        """Declare that no further tasks will be added."""
        with self._changed:
            self._finished = True
            self._changed.notify_all()

    def give_up(self) -> None:
        """Drop all tasks that have not been started."""
        with self._changed:
            self._waiting.clear()
            self._shared.clear()
            self._put_off.clear()
        self.finish()

    def work(self) -> None:
        """Run tasks until all have ended; also waits for running ones, which may still share parts."""
        while (task := self._next()) is not None:
            try:
                task()
            finally:
                with self._changed:
                    self._under_way -= 1
                    if not self._under_way:
                        self._changed.notify_all()

    def _next(self) -> Task | None:
        with self._changed:
            while not (self._shared or self._waiting or self._put_off):
                if self._finished and not self._under_way:
                    return None
                self._idle += 1
                self._changed.wait()
                self._idle -= 1
            self._under_way += 1
            return self._first().popleft()

    def _first(self) -> deque[Task]:
        """The queue to take from; one of them is not empty."""
        if self._put_off and not self._shared and (not self._waiting or self._ready()):
            return self._put_off
        return self._shared or self._waiting
