"""Worker processes and clusters classify as the threads of one process do, also where some of them die."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("pydicom", reason="pydicom writes the files")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
from support.classify_files import brightness_network, grey_dicom
from support.deadly_classifier import DeadlyRequest

from itk_infer.classify import in_workers
from itk_infer.classify.messages import FileDone
from itk_infer.classify.part import ClassifierRequest, Part
from itk_infer.classify.part_runner import open_parts
from itk_infer.classify.run import classify_folder
from itk_infer.classify.settings import ClassifySettings
from itk_infer.classify.units import Unit, WaitingFile
from itk_infer.cli.main import main
from itk_infer.errors import InterruptedRunError, ModelError
from itk_infer.events import CaseFailed, Events, Progress, RunStarted, Warned
from itk_infer.executors import in_flight
from itk_infer.executors.gpus import Placement
from itk_infer.executors.messages import Failed, Returned
from itk_infer.executors.workers import Workers
from itk_infer.options import Options
from itk_infer.testing.faulty import Clock, interrupt_at

COUNT, DEADLY = 24, 11  # files, and which of them ends workers
EVERYTHING = (
    "SELECT f.path, f.state, f.study, i.frame, i.state, i.pixels_sha256, p.label, p.probability, p.logit FROM files f "
    "LEFT JOIN images i ON i.file = f.id LEFT JOIN predictions p ON p.image = i.id ORDER BY f.path, i.frame, p.label"
)
signals = pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in range(COUNT):
        grey_dicom(tmp_path / f"in/{number % 3}/{number:02d}.dcm", number / 30, number, study=str(number % 3))
    (tmp_path / "in/0/none.txt").write_text("words", "utf-8")
    (tmp_path / "in/1/bad.dcm").write_bytes(b"no DICOM")
    return tmp_path / "in"


@pytest.fixture
def request_of(model: Path, folder: Path) -> Callable[..., DeadlyRequest]:
    def request(**more: Any) -> DeadlyRequest:
        return DeadlyRequest((model,), None, Options(device="cpu", provider="cpu"), folder, **more)

    return request


@pytest.fixture
def work(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Classify the folder with two workers, in parts of four files, into tmp_path / out."""
    monkeypatch.setattr(in_workers, "FIRST", 4)
    monkeypatch.setattr(in_workers, "LEAST", 2)
    monkeypatch.setattr(in_workers, "MOST", 4)

    def run(source: ClassifierRequest, listener: Any = lambda event: None, executor: Any = None) -> Any:
        def load() -> Any:
            raise AssertionError("the model is loaded by the workers only")

        executor = executor or Workers(source, (Placement(threads=1),) * 2, opener=open_parts)
        return classify_folder(
            load, ClassifySettings(folder, tmp_path / "out"), Events([listener]), executor=executor
        )

    return run


def test_two_workers_find_what_one_process_does(
    work: Any, run: Any, rows: Any, folder: Path, request_of: Any, tmp_path: Path
) -> None:
    alone = run(folder)
    wanted = rows(EVERYTHING)
    (tmp_path / "out").rename(tmp_path / "alone")
    events: list[Any] = []
    summary = work(request_of(), events.append)
    assert rows(EVERYTHING) == wanted
    assert len(wanted) == COUNT + 2
    assert (summary.done, summary.images, summary.failed, summary.skipped) == (COUNT, COUNT, 1, 1)
    assert (summary.exit_code, alone.exit_code) == (3, 3)
    started = next(event for event in events if isinstance(event, RunStarted))
    assert (started.cases, started.workers, started.device, started.model) == (26, 2, "cpu", "brightness")
    told = [event for event in events if isinstance(event, Progress)]
    assert (told[-1].done, told[-1].total) == (26, 26)
    assert rows("SELECT sha256, spec_sha256, name FROM models") == _model_of(tmp_path / "alone")
    again = work(request_of())
    assert (again.done, again.up_to_date) == (0, COUNT + 1)


def _model_of(folder: Path) -> list[Any]:
    import sqlite3

    with sqlite3.connect(folder / "results.db") as db:
        found = db.execute("SELECT sha256, spec_sha256, name FROM models").fetchall()
    db.close()
    return found


@signals
def test_a_worker_that_is_killed_costs_nothing(work: Any, rows: Any, request_of: Any, tmp_path: Path) -> None:
    events: list[Any] = []
    summary = work(request_of(deadly=DEADLY / 30, once=tmp_path / "once"), events.append)
    assert (tmp_path / "once").exists()
    assert (summary.done, summary.failed) == (COUNT, 1)
    assert rows("SELECT count(*), count(DISTINCT sop) FROM images") == [(COUNT, COUNT)]
    words = [event.message for event in events if isinstance(event, Warned)]
    assert len(words) == 1
    assert "SIGKILL" in words[0]
    assert "are tried again" in words[0]


