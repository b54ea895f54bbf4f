"""Cases that overlap in one worker, in this process."""

from __future__ import annotations

import multiprocessing
import threading
from contextlib import closing
from types import SimpleNamespace

import pytest
from support.spawned import call

from itk_infer.events import CaseStarted
from itk_infer.executors.messages import Computed, Failed, Finished, Task
from itk_infer.executors.overlap import Overlap
from itk_infer.executors.reading import ReadAhead, reading_memory
from itk_infer.machine import MemoryBound
from itk_infer.model.kinds.fake import FakeBackend
from itk_infer.outputs import label_map
from itk_infer.predictor import Predictor
from itk_infer.run.cases import find_cases
from itk_infer.run.settings import RunSettings
from itk_infer.spec import InputSpec
from itk_infer.testing.faulty import wait_until
from itk_infer.volume.read import read_image
from itk_infer.volume.volume import volume_of

NAMES = ("a.mha", "b.mha", "c.mha")


class Worker:
    """An `Overlap` over three cases of the same size, and what it tells."""

    def __init__(self, folder):
        for seed, name in enumerate(NAMES):
            folder.scan(name, seed)
        folder.output.mkdir()
        self.cases = dict(
            zip(
                NAMES,
                find_cases(folder.source, folder.output, recursive=False, wanted=InputSpec()).cases,
                strict=True,
            )
        )
        self.told, self.printable = [], []
        self.predictor = Predictor(FakeBackend())
        self.settings = RunSettings(folder.source, folder.output)
        self.overlap = Overlap(self.predictor, 0, self.told.append, self.printable.append, lambda: None)
        self.memory = self.predictor.plan(
            volume_of([read_image(folder.source / "a.mha").image], "a").grid, 2
        ).memory

    def run(self, name, ahead=None, *, safer=False):
        case = self.cases[name]
        wanted = (("labels", self.settings.label_path(case)),)
        self.overlap.run(Task(case, self.settings.output, wanted, safer), self.cases.get(ahead))

    def close(self):
        self.overlap.close()

    def started(self, name):
        return any(isinstance(event, CaseStarted) and event.case == name for event in self.printable)

    @property
    def outcomes(self):
        return [message.name for message in self.told if isinstance(message, Finished | Failed)]


@pytest.fixture
def worker(folder):
    with closing(Worker(folder)) as found:
        yield found


@pytest.fixture
def disk(monkeypatch):
    """A disk on which nothing is written before it is told to."""
    go, threads, write_volume = threading.Event(), [], label_map.write_volume

    def write(*args, **options):
        threads.append(threading.current_thread())
        assert go.wait(150)
        write_volume(*args, **options)

    monkeypatch.setattr(label_map, "write_volume", write)
    go.threads = threads
    yield go
    go.set()


@pytest.fixture
def rooms(monkeypatch):
    """Bytes that each reading ahead was allowed to take."""
    allowed = []
    monkeypatch.setattr(ReadAhead, "start", lambda self, case, room: allowed.append(room))
    return allowed


def test_computing_goes_on_before_writing_ends(worker, disk):
    worker.run("a.mha", "b.mha")
    worker.run("b.mha", "c.mha")
    assert [type(message) for message in worker.told] == [Computed, Computed]
    disk.set()
    wait_until(lambda: len(worker.outcomes) == 2)
    assert worker.outcomes == ["a.mha", "b.mha"]
    assert len({thread.ident for thread in disk.threads}) == 1
    assert disk.threads[0] is not threading.current_thread()


def test_a_second_attempt_ends_before_anything_else_begins(worker, disk):
    disk.set()
    worker.run("a.mha", safer=True)
    assert [type(message) for message in worker.told] == [Finished]
    assert disk.threads == [threading.current_thread()]


def test_what_is_at_work_leaves_less_room_for_reading_ahead(worker, disk, rooms):
    limit = 2**30
    worker.predictor.model.workspaces.bound = MemoryBound(limit, "")
    peak, writing = worker.memory.peak, worker.memory.writing
    worker.run("a.mha", "b.mha")
    worker.run("b.mha", "c.mha")
    assert rooms == [limit - peak, limit - peak - writing]
    disk.set()
    wait_until(lambda: len(worker.outcomes) == 2)
    # The thread is done with a case a moment after it has told so.
    wait_until(lambda: (worker.run("c.mha", "a.mha"), rooms[-1] == limit - peak)[1])


def test_without_a_limit_there_is_room(worker, rooms):
    worker.predictor.model.workspaces.bound = None
    worker.run("a.mha", "b.mha")
    assert rooms == [None]


@pytest.mark.parametrize("missing", [0, 1])
def test_a_case_waits_for_the_disk_where_both_do_not_fit(worker, disk, missing):
    worker.predictor.model.workspaces.bound = MemoryBound(worker.memory.peak + worker.memory.writing - missing, "")
    worker.run("a.mha")
    thread = threading.Thread(target=worker.run, args=("b.mha",))
    thread.start()
    if missing:
        thread.join(0.3)
        assert not worker.started("b.mha")
        disk.set()
    wait_until(lambda: worker.started("b.mha"))
    disk.set()
    thread.join()
    wait_until(lambda: worker.outcomes == ["a.mha", "b.mha"])


def test_reading_waits_for_the_disk_where_both_do_not_fit(worker, disk, monkeypatch):
    from itk_infer.executors import reading

    needed = reading_memory(worker.cases["b.mha"])
    worker.run("a.mha")
    worker.predictor.model.workspaces.bound = MemoryBound(worker.memory.writing + needed - 1, "")
    read = []
    monkeypatch.setattr(reading, "read_image", lambda path: (read.append(path.name), read_image(path))[1])
    thread = threading.Thread(target=worker.run, args=("b.mha",))
    thread.start()
    thread.join(0.3)
    assert not read
    disk.set()
    thread.join()
    assert read == ["b.mha"]
    assert isinstance(worker.told[-1], Failed)  # nor would it fit alone


def test_nothing_is_at_work_once_it_is_closed(worker, disk):
    before = set(threading.enumerate())
    worker.run("a.mha", "b.mha")
    disk.set()
    worker.close()
    assert worker.outcomes == ["a.mha"]
    assert set(threading.enumerate()) <= before


def cannot_tell(source, output):
    worker = Worker(SimpleNamespace(source=source, output=output, scan=lambda *_: None))

    def send(message):
        if isinstance(message, Finished):
            raise TypeError("cannot be pickled")

    worker.overlap._send = send
    worker.run("a.mha")
    threading.Event().wait(150)


def test_a_worker_that_cannot_tell_an_outcome_ends(folder, capfd):
    """The parent would wait for it for ever."""
    for name in NAMES:
        folder.scan(name)
    words = (__file__, "cannot_tell", folder.source, folder.output)
    child = multiprocessing.get_context("spawn").Process(target=call, args=words)
    child.start()
    child.join()
    assert child.exitcode == 1
    assert "cannot be pickled" in capfd.readouterr().err
