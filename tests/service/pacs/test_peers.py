"""Peers that misbehave: archives that abort, answer nonsense or cannot be asked."""

from __future__ import annotations

import gc
import hashlib
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from support.nodes import node, run_once, settings, spooled
from support.results import result, results

from itk_infer.errors import ConfigError
from itk_infer.service.pacs import outbox as outbox_module
from itk_infer.service.pacs import study_run
from itk_infer.service.pacs.access import Access
from itk_infer.service.pacs.delivery import Unavailable
from itk_infer.service.pacs.dicomweb import DicomWeb
from itk_infer.service.pacs.dimse import load_pynetdicom
from itk_infer.service.pacs.http_server import HttpFault, HttpServer
from itk_infer.service.pacs.node import Node
from itk_infer.service.pacs.objects import object_of, results_in
from itk_infer.service.pacs.orthanc import Orthanc
from itk_infer.service.pacs.push import push_folder

ACCESS = Access(timeout=20.0)
# pynetdicom leaves the sockets of connections that fail to the garbage collector.
pytestmark = [
    pytest.mark.filterwarnings("ignore:unclosed <:ResourceWarning"),
    pytest.mark.filterwarnings("ignore:Exception ignored in. <s:pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(autouse=True)
def _collected():
    yield
    gc.collect()


@contextmanager
def archive(on_store, on_find=None):
    """A small C-STORE server; with `on_find` it answers questions, too."""
    pytest.importorskip("pynetdicom", reason="the extra `pacs` is not installed")
    from pynetdicom import AE, StoragePresentationContexts, evt

    entity = AE(ae_title="ARCHIVE")
    entity.supported_contexts = StoragePresentationContexts
    handlers = [(evt.EVT_C_STORE, on_store)]
    if on_find is not None:
        entity.add_supported_context("1.2.840.10008.5.1.4.1.2.2.1")
        handlers.append((evt.EVT_C_FIND, on_find))
    server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
    try:
        yield f"dicom=ARCHIVE@127.0.0.1:{server.socket.getsockname()[1]}"
    finally:
        entity.shutdown()


@contextmanager
def http_server(answer):
    """`answer` gets the handler, and writes what it likes."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            answer(self)

        do_POST = do_GET

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def said(status, body=b"", **headers):
    def answer(handler):
        handler.send_response(status)
        for name, value in {"Content-Length": len(body), **headers}.items():
            handler.send_header(name, str(value))
        handler.end_headers()
        handler.wfile.write(body)

    return answer


def test_one_object_that_makes_the_archive_abort_does_not_hold_up_the_others(tmp_path, monkeypatch):
    monkeypatch.setattr(outbox_module, "MOST_PAUSE_S", 0.0)
    bad = object_of(result(tmp_path / "out" / "a.seg.dcm", "bad"))
    result(tmp_path / "out" / "b.seg.dcm", "good")

    def store(event):
        if event.request.AffectedSOPInstanceUID == bad.uid:
            event.assoc.abort()
        return 0x0000

    with archive(store) as target:
        letters = push_folder(tmp_path / "out", [target], ACCESS, wait=0.0)
        assert {letter.state for letter in letters} == {"waiting"}
        letters = {letter.path: letter for letter in push_folder(tmp_path / "out", [], ACCESS, wait=0.0)}
    assert letters["b.seg.dcm"].state == "sent"
    assert "cannot be asked" in letters["b.seg.dcm"].reason
    assert not letters["b.seg.dcm"].verified
    assert letters["a.seg.dcm"].state == "waiting"
    assert "know our AE title" in letters["a.seg.dcm"].reason


@pytest.mark.parametrize(
    ("statuses", "state"),
    [([0x0000], "waiting"), ([0xA700], "sent"), ([0xC001], "sent")],
    ids=["has nothing", "out of resources", "fails"],
)
def test_an_archive_that_is_asked(tmp_path, statuses, state):
    """Success, and no match: not stored. A question that fails says nothing of what was stored."""
    results(tmp_path / "out")

    def find(event):
        for status in statuses:
            yield status, None

    with archive(lambda event: 0x0000, find) as target:
        letters = push_folder(tmp_path / "out", [target], ACCESS, wait=0.0)
    assert {letter.state for letter in letters} == {state}


def test_answers_that_are_none(tmp_path):
    item = object_of(results(tmp_path / "out")[0])
    with http_server(said(200, b"<html>")) as url, pytest.raises(Unavailable, match="JSON"):
        Orthanc(url, ACCESS).last_change()
    with http_server(said(404)) as url:
        with pytest.raises(Unavailable, match="is the URL right"):
            Orthanc(url, ACCESS).changes(0)
        assert Orthanc(url, ACCESS).is_stable("x") is None
        assert Orthanc(url, ACCESS).instances("x") == []
        assert Orthanc(url, ACCESS).file("x") is None
        assert Orthanc(url, ACCESS).study_of({"ResourceType": "Patient", "ID": "x"}) is None
        assert DicomWeb(url, ACCESS).holds(item) is False
    with http_server(said(500)) as url:
        with pytest.raises(Unavailable, match="500"):
            Orthanc(url, ACCESS).is_stable("x")
        with pytest.raises(Unavailable, match="500"):
            Orthanc(url, ACCESS).holds(item)
        with pytest.raises(Unavailable, match="500"):
            DicomWeb(url, ACCESS).holds(item)
    with http_server(said(400)) as url:
        assert DicomWeb(url, ACCESS).holds(item) is None
    with http_server(said(200, b"<xml>")) as url:
        assert DicomWeb(url, ACCESS).holds(item) is None
    with http_server(said(302, Location="http://127.0.0.1:1/")) as url, pytest.raises(HttpFault, match="302"):
        HttpServer(url, ACCESS).ask("/")
    with http_server(said(200, b"x", **{"Content-Length": 5})) as url, pytest.raises(Unavailable, match="broke"):
        HttpServer(url, ACCESS).ask("/")


def test_https_needs_a_certificate_that_is_trusted(tmp_path):
    import ssl

    from support.certificates import certificates

    own, other = certificates(tmp_path / "own"), certificates(tmp_path / "other")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(own.certificate, own.key)

    class Handler(BaseHTTPRequestHandler):
        do_GET = said(200, b"{}")

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.handle_error = lambda *_: None
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"https://127.0.0.1:{server.server_address[1]}"
    assert HttpServer(url, Access(ca_file=own.authority)).json("/") == {}
    with pytest.raises(Unavailable, match="cannot be reached"):
        HttpServer(url, Access(ca_file=other.authority)).json("/")
    server.shutdown()
    server.server_close()


def test_without_the_library(tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "pynetdicom", None)
    with pytest.raises(ConfigError, match=r"pip install 'itk_infer\[pacs\]'"):
        load_pynetdicom()


def test_files_that_are_no_objects(tmp_path):
    (tmp_path / "a.dcm").write_bytes(bytes(128) + b"DICM" + bytes(20))
    (tmp_path / "b.dcm").write_text("text")
    assert object_of(tmp_path / "a.dcm") is object_of(tmp_path / "b.dcm") is object_of(tmp_path / "none") is None
    assert results_in(tmp_path) == []
    (tmp_path / "itk_infer.db").write_text("no ledger")
    with pytest.raises(ConfigError, match="ledger"):
        results_in(tmp_path)


def test_a_disk_that_cannot_be_written_while_a_study_is_fetched(tmp_path, monkeypatch):
    """The study waits again, and is computed when the disk works."""
    home = spooled(tmp_path / "home", tmp_path / "in")

    def broken(self, unwanted):
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(study_run.StudyRun, "fetch", broken)
        running = run_once(home, listen="NODE@127.0.0.1:0")
        assert running.code == 3
        assert running.said[-1] == "the home: cannot be written (Input/output error); tried again"
    assert run_once(home, listen="NODE@127.0.0.1:0").code == 0


def test_a_file_system_without_links(tmp_path, monkeypatch):
    home = spooled(tmp_path / "home", tmp_path / "in")

    def no_links(source, target):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("itk_infer.service.pacs.spool.os.link", no_links)
    running = run_once(home, listen="NODE@127.0.0.1:0")
    assert running.queue is not None
    assert running.said[-1].split(": ")[1].startswith("done in")


def test_a_received_file_is_named_without_its_uid(tmp_path):
    """In reasons, too; one that is cut short is named."""
    home = spooled(tmp_path / "home", tmp_path / "in")
    damaged = sorted((home / "received").rglob("*.dcm"))[1]
    damaged.write_bytes(damaged.read_bytes()[:-20])
    running = run_once(home, listen="NODE@127.0.0.1:0")
    assert "FAILED" in running.said[-1]
    assert hashlib.sha256(damaged.stem.encode()).hexdigest()[:16] in running.said[-1]
    assert damaged.stem not in "".join(running.said)


@pytest.mark.parametrize("once", [True, False], ids=["once", "in threads"])
def test_a_node_that_is_stopped_while_it_computes(tmp_path, once):
    """Between two windows; the study waits, and is done by the next start."""
    home = spooled(tmp_path / "home", tmp_path / "in")
    with Node(settings(home, listen="NODE@127.0.0.1:0", send=()), lambda words: None) as running:
        executor = running.settings.executors[0]()
        forward = executor._predictor.backend._function

        def stop(windows):
            running.stopping.set()
            return forward(windows)

        executor._predictor.backend._function = stop
        object.__setattr__(running.settings, "executors", (lambda: executor,))
        if once:
            running.work_once()
        else:
            running.start()
            running.studies.grew(running.studies.known())
            for thread in running._threads:
                thread.join(60)
        assert running.problem is None
        assert running.queue.counts()["waiting"] == 1
    with node(home, listen="NODE@127.0.0.1:0", send=()) as running:
        from itk_infer.testing.faulty import wait_until

        wait_until(lambda: running.queue.counts()["done"] == 1)


def test_jobs_that_were_running_too_often_fail_and_folders_without_a_job_go(tmp_path, monkeypatch):
    """At a start after a kill."""
    monkeypatch.setattr("itk_infer.service.jobs.MOST_STARTS", 1)
    home = spooled(tmp_path / "home", tmp_path / "in")
    with Node(settings(home, listen="NODE@127.0.0.1:0"), lambda words: None) as running:
        running.look()
        running.queue.take()
        (home / "jobs" / "0123456789abcdef").mkdir()
    running = run_once(home, listen="NODE@127.0.0.1:0")
    assert "FAILED, the server ended 1 times" in running.said[0]
    assert not (home / "jobs" / "0123456789abcdef").exists()


def test_an_error_in_a_thread_ends_the_node_with_its_name(tmp_path, monkeypatch):
    def broken(self):
        raise ValueError("something of a patient")

    monkeypatch.setattr(Node, "look", broken)
    words = []
    with Node(settings(tmp_path / "home", listen="NODE@127.0.0.1:0"), words.append) as running:
        running.start()
        assert running.stopping.wait(60)
    assert isinstance(running.problem, ValueError)
    assert words == ["a thread of the node ended: ValueError"]
