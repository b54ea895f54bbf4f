"""The queue: what it promises across kills, and in which order jobs run."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing

import pytest

from itk_infer.errors import ConfigError
from itk_infer.service import jobs as jobs_module
from itk_infer.service.job import JobFile, JobRequest
from itk_infer.service.jobs import MOST_STARTS, NAME, JobQueue
from itk_infer.service.refusal import Refusal

IMAGE = JobRequest("liver", ("/x/input.nii",), "abc", 3)


class Now:
    """A clock that is put forward by hand, in the place of `time`."""

    def __init__(self, seconds=1_000_000.0):
        self.seconds = seconds

    def time(self):
        return self.seconds


@pytest.fixture
def now(monkeypatch):
    clock = Now()
    monkeypatch.setattr(jobs_module, "time", clock)
    return clock


@pytest.fixture
def queue(tmp_path, now):
    with closing(JobQueue(tmp_path, limit=100)) as queue:
        yield queue


def add(queue, **changes):
    from dataclasses import replace

    return queue.add(replace(IMAGE, **changes))[0]


def finish(queue, now, seconds, nbytes=10):
    job = queue.take()
    now.seconds += seconds
    assert queue.finish(job.id, {"mask": JobFile("result.nii", nbytes, "f00")}, {"confidence": 0.5})
    return job


def test_a_job_keeps_what_was_asked_for(queue):
    request = JobRequest("liver", ("/a.nii", "/b.nii"), "d1", 7, ("logits",), "nrrd", "Müller", "key")
    job, is_new = queue.add(request)
    assert is_new
    assert queue.get(job.id).request == request


def test_jobs_run_in_the_order_in_which_they_came(queue, now):
    ids = [add(queue).id for _ in range(4)]
    assert [finish(queue, now, 1).id for _ in range(4)] == ids
    assert queue.take() is None


def test_what_follows_goes_on_waiting(queue, now):
    assert queue.following() is None
    first, second = (queue.add(JobRequest("m", (name,)))[0] for name in "ab")
    assert queue.following().id == queue.following().id == first.id
    assert queue.take().id == first.id
    assert queue.following().id == second.id


def test_two_threads_never_take_the_same_job(queue):
    ids = {add(queue).id for _ in range(60)}
    taken = []

    def take():
        while (job := queue.take()) is not None:
            taken.append(job.id)

    threads = [threading.Thread(target=take) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(taken) == 60
    assert set(taken) == ids


def test_what_ran_when_the_server_was_killed_runs_again_at_its_place(tmp_path):
    with closing(JobQueue(tmp_path)) as queue:
        first, second = add(queue), add(queue)
        queue.take()
    with closing(JobQueue(tmp_path)) as queue:
        assert queue.recover() == []
        assert [queue.take().id, queue.take().id] == [first.id, second.id]
        assert queue.get(first.id).starts == 2


def test_a_job_that_runs_at_every_kill_fails_at_last(tmp_path):
    with closing(JobQueue(tmp_path)) as queue:
        job = add(queue)
    for start in range(MOST_STARTS):
        with closing(JobQueue(tmp_path)) as queue:
            assert queue.recover() == []
            assert queue.take().starts == start + 1
    with closing(JobQueue(tmp_path)) as queue:
        assert [lost.id for lost in queue.recover()] == [job.id]
        assert queue.get(job.id).state == "failed"
        assert "not tried again" in queue.get(job.id).reason


def test_a_server_that_stops_does_not_count_as_a_start(queue):
    job = add(queue)
    for _ in range(3 * MOST_STARTS):
        queue.take()
        queue.put_back(job.id)
    queue.take()
    assert queue.get(job.id).starts == 1


def test_a_job_ends_only_once(queue, now):
    job = add(queue)
    assert not queue.fail(job.id, "it waits")
    finish(queue, now, 1)
    assert not queue.finish(job.id, {}, {})
    assert not queue.fail(job.id, "late")
    assert not queue.cancel(job.id, running=True)
    assert queue.get(job.id).state == "done"


def test_only_a_waiting_job_is_cancelled_at_once(queue):
    waiting, running = add(queue), add(queue)
    queue.take()
    assert queue.cancel(running.id)
    assert not queue.cancel(waiting.id)
    assert queue.cancel(waiting.id, running=True)


def test_only_an_ended_job_is_deleted(queue):
    job = add(queue)
    assert not queue.delete(job.id)
    queue.cancel(job.id)
    assert queue.delete(job.id)
    with pytest.raises(Refusal, match="no such job"):
        queue.get(job.id)


def test_keys(queue):
    first, _ = queue.add(JobRequest("liver", (), "abc", key="k"))
    assert queue.add(JobRequest("liver", ("/elsewhere",), "abc", key="k")) == (first, False)
    for other in (JobRequest("liver", (), "abd", key="k"), JobRequest("spleen", (), "abc", key="k")):
        with pytest.raises(Refusal, match="idempotency") as refusal:
            queue.add(other)
        assert refusal.value.kind == "conflict"


def test_the_limit(tmp_path):
    with closing(JobQueue(tmp_path, limit=2)) as queue:
        add(queue)
        add(queue)
        with pytest.raises(Refusal, match="full") as refusal:
            add(queue)
        assert refusal.value.retry_s >= 1
        queue.take()
        add(queue)


def test_position_and_eta(queue, now):
    add(queue), add(queue, model="spleen")
    assert queue.eta(add(queue), 1) is None  # nothing is known yet
    finish(queue, now, 10)
    finish(queue, now, 30)
    running = queue.take()
    spleen, last = add(queue, model="spleen"), add(queue)
    now.seconds += 4
    assert queue.position(last) == 2
    assert queue.eta(queue.get(running.id), 1) == pytest.approx(6)
    assert queue.eta(spleen, 1) == pytest.approx(6 + 30)
    assert queue.eta(last, 1) == pytest.approx(6 + 30 + 10)
    assert queue.eta(last, 2) == pytest.approx((6 + 30) / 2 + 10)
    assert queue.eta(add(queue, model="unknown"), 1) == pytest.approx(6 + 30 + 10 + 20)


def test_retention_by_age_and_by_size(queue, now):
    old = [add(queue).id for _ in range(3)]
    for nbytes in (100, 200, 300):
        finish(queue, now, 60, nbytes)
    assert queue.expired(1000, 1000) == []
    assert queue.expired(1000, 599) == [old[0]]
    assert queue.expired(1000, 300) == [old[1], old[0]]
    assert queue.expired(100, 1000) == [old[0]]
    waiting = add(queue)
    now.seconds += 10**6
    assert waiting.id not in queue.expired(0, 0)


def test_pages(queue):
    numbers = [add(queue).number for _ in range(5)]
    assert [job.number for job in queue.latest(limit=2)] == numbers[:2:-1]
    assert [job.number for job in queue.latest(limit=9, before=numbers[2])] == numbers[1::-1]
    queue.take()
    assert [job.number for job in queue.latest("running")] == numbers[:1]


def test_a_later_version_is_refused(tmp_path):
    JobQueue(tmp_path).close()
    with closing(sqlite3.connect(tmp_path / NAME)) as db:
        db.execute("PRAGMA user_version = 99")
    with pytest.raises(ConfigError, match="later version"):
        JobQueue(tmp_path)
