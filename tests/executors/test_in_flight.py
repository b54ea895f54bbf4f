from __future__ import annotations

from pathlib import Path, PurePosixPath

import pytest

from itk_infer.case.case import Case
from itk_infer.executors import in_flight as module
from itk_infer.executors.in_flight import Job, Jobs
from itk_infer.executors.messages import Task


@pytest.fixture
def clock(monkeypatch):
    class Clock:
        now = 100.0

        def monotonic(self):
            return self.now

    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


def job(name):
    found = Job(Task(Case(PurePosixPath("."), name, ".mha", ()), Path("out"), ()))
    found.start()
    return found


def test_one_is_computed_and_two_are_on_their_way_to_the_disk(clock):
    jobs = Jobs()
    assert jobs.room
    for name in "ab":
        jobs.computing = job(name)
        assert not jobs.room
        jobs.computed()
    assert not jobs.room
    assert [one.name for one in jobs.all] == ["a.mha", "b.mha"]
    jobs.end("a.mha")
    assert jobs.room


def test_waiting_for_another_one_to_be_written_does_not_count(clock):
    jobs = Jobs(computing=(a := job("a")))
    clock.now += 5
    jobs.computed()
    jobs.computing = b = job("b")
    clock.now += 7
    jobs.computed()
    clock.now += 100
    assert (a.seconds, b.seconds) == (112, 7)
    jobs.end("a.mha")
    clock.now += 2
    assert b.seconds == 9


def test_a_case_that_ends_at_work_leaves_the_others(clock):
    jobs = Jobs(job("b"), [job("a")])
    jobs.end("b.mha")
    assert [one.name for one in jobs.all] == ["a.mha"]
    jobs.computing = job("c")
    assert [one.name for one in jobs.clear()] == ["a.mha", "c.mha"]
    assert not jobs.all
