"""Tasks: each is done once, and a task that shares its work is helped, however late it does so."""

from __future__ import annotations

import threading
from collections import deque

from itk_infer.classify.tasks import Tasks

PATIENCE_S = 60


def run(tasks, count):
    threads = [threading.Thread(target=tasks.work, daemon=True) for _ in range(count)]
    for thread in threads:
        thread.start()
    return threads


def ended(threads):
    for thread in threads:
        thread.join(PATIENCE_S)
    return not any(thread.is_alive() for thread in threads)


def test_every_task_is_done_once_and_then_the_threads_end():
    tasks, done = Tasks(), deque()
    threads = run(tasks, 3)
    for number in range(100):
        tasks.put(lambda number=number: done.append(number))
    tasks.finish()
    assert ended(threads)
    assert sorted(done) == list(range(100))
    assert tasks.backlog == 0


def test_the_last_task_is_shared_with_threads_that_have_nothing_else(monkeypatch):
    """All that meet at the barrier are in different threads at one time."""
    tasks, meeting, idle, met = Tasks(), threading.Barrier(3, timeout=PATIENCE_S), threading.Semaphore(0), deque()
    wait = tasks._changed.wait

    def waits():
        idle.release()
        return wait()

    def part():
        meeting.wait()
        met.append(threading.get_ident())

    def large():
        if all(idle.acquire(timeout=PATIENCE_S) for _ in range(2)):  # both others have found nothing to do
            tasks.share(part, 2)
            part()

    monkeypatch.setattr(tasks._changed, "wait", waits)
    tasks.put(large)
    tasks.finish()
    assert ended(run(tasks, 3))
    assert len(set(met)) == 3


def test_shared_parts_come_before_other_tasks():
    tasks, order = Tasks(), []

    def first():
        tasks.share(lambda: order.append("part"), 1)
        order.append("first")

    tasks.put(first)
    tasks.put(lambda: order.append("second"))
    tasks.finish()
    tasks.work()
    assert order == ["first", "part", "second"]


def test_what_is_given_up_is_not_done():
    tasks, done = Tasks(), []
    tasks.put(lambda: (done.append(1), tasks.share(lambda: done.append(2), 1), tasks.give_up()))
    tasks.put(lambda: done.append(3))
    tasks.work()
    assert done == [1]


def test_tasks_that_are_put_off_wait_until_they_are_ready():
    ready, order = threading.Event(), []
    tasks = Tasks(ready.is_set)

    def first():
        tasks.put_off(lambda: order.append("put off"))
        order.append("first")

    def second():
        order.append("second")
        ready.set()

    for task in (first, second, lambda: order.append("third")):
        tasks.put(task)
    tasks.finish()
    tasks.work()
    assert order == ["first", "second", "put off", "third"]


def test_tasks_that_are_put_off_are_done_where_there_is_nothing_else():
    tasks, done = Tasks(lambda: False), []
    tasks.put(lambda: tasks.put_off(lambda: done.append(1)))
    tasks.finish()
    tasks.work()
    assert done == [1]


def test_tasks_that_are_put_off_can_be_given_up():
    tasks, done = Tasks(lambda: False), []
    tasks.put_off(lambda: done.append(1))
    tasks.give_up()
    tasks.work()
    assert not done
