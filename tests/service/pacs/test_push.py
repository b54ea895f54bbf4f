"""The results of a folder, to a real Orthanc and to servers that fail."""

from __future__ import annotations

from contextlib import closing
from types import SimpleNamespace

import pytest
from support.orthanc import Orthanc
from support.ports import free_port
from support.relay import Relay
from support.results import result, results

from itk_infer.cli.main import main
from itk_infer.errors import ConfigError, NoInputError
from itk_infer.service.pacs import outbox as outbox_module
from itk_infer.service.pacs.access import Access
from itk_infer.service.pacs.delivery import Unavailable
from itk_infer.service.pacs.objects import results_in
from itk_infer.service.pacs.outbox import Outbox
from itk_infer.service.pacs.push import push_folder
from itk_infer.service.pacs.sender import send_due

ACCESS = Access(timeout=20.0)


def push(folder, *targets, wait=0.0, access=ACCESS, **given):
    return push_folder(folder, targets, access, wait=wait, **given)


def states(letters):
    return sorted(letter.state for letter in letters)


def kinds(server):
    return (f"orthanc={server.url}", f"stow={server.url}/dicom-web", f"dicom={server.dicom}")


@pytest.mark.parametrize("kind", [0, 1, 2], ids=["orthanc", "stow", "dicom"])
def test_to_each_kind_of_server(orthanc, tmp_path, kind):
    """Sent and verified once; another push of the same sends nothing."""
    results(tmp_path / "out", f"kind {kind}")
    before = len(orthanc.arrivals())
    letters = push(tmp_path / "out", kinds(orthanc)[kind])
    assert states(letters) == ["sent", "sent"]
    assert all(letter.verified for letter in letters)
    assert {letter.uid for letter in letters} <= set(orthanc.instances())
    ended = [letter.ended for letter in letters]
    assert [letter.ended for letter in push(tmp_path / "out")] == ended
    assert len(orthanc.arrivals()) == before + 2


@pytest.mark.parametrize("tries", [0, 1])
def test_an_archive_that_may_not_be_asked(tmp_path, tries):
    """Orthanc ends the association of a caller that is not in its list when it asks; it may store."""
    folder = tmp_path / "out"
    results(folder, "unasked")
    with Orthanc(tmp_path / "orthanc", DicomAlwaysAllowFind=False) as server:
        target = f"dicom={server.dicom}"
        with closing(Outbox(folder)) as outbox:
            outbox.put(results_in(folder), [target])
            for letter in outbox.letters() * tries:
                outbox.begin(letter)
        letters = push(folder, target)
        assert states(letters) == ["sent", "sent"]
        assert all("cannot be asked" in letter.reason and not letter.verified for letter in letters)
        assert len(server.arrivals()) == len(server.instances()) == 2


def test_what_is_there_already_is_no_failure(orthanc, tmp_path):
    results(tmp_path / "out", "twice")
    assert states(push(tmp_path / "out", *kinds(orthanc))) == ["sent"] * 6


def test_only_results_are_sent(orthanc, tmp_path):
    """Not the images, nor what belongs to a case that is not finished, nor other people's objects."""
    from itk_infer.files.records import OutputFile
    from itk_infer.files.stamp import sha256_of, stamp_of
    from itk_infer.run.ledger import Ledger

    out = tmp_path / "out"
    paths = {name: result(out / f"{name}.seg.dcm", name, study="only") for name in ("done", "failed", "unknown")}
    result(out / "foreign.dcm", "foreign", study="only", Manufacturer="ACME", ManufacturerModelName="X")
    (out / "damaged.dcm").write_bytes(bytes(128) + b"DICM" + b"\x08\0\x05\0CS\xff\xff")
    with closing(Ledger(out)) as ledger:
        for name in ("done", "failed"):
            ledger.start(name, "run")
            path = paths[name]
            output = OutputFile(path.name, name, "dicom_seg", {}, sha256_of(path), stamp_of(path))
            ledger.finish(name, [], {"findings": []}, [output])
        ledger.settle("failed", "run", "failed", "it was tried again, and failed")
    letters = push(out, kinds(orthanc)[0])
    assert sorted(letter.path for letter in letters) == ["done.seg.dcm", "unknown.seg.dcm"]


