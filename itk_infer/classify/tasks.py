"""Tasks for threads: units in turn, and before them parts of a unit that a thread shares with the others."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

Task = Callable[[], None]


class Tasks:
    """What is to be done; for any number of threads."""

    def __init__(self) -> None:
        self._waiting: deque[Task] = deque()
        self._shared: deque[Task] = deque()
        self._under_way = 0
        self._finished = False
        self._changed = threading.Condition()

    @property
    def backlog(self) -> int:
        """Tasks that were put, and that no thread has taken yet."""
        return len(self._waiting)

    def put(self, task: Task) -> None:
        """Add a task at the end."""
        with self._changed:
            self._waiting.append(task)
            self._changed.notify()

    def share(self, task: Task, count: int) -> None:
        """Have a part of the task that calls this done by so many other threads, as soon as they are free."""
        with self._changed:
            self._shared.extend([task] * count)
            self._changed.notify(count)

    def finish(self) -> None:
        """Say that no more are put."""
        with self._changed:
            self._finished = True
            self._changed.notify_all()

    def give_up(self) -> None:
        """Drop all that no thread has taken."""
        with self._changed:
            self._waiting.clear()
            self._shared.clear()
        self.finish()

    def work(self) -> None:
        """Do tasks, until all are done: one that is under way may yet be shared."""
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
            while not (self._shared or self._waiting):
                if self._finished and not self._under_way:
                    return None
                self._changed.wait()
            self._under_way += 1
            return (self._shared or self._waiting).popleft()