@signals
def test_a_picture_that_ends_every_worker_fails_alone(work: Any, rows: Any, request_of: Any) -> None:
    events: list[Any] = []
    summary = work(request_of(deadly=DEADLY / 30), events.append)
    assert (summary.done, summary.failed, summary.exit_code) == (COUNT - 1, 2, 3)
    failed = {event.case: event.reason for event in events if isinstance(event, CaseFailed)}
    assert "SIGKILL" in failed[f"{DEADLY % 3}/{DEADLY}.dcm"]
    assert rows(
        "SELECT state, study = (SELECT study FROM files WHERE path = '2/02.dcm') FROM files WHERE path = ?",
        f"{DEADLY % 3}/{DEADLY}.dcm",
    ) == [("failed", 1)]
    assert rows("SELECT count(DISTINCT sop) FROM images") == [(COUNT - 1,)]


class PutForward(Workers):
    """One worker, whose clock passes the limit as soon as it hangs."""

    def __init__(self, request: DeadlyRequest, clock: Clock) -> None:
        super().__init__(request, (Placement(threads=1),), 600, opener=open_parts)
        self._clock, self._folder, self._known = clock, request.begun, 0

    def step(self, report: Any) -> None:
        begun = len(list(self._folder.iterdir())) if self._folder is not None else 0
        if begun > self._known:
            self._known = begun
            self._clock.forward(600)
        super().step(report)


def test_a_picture_that_hangs_fails_by_its_time_alone(
    work: Any, rows: Any, request_of: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "begun").mkdir()
    request = request_of(hangs=DEADLY / 30, begun=tmp_path / "begun")
    events: list[Any] = []
    executor = PutForward(request, Clock(monkeypatch, in_flight))
    summary = work(request, events.append, executor)
    assert (summary.done, summary.failed, summary.exit_code) == (COUNT - 1, 2, 3)
    failed = {event.case: event.reason for event in events if isinstance(event, CaseFailed)}
    words = "took longer than the 600 s of `case_timeout`; its worker was ended"
    assert failed[f"{DEADLY % 3}/{DEADLY}.dcm"] == words
    (told,) = [event.message for event in events if isinstance(event, Warned)]
    assert re.fullmatch(rf"a part of [34] files {words}; they are tried again, in smaller parts", told)
    assert rows("SELECT count(DISTINCT sop) FROM images") == [(COUNT - 1,)]
    assert len(list((tmp_path / "begun").iterdir())) == 2