def test_a_server_that_is_down_and_comes_back(tmp_path):
    server = Orthanc(tmp_path / "orthanc")
    results(tmp_path / "out")
    said = []
    target = f"orthanc={server.url}"
    first = push(tmp_path / "out", target, tell=said.append)
    assert states(first) == ["waiting", "waiting"]
    assert "cannot be reached" in said[0]
    with server:
        letters = push(tmp_path / "out", wait=30.0)
        assert states(letters) == ["sent", "sent"]
        assert len(server.arrivals()) == 2


def test_tries_again_while_it_waits(tmp_path, monkeypatch):
    """Temporary failures are tried again after a pause; here the server recovers at the second attempt."""
    monkeypatch.setattr(outbox_module, "MOST_PAUSE_S", 0.0)
    results(tmp_path / "out")
    with Orthanc(tmp_path / "orthanc") as server, Relay(server.port) as relay:
        relay.refuse = 503

        def recover(sentence):
            relay.refuse = 0

        letters = push(tmp_path / "out", f"orthanc={relay.url}", wait=60.0, tell=recover)
        assert states(letters) == ["sent", "sent"]
        assert max(letter.tries for letter in letters) == 2


@pytest.mark.parametrize(
    ("status", "state"),
    [(400, "rejected"), (413, "rejected"), (401, "waiting"), (429, "waiting"), (507, "waiting")],
)
@pytest.mark.parametrize("kind", ["orthanc", "stow"])
def test_permanent_and_temporary_failures(orthanc, tmp_path, kind, status, state):
    results(tmp_path / "out", f"{kind} {status}")
    with Relay(orthanc.port) as relay:
        relay.refuse = status
        target = f"{kind}={relay.url}{'/dicom-web' if kind == 'stow' else ''}"
        letters = push(tmp_path / "out", target)
        assert states(letters) == [state, state]
        assert all(str(status) in letter.reason for letter in letters)
        relay.refuse = 0
        assert states(push(tmp_path / "out")) == ["sent", "sent"]  # dead letters are tried again on request


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("cannot be reached (refused)", "the server cannot be reached (refused)"),
        ("HTTP 401: the server refuses the account", "HTTP 401: the server refuses the account"),
    ],
)
def test_why_a_server_does_not_answer_is_one_sentence(tmp_path, fault, reason):
    class Silent:
        name = "stow=http://h"

        def connect(self, objects):
            raise Unavailable(fault)

    results(tmp_path / "out")
    with closing(Outbox(tmp_path / "out", 60.0)) as outbox:
        outbox.put(results_in(tmp_path / "out"), (Silent.name,))
        send_due(outbox, Silent(), lambda: None)
        assert {letter.reason for letter in outbox.letters()} == {reason}


def test_what_cannot_be_sent_for_too_long_is_a_dead_letter(tmp_path):
    results(tmp_path / "out")
    target = f"orthanc=http://127.0.0.1:{free_port()}"
    letters = push(tmp_path / "out", target, patience=-1.0)
    assert states(letters) == ["dead", "dead"]
    assert "given up" in letters[0].reason
    assert all((tmp_path / "out" / letter.path).exists() for letter in letters)


def test_a_server_that_answers_success_and_stores_nothing(orthanc, tmp_path):
    results(tmp_path / "out", "liar")
    with Relay(orthanc.port) as relay:
        relay.refuse = 200
        letters = push(tmp_path / "out", f"orthanc={relay.url}")
    assert states(letters) == ["waiting", "waiting"]
    assert "does not have it" in letters[0].reason


def test_a_file_that_was_replaced_or_removed(orthanc, tmp_path):
    out = tmp_path / "out"
    seg, sr = results(out, "replaced")
    push(out, f"orthanc=http://127.0.0.1:{free_port()}")
    result(seg, "newer", study="replaced")
    sr.unlink()
    letters = push(out)
    assert states(letters) == ["rejected", "rejected"]
    assert {letter.reason for letter in letters} == {"its file is gone", "its file holds a newer result"}


