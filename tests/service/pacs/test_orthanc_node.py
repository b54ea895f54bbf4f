"""A node beside a real Orthanc: every fault loses nothing, and sends nothing twice."""

from __future__ import annotations

import json
from contextlib import closing

import pytest
from support.dicom_files import save_series, voxels
from support.nodes import NodeProcess, node, run_once
from support.orthanc import Orthanc, storescu
from support.relay import Relay

from itk_infer.service.pacs.studies import Studies
from itk_infer.testing.faulty import wait_until


def study(folder, name, slices=3):
    """A study of its own for each test: its Orthanc is that of the module."""
    return save_series(folder / name, voxels((slices, 6, 7), seed=len(name)), study=name, PatientID=name)


def to(server):
    return (f"orthanc={server.url}",)


def has_looked(running):
    """At what is there before the test."""
    wait_until(lambda: bool(running.studies.fact("looked")))


def settled(running):
    """Whether there is nothing left to do."""
    counts = running.queue.counts()
    letters = running.outbox.letters("waiting")
    return bool(counts["done"]) and not (
        counts["waiting"] or counts["running"] or letters or running.studies.unsettled()
    )


def test_from_the_scanner_to_the_archive(orthanc, tmp_path):
    """Study in by storescu; result out by REST, STOW and C-STORE, once each; our own result starts nothing."""
    files = study(tmp_path, "whole way")
    before = len(orthanc.instances("SEG"))
    with (
        Orthanc(tmp_path / "stow") as stow,
        Orthanc(tmp_path / "store") as store,
        node(
            tmp_path / "home",
            orthanc=orthanc.url,
            send=(*to(orthanc), f"stow={stow.url}/dicom-web", f"dicom={store.dicom}"),
            only_new=True,
        ) as running,
    ):
        has_looked(running)
        assert storescu(orthanc.dicom, *files).returncode == 0
        wait_until(lambda: settled(running) and len(orthanc.instances("SEG")) > before)
        jobs = running.queue.counts()["done"]
        looks = running.studies.fact("looked")
        # Its own result is a change, and makes the study grow: it is looked at, and not computed again.
        wait_until(lambda: running.studies.fact("change") == str(orthanc.get("/changes?last")["Last"]))
        wait_until(lambda: running.studies.fact("looked") != looks and settled(running))
        assert running.queue.counts()["done"] == jobs == 1
        assert len(stow.instances()) == len(stow.arrivals()) == 1
        assert store.instances() == stow.instances()
        assert set(stow.instances()) <= set(orthanc.instances("SEG"))
        assert {letter.state for letter in running.outbox.letters()} == {"sent"}
        assert all(letter.verified for letter in running.outbox.letters())
    assert len(orthanc.instances("SEG")) == before + 1


def test_orthanc_is_killed_before_the_study_is_stable(tmp_path):
    """No event of a stable study ever comes then; it is computed all the same, once."""
    server = Orthanc(tmp_path / "orthanc", stable_age=600)
    with server, node(tmp_path / "home", orthanc=server.url, send=to(server)) as running:
        server.upload(*study(tmp_path, "unstable"))
        wait_until(lambda: bool(running.studies.unsettled()))
        server.kill()
        wait_until(lambda: bool(running.studies.fact("source_problem")))
        server.start()
        wait_until(lambda: {letter.state for letter in running.outbox.letters()} == {"sent"})
        assert len(server.instances("SEG")) == running.queue.counts()["done"] == 1
        stable = [c for c in server.get("/changes")["Changes"] if c["ChangeType"] == "StableStudy"]
        assert not stable


def test_the_archive_is_down_when_results_are_sent(orthanc, tmp_path):
    archive = Orthanc(tmp_path / "archive")
    home = tmp_path / "home"
    with node(home, orthanc=orthanc.url, send=to(archive), only_new=True) as running:
        has_looked(running)
        orthanc.upload(*study(tmp_path, "archive down"))
        wait_until(lambda: any(letter.tries > 1 for letter in running.outbox.letters("waiting")))
        assert running.queue.counts()["failed"] == 0
        letters = running.outbox.letters()
        with archive:
            running.outbox.retry()
            wait_until(lambda: {letter.state for letter in running.outbox.letters()} == {"sent"})
            assert sorted(letter.uid for letter in letters) == archive.instances()
            assert len(archive.arrivals()) == len(letters)


def test_a_late_slice(orthanc, tmp_path):
    """The study is computed anew; the first results stay, and are superseded."""
    files = study(tmp_path, "late", slices=4)
    with node(tmp_path / "home", orthanc=orthanc.url, send=to(orthanc), only_new=True) as running:
        has_looked(running)
        before = set(orthanc.instances("SEG"))
        orthanc.upload(*files[:3])
        wait_until(lambda: len(orthanc.instances("SEG")) == len(before) + 1)
        orthanc.upload(files[3])
        wait_until(lambda: len(orthanc.instances("SEG")) == len(before) + 2 and settled(running))
        assert running.queue.counts()["done"] == 2
        assert any("superseded (1)" in words for words in running.said)


