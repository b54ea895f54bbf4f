"""Studies that are sent to a node: kept before they are acknowledged, and computed when they are complete."""

from __future__ import annotations

import errno
import gc
import ssl
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest
from support.certificates import certificates
from support.dicom_files import save, save_series, slice_of, uid, voxels
from support.nodes import NodeProcess, QuietTime, full_database, node, run_once
from support.orthanc import Orthanc, program, storescu
from support.ports import free_port
from support.results import results

from itk_infer.errors import ConfigError
from itk_infer.service.pacs import spool as spool_module
from itk_infer.service.pacs.access import Access
from itk_infer.service.pacs.delivery import Unavailable
from itk_infer.service.pacs.dimse import Dimse
from itk_infer.service.pacs.objects import object_of
from itk_infer.testing.faulty import wait_until

pytest.importorskip("pynetdicom", reason="the extra `pacs` is not installed")
# pynetdicom leaves the sockets of connections that fail to the garbage collector.
pytestmark = [
    pytest.mark.filterwarnings("ignore:unclosed <:ResourceWarning"),
    pytest.mark.filterwarnings("ignore:Exception ignored in. <s:pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(autouse=True)
def _collected():
    """Such sockets are collected here, and not during another test."""
    yield
    gc.collect()


@pytest.fixture
def quiet_time(monkeypatch):
    return QuietTime(monkeypatch)


def listening(home, **given):
    """A node for which no study is complete by itself while a test runs; see `QuietTime`."""
    return node(home, listen="NODE@127.0.0.1:0", **{"quiet": 600.0, "send": (), **given})


def address(running):
    return f"NODE@127.0.0.1:{running.receiver.port}"


def received(home):
    return sorted(path.name for path in (home / "received").rglob("*.dcm"))


def send(running, files, **access):
    """Send with our own sender; the deliveries."""
    items = [object_of(path) for path in files]
    tls = "ca_file" in access
    with Dimse(address(running), Access(timeout=20.0, **access), tls=tls).connect(items) as link:
        return [link.send(item) for item in items]


def test_seven_associations_at_a_time(tmp_path, quiet_time):
    """126 images; nothing is lost, and each study is computed once, with all of its slices."""
    studies = [save_series(tmp_path / str(k), voxels((18, 5, 6), seed=k), study=f"parallel {k}") for k in range(7)]
    with listening(tmp_path / "home", places=2) as running, ThreadPoolExecutor(7) as pool:
        sent = list(pool.map(lambda files: storescu(address(running), *files).returncode, studies))
        assert sent == [0] * 7
        with quiet_time.over():
            wait_until(lambda: running.queue.counts()["done"] == 7)
        assert running.receiver.received == 126
    assert len(received(tmp_path / "home")) == 126
    assert sum(words.endswith("complete with 18 images") for words in running.said) == 7


def test_late_slices_and_what_is_sent_again(tmp_path, quiet_time):
    files = save_series(tmp_path / "in", voxels((4, 5, 6)), study="late")
    with listening(tmp_path / "home") as running:
        send(running, files[:3])
        with quiet_time.over():
            wait_until(lambda: running.queue.counts()["done"] == 1)
        send(running, files[:3])  # the same once more: nothing new
        send(running, files[3:])
        with quiet_time.over():
            wait_until(lambda: running.queue.counts()["done"] == 2)
            wait_until(lambda: not running.studies.unsettled())
        assert running.queue.counts() == {"waiting": 0, "running": 0, "done": 2, "failed": 0, "cancelled": 0}


def test_an_image_that_is_sent_again_may_be_followed_by_others(tmp_path, quiet_time):
    """A sender that was cut off begins anew: the study is not complete while it sends what is known."""
    files = save_series(tmp_path / "in", voxels((3, 5, 6)), study="again")
    with listening(tmp_path / "home") as running:
        send(running, files[:2])
        (before,) = running.studies.unsettled()
        send(running, files[:1])
        (after,) = running.studies.unsettled()
        assert after.changed > before.changed
        with quiet_time.over():
            wait_until(lambda: running.queue.counts()["done"] == 1)
        send(running, files[:1])
        assert not running.studies.unsettled()


def test_own_results_that_come_back_start_nothing(tmp_path, quiet_time):
    files = save_series(tmp_path / "in", voxels((3, 5, 6)), study="back")
    with listening(tmp_path / "home") as running:
        send(running, files)
        with quiet_time.over():
            wait_until(lambda: running.queue.counts()["done"] == 1)
        assert [delivery.state for delivery in send(running, results(tmp_path / "results", "back"))] == [
            "sent"
        ] * 2
        with quiet_time.over():
            wait_until(lambda: not running.studies.unsettled())
        assert sum(running.queue.counts().values()) == 1


def test_the_node_is_killed_while_it_receives(tmp_path, quiet_time):
    """What was acknowledged is there; the sender sends the rest, and the study is computed once, whole."""
    home, port = tmp_path / "home", free_port()
    files = save_series(tmp_path / "in", voxels((40, 5, 6)), study="killed")
    words = {"listen": f"NODE@127.0.0.1:{port}", "send": [], "quiet": 600.0}
    running = NodeProcess(home, **words)
    try:
        wait_until((tmp_path / "ready").exists)
        call = [program("storescu"), "-v", "-aec", "NODE", "127.0.0.1", str(port), *map(str, files)]
        sender = subprocess.Popen(call, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        acknowledged = 0
        for line in sender.stdout:
            acknowledged += "Success" in line
            if acknowledged == 10:
                break
    finally:
        running.kill()
    acknowledged += sender.stdout.read().count("Success")
    sender.stdout.close()
    assert sender.wait(60) != 0
    kept = received(home)
    assert acknowledged <= len(kept) < 40
    assert not [path for path in (home / "received").rglob("*") if path.is_file() and path.stat().st_size < 200]
    with listening(home) as again:
        assert storescu(address(again), *files).returncode == 0
        with quiet_time.over():
            wait_until(lambda: again.queue.counts()["done"] == 1)
    assert len(received(home)) == 40
    assert again.said[-2].endswith("complete with 40 images")


def test_an_instance_that_was_written_and_not_noted_is_found_at_the_next_start(tmp_path, monkeypatch):
    """Killed between the two: there is a file, and no row."""
    files = save_series(tmp_path / "in", voxels((3, 5, 6)), study="unnoted")
    with listening(tmp_path / "home") as running:
        monkeypatch.setattr(running.studies, "grew", lambda studies: None)
        send(running, files)
    again = run_once(tmp_path / "home", listen="NODE@127.0.0.1:0")
    assert again.said[0].endswith("complete with 3 images")


@pytest.mark.parametrize("how", ["limit", "write", "sync"])
def test_the_disk_is_full(tmp_path, monkeypatch, quiet_time, how):
    """0xA700: the sender stops and keeps its images. Later they come, and are computed."""
    home, files = tmp_path / "home", save_series(tmp_path / "in", voxels((3, 5, 6)), study="full")

    def full(*paths):
        raise OSError(errno.ENOSPC, "No space left on device")

    with listening(home, min_free=1 << 60 if how == "limit" else 0) as running:
        with monkeypatch.context() as patch:
            if how == "write":
                patch.setattr(spool_module, "write_file", full)
            elif how == "sync":
                patch.setattr("itk_infer.files.commit._sync_file", full)
            assert storescu(address(running), *files).returncode != 0
            delivery = send(running, files[:1])[0]
        assert delivery.state == "waiting"
        assert "0xa700" in delivery.reason
        assert any("disk is" in words for words in running.said)
    assert received(home) == []
    with listening(home) as running:
        assert storescu(address(running), *files).returncode == 0
        with quiet_time.over():
            wait_until(lambda: running.queue.counts()["done"] == 1)


def test_the_disk_is_full_when_an_image_is_noted(tmp_path, monkeypatch, quiet_time):
    """The image is refused, and not taken for known when it is sent again."""
    files = save_series(tmp_path / "in", voxels((3, 5, 6)), study="unnoted")

    def full(studies):
        raise full_database()

    with listening(tmp_path / "home") as running:
        with monkeypatch.context() as patch:
            patch.setattr(running.studies, "grew", full)
            assert "0xa700" in send(running, files)[0].reason
        assert received(tmp_path / "home") == []
        assert storescu(address(running), *files).returncode == 0
        with quiet_time.over():
            wait_until(lambda: running.queue.counts()["done"] == 1)


def test_who_may_send(tmp_path):
    files = save_series(tmp_path / "in", voxels((1, 5, 6)), study="title")
    with listening(tmp_path / "home", allowed=("SCANNER",)) as running:
        assert storescu(address(running), *files, aet="STRANGER").returncode != 0
        assert storescu(address(running).replace("NODE", "ANOTHER"), *files).returncode != 0
        assert storescu(address(running), *files).returncode == 0
        with pytest.raises(Unavailable, match="does not know our AE title"):
            send(running, files, aet="STRANGER")


@pytest.mark.filterwarnings("ignore:Invalid value for VR UI")
def test_what_cannot_be_kept_under_its_name_is_refused(tmp_path):
    """A UID can be a path, or missing; a class that is no storage is not negotiated."""
    from pynetdicom import AE

    with listening(tmp_path / "home") as running:
        entity = AE()
        good = slice_of(0, voxels()[0])
        entity.add_requested_context(good.SOPClassUID, good.file_meta.TransferSyntaxUID)
        entity.add_requested_context("1.2.840.10008.1.1")
        link = entity.associate("127.0.0.1", running.receiver.port, ae_title="NODE")
        assert link.send_c_echo().Status == 0
        good.file_meta.MediaStorageSOPClassUID = good.SOPClassUID
        for attribute, value in (("StudyInstanceUID", None), ("StudyInstanceUID", "../../x")):
            setattr(good, attribute, value) if value else delattr(good, attribute)
            good.SOPInstanceUID = uid(attribute, value)
            good.file_meta.MediaStorageSOPInstanceUID = good.SOPInstanceUID
            # A study's UID becomes a digest, whatever it is; without one it belongs nowhere.
            assert link.send_c_store(good).Status == (0xC000 if value is None else 0)
        link.release()
    assert {path.parent.parent.name for path in (tmp_path / "home" / "received").rglob("*.dcm")} == {"received"}


def test_over_tls(tmp_path):
    """With a certificate that was signed by the authority; without one, or without TLS, nothing is taken."""
    own, other = certificates(tmp_path / "own"), certificates(tmp_path / "other")
    files = save_series(tmp_path / "in", voxels((1, 5, 6)), study="tls")
    server = Access(certificate=own.certificate, key=own.key, ca_file=own.authority, timeout=20.0)
    with listening(tmp_path / "home", access=server) as running:
        mine = {"certificate": own.certificate, "key": own.key, "ca_file": own.authority}
        assert [delivery.state for delivery in send(running, files, **mine)] == ["sent"]
        for wrong in (
            {"ca_file": own.authority},
            {},
            {"certificate": other.certificate, "key": other.key, "ca_file": own.authority},
            {**mine, "ca_file": other.authority},
        ):
            with pytest.raises(Unavailable):
                send(running, files, **wrong)
        assert running.receiver.received == 1
    assert ssl.TLSVersion.TLSv1_2 <= server.server_context().minimum_version


def test_an_address_that_is_taken(tmp_path):
    with listening(tmp_path / "home") as running:
        port = running.receiver.port
        with (
            pytest.raises(ConfigError, match="cannot be listened on"),
            node(tmp_path / "other", listen=f"NODE@127.0.0.1:{port}"),
        ):
            pass


def test_received_studies_are_deleted_when_they_are_old(tmp_path, quiet_time):
    files = save_series(tmp_path / "in", voxels((3, 5, 6)), study="old")
    home = tmp_path / "home"
    with listening(home, keep_s=-1.0) as running:
        send(running, files)
        with quiet_time.over():
            wait_until(lambda: running.queue.counts()["done"] == 1 and not running.studies.unsettled())
        running.sweep()
        assert received(home) == []
        assert list((home / "jobs").iterdir()) == []
        send(running, [save(slice_of(k, voxels()[0], study="old"), tmp_path / f"{k}.dcm") for k in (7, 8)])
        with quiet_time.over():
            wait_until(lambda: running.queue.counts()["done"] == 2)


def test_results_go_on_by_c_store(tmp_path, quiet_time):
    with (
        Orthanc(tmp_path / "archive") as archive,
        listening(tmp_path / "home", send=(f"dicom={archive.dicom}",)) as running,
    ):
        send(running, save_series(tmp_path / "in", voxels((3, 5, 6)), study="on"))
        with quiet_time.over():
            wait_until(lambda: {letter.state for letter in running.outbox.letters()} == {"sent"})
        assert running.outbox.letters()[0].verified
        assert len(archive.instances("SEG")) == 1