def test_a_class_that_the_server_does_not_take(orthanc, tmp_path):
    """A context that is refused is permanent."""
    pytest.importorskip("pynetdicom")
    result(tmp_path / "out" / "odd.dcm", "odd", sop_class="1.2.840.10008.5.1.4.1.1.66.7.9", study="odd")
    letters = push(tmp_path / "out", kinds(orthanc)[2])
    assert states(letters) == ["rejected"]
    assert "takes no objects of the class" in letters[0].reason


def test_nothing_to_send(tmp_path):
    (tmp_path / "out").mkdir()
    with pytest.raises(NoInputError, match="holds no DICOM objects"):
        push(tmp_path / "out", "orthanc=http://127.0.0.1:1")
    with pytest.raises(ConfigError, match="no such folder"):
        push(tmp_path / "none", "orthanc=http://127.0.0.1:1")
    with pytest.raises(ConfigError, match="say where to"):
        push(tmp_path / "none")


def test_the_pause_doubles_up_to_ten_minutes(tmp_path, monkeypatch):
    from itk_infer.service.pacs.delivery import Delivery
    from itk_infer.service.pacs.objects import results_in

    out = tmp_path / "out"
    results(out)
    monkeypatch.setattr(outbox_module.random, "uniform", lambda low, high: 1.0)
    monkeypatch.setattr(outbox_module, "time", SimpleNamespace(time=lambda: 1000.0))  # it stands still
    with closing(Outbox(out)) as outbox:
        assert outbox.put(results_in(out)[:1], ["x"]) == 1
        assert outbox.put(results_in(out)[:1], ["x"]) == 0
        pauses = []
        for _ in range(12):
            letter = outbox.letters()[0]
            outbox.begin(letter)
            outbox.settle(letter, Delivery("waiting", "no"))
            pauses.append(outbox.letters()[0].due - 1000.0)
        assert pauses == [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 600, 600]
        assert outbox.due("x") == []


def test_the_command_and_its_exit_codes(orthanc, tmp_path, capsys, monkeypatch):
    out, target = tmp_path / "out", kinds(orthanc)[0]
    results(out, "command")
    down = f"orthanc=http://127.0.0.1:{free_port()}"
    assert main(("push", str(out), "--to", down, "--wait", "0")) == 4
    assert main(("push", str(out), "--to", target, "--to", down, "--wait", "0")) == 3
    assert "itk_infer push" in capsys.readouterr().err
    assert main(("push", str(out), "--to", target)) == 0
    assert main(("push", str(tmp_path / "none"), "--to", target)) == 2
    (tmp_path / "empty").mkdir()
    assert main(("push", str(tmp_path / "empty"), "--to", target)) == 6
    assert main(("push", str(out), "--to", target, "--aet", "x" * 17)) == 2


def test_passwords_come_from_a_file_or_the_environment_and_are_never_shown(orthanc, tmp_path, capsys, monkeypatch):
    out, accounts = tmp_path / "out", tmp_path / "accounts"
    results(out, "password")
    accounts.write_text("machine 127.0.0.1 login node password geheim-88\n")
    with Relay(orthanc.port) as relay:
        assert main(("push", str(out), "--to", f"orthanc={relay.url}", "--password-file", str(accounts))) == 0
        assert set(relay.seen) == {"Basic bm9kZTpnZWhlaW0tODg="}
        monkeypatch.setenv("ITK_INFER_USER", "a")
        monkeypatch.setenv("ITK_INFER_PASSWORD", "geheim-99")
        relay.seen.clear()
        assert main(("push", str(out), "--to", f"stow={relay.url}/dicom-web")) == 0
        assert set(relay.seen) == {"Basic YTpnZWhlaW0tOTk="}
        relay.refuse = 401
        results(out, "password 2")
        assert main(("push", str(out), "--to", f"orthanc={relay.url}", "--wait", "0")) == 3
    assert main(("push", str(out), "--to", "orthanc=http://node:geheim-77@127.0.0.1:1")) == 2
    accounts.write_text("machine 127.0.0.1 login node passwort geheim-88\n")
    assert main(("push", str(out), "--to", "orthanc=http://127.0.0.1:1", "--password-file", str(accounts))) == 2
    shown = capsys.readouterr()
    assert "geheim" not in shown.out + shown.err
    assert not any(b"geheim" in path.read_bytes() for path in out.rglob("*") if path.is_file())