@pytest.mark.parametrize("when", ["computing", "pushing"])
def test_the_node_is_killed(tmp_path, when):
    """With SIGKILL, in the middle of a case, or after an object was stored and before its answer came."""
    home = tmp_path / "home"
    with Orthanc(tmp_path / "orthanc") as server, Relay(server.port) as relay:
        server.upload(*study(tmp_path, when))
        gate = tmp_path / "gate"
        if when == "computing":
            gate.touch()
        else:
            relay.silent.set()
        program = NodeProcess(home, orthanc=server.url, send=[f"orthanc={relay.url}"], gated=True)
        try:
            wait_until(gate.with_suffix(".reached").exists if when == "computing" else relay.held.is_set)
        finally:
            program.kill()
        gate.unlink(missing_ok=True)
        relay.silent.clear()
        with node(home, orthanc=server.url, send=(f"orthanc={relay.url}",)) as running:
            wait_until(lambda: settled(running))
            assert running.queue.counts()["done"] == 1
            assert [letter.state for letter in running.outbox.letters()] == ["sent"]
        assert len(server.instances("SEG")) == 1
        assert relay.posts["/instances"] == 1


def test_what_is_there_at_the_first_start_can_be_passed_over(tmp_path):
    with Orthanc(tmp_path / "orthanc") as server:
        server.upload(*study(tmp_path, "old"))
        wait_until(lambda: server.get("/studies?expand")[0]["IsStable"])
        running = run_once(tmp_path / "home", orthanc=server.url, only_new=True)
        assert (running.said, running.code) == ([], 0)
        running = run_once(tmp_path / "another", orthanc=server.url)
        assert running.said[0].endswith("complete with 3 images")


def test_the_database_of_orthanc_is_another_one(tmp_path):
    """Numbers of changes begin anew: so does the reading of them, and what was done is known by its content."""
    home, files = tmp_path / "home", study(tmp_path, "renewed")
    with Orthanc(tmp_path / "one") as server:
        server.upload(*files)
        wait_until(lambda: server.get("/studies?expand")[0]["IsStable"])
        assert run_once(home, orthanc=server.url).said
    with closing(Studies(home)) as studies:
        studies.note(change="1000")  # so far had it come
    with Orthanc(tmp_path / "two") as server:
        server.upload(*files)
        wait_until(lambda: server.get("/studies?expand")[0]["IsStable"])
        server.upload(*study(tmp_path, "another one"))
        wait_until(lambda: all(found["IsStable"] for found in server.get("/studies?expand")))
        running = run_once(home, orthanc=server.url)
        assert sum("complete" in words for words in running.said) == 1
        assert running.code == 0


def test_a_study_that_is_deleted_before_it_is_fetched_is_lost_and_named(tmp_path):
    home = tmp_path / "home"
    with Orthanc(tmp_path / "orthanc") as server:
        server.upload(*study(tmp_path, "deleted"))
        wait_until(lambda: server.get("/studies?expand")[0]["IsStable"])

        def look(self):
            original(self)
            for found in server.get("/studies"):
                server.ask("DELETE", f"/studies/{found}")

        from itk_infer.service.pacs.node import Node

        original = Node.look
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Node, "look", look)
            running = run_once(home, orthanc=server.url)
        assert running.code == 3
        assert "lost" in running.said[-1]
    (summary,) = (home / "jobs").glob("*/summary.json")
    (case,) = json.loads(summary.read_text("utf-8"))["cases"]
    assert (case["state"], case["reason"][:4], case["pushed"]) == ("failed", "lost", {})


def test_orthanc_asks_for_an_account(tmp_path, monkeypatch):
    server = Orthanc(tmp_path / "orthanc", AuthenticationEnabled=True, RegisteredUsers={"node": "geheim-77"})
    monkeypatch.setattr(server, "_answers", lambda: _is_listening(server.port))
    with server:
        refused = run_once(tmp_path / "home", orthanc=server.url)
        assert refused.code == 3
        assert "account" in refused.said[0]
        monkeypatch.setenv("ITK_INFER_USER", "node")
        monkeypatch.setenv("ITK_INFER_PASSWORD", "geheim-77")
        assert run_once(tmp_path / "home", orthanc=server.url).code == 0
    assert not any(b"geheim-77" in path.read_bytes() for path in (tmp_path / "home").rglob("*") if path.is_file())


def _is_listening(port):
    import socket

    with socket.socket() as link:
        return link.connect_ex(("127.0.0.1", port)) == 0