def test_a_limit_means_smaller_parts(request_of: Any, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a part of many files, of which none takes long, could exceed it."""
    monkeypatch.setattr(Workers, "open", lambda self, check: None)

    def sizes(limit: float | None) -> list[int]:
        workers = Workers(request_of(), (Placement(),), limit, opener=open_parts)
        settings = ClassifySettings(folder, folder)
        computing = in_workers.InWorkers(workers, settings, lambda: None, lambda words: None)
        found = []
        for name in ("1", "2"):
            units = tuple(Unit((WaitingFile(number, "a"),)) for number in range(computing._files(10_000)))
            part = Part(name, folder, units, ("", ""), (), 1)
            found.append(len(units))
            computing._begun[name] = time.monotonic() - 4.0
            computing._returned(part, Returned(name, 0, (FileDone(0, "a", "skipped", ""),) * len(units)))
        return [*found, computing._files(10_000)]

    assert sizes(None) == [32, pytest.approx(40, abs=1), pytest.approx(50, abs=2)]
    assert sizes(4.0) == [32, pytest.approx(8, abs=1), pytest.approx(2, abs=1)]


def test_a_stop_keeps_what_is_done(work: Any, rows: Any, request_of: Any) -> None:
    interrupt = interrupt_at(lambda event: isinstance(event, CaseFailed))
    # One worker: of two, a slow one could return the part that fails last of all, when nothing is left to stop.
    one = Workers(request_of(), (Placement(threads=1),), opener=open_parts)
    summary = work(request_of(), interrupt, one)
    assert summary.exit_code == 130
    before = rows("SELECT count(*) FROM images")[0][0]
    summary = work(request_of())
    assert summary.done + before == COUNT
    assert rows("SELECT count(*), count(DISTINCT sop) FROM images") == [(COUNT, COUNT)]


def test_a_model_that_no_worker_can_load(work: Any, request_of: Any, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no such file"):
        work(replace(request_of(), paths=(tmp_path / "none.onnx",)))
    assert not (tmp_path / "out").exists()


class TestOnePart:
    """Without a process of its own."""

    @pytest.fixture
    def runner(self, request_of: Any) -> Any:
        return open_parts(request_of(), None, 1)

    @pytest.fixture
    def part(self, runner: Any, folder: Path) -> Part:
        units = (Unit((WaitingFile(1, "0/00.dcm"),)), Unit((WaitingFile(2, "0/03.dcm"),)))
        facts = runner.facts
        return Part("p", folder, units, (facts.digest, facts.spec_digest), facts.precisions, facts.batch)

    def test_its_files(self, runner: Any, part: Part) -> None:
        ended = runner.run(part, 1, None, lambda: None)
        assert isinstance(ended, Returned)
        assert sorted(done.path for done in ended.value) == ["0/00.dcm", "0/03.dcm"]
        assert {done.state for done in ended.value} == {"done"}

    def test_a_stop(self, runner: Any, part: Part) -> None:
        def stop() -> None:
            raise InterruptedRunError(15)

        assert runner.run(part, 1, None, stop) == Returned("p", 1, ())

    def test_another_model_than_the_run_records(self, runner: Any, part: Part) -> None:
        ended = runner.run(replace(part, model=("other", "other")), 1, None, lambda: None)
        assert isinstance(ended, Failed)
        assert "changed while the run was at work" in ended.reason

    def test_a_bug(self, runner: Any, part: Part, monkeypatch: pytest.MonkeyPatch) -> None:
        """In what is done with a batch; one in a single picture is the reason why that fails."""
        monkeypatch.setattr(runner._classifier, "scores_around", lambda inputs: 1 / 0)
        ended = runner.run(part, 1, None, lambda: None)
        assert isinstance(ended, Failed)
        assert "unexpected ZeroDivisionError" in ended.reason


def test_a_model_that_changes_meanwhile_ends_the_run(
    work: Any, rows: Any, request_of: Any, tmp_path: Path, model: Path
) -> None:
    """A worker that starts later loads what is there then; its answers are not those of the recorded model."""
    workers = Workers(request_of(), (Placement(threads=1),), opener=open_parts)
    opened = workers.open

    def open_and_change(check: Any) -> Any:
        facts = opened(check)
        return replace(facts, digest="of another file")

    workers.open = open_and_change  # type: ignore[method-assign]
    summary = work(request_of(), executor=workers)
    assert summary.exit_code != 0
    assert "changed while the run was at work" in summary.problem
    assert rows("SELECT count(*) FROM images") == [(0,)]


def test_a_dask_cluster(run: Any, rows: Any, folder: Path, model: Path, tmp_path: Path) -> None:
    """By the command line."""
    pytest.importorskip("distributed", reason="Dask is not installed")
    from support.local_cluster import local_cluster_of

    run(folder)
    wanted = rows(EVERYTHING)
    (tmp_path / "out").rename(tmp_path / "alone")
    words = ["classify", "-i", str(folder), "-o", str(tmp_path / "out"), "-m", str(model)]
    words += ["--device", "cpu", "--provider", "cpu", "--threads", "1", "--quiet"]
    words += ["--saliency", "occlusion", "--saliency-for", "1"]
    with local_cluster_of(2) as cluster:
        assert main([*words, "--scheduler", cluster.scheduler_address]) == 3, "one file is no DICOM"
    assert rows(EVERYTHING) == wanted
    assert len(list((tmp_path / "out/saliency").rglob("*.png"))) == 3, "one of each study"


def test_series_stay_together(
    work: Any, run: Any, rows: Any, folder: Path, tmp_path: Path, request_of: Any
) -> None:
    """Where the model sees neighbours, a part is never smaller than a series."""
    from support.classify_files import CLASSIFY

    channels = [{"slice": -1}, {"slice": 0}, {"slice": 1}]
    spec = CLASSIFY | {
        "input": {"channels": channels, "size": [8, 8]},
        "output": {
            "activation": "sigmoid",
            "labels": [{"name": name, "channel": k} for k, name in enumerate("abc")],
        },
    }
    several = brightness_network(tmp_path / "several.onnx", spec, shape=("n", 3, 8, 8))
    run(folder, several)
    wanted = rows(EVERYTHING)
    (tmp_path / "out").rename(tmp_path / "alone")
    summary = work(replace(request_of(), paths=(several,)))
    assert summary.done == COUNT
    assert rows(EVERYTHING) == wanted
