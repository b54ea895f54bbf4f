"""Who gets an answer from the viewer, and what it records."""

from __future__ import annotations

import http.client
import json
from contextlib import closing
from urllib.parse import urlsplit

import pytest
from support.folders import Folder
from support.viewing import serving

from itk_infer.cli.main import main
from itk_infer.errors import ConfigError
from itk_infer.run.decisions import mask_digests, valid_reviews
from itk_infer.run.ledger import Ledger
from itk_infer.run.lock import FolderLock
from itk_infer.viewer.server import ViewerServer
from itk_infer.viewer.session import Session


@pytest.fixture
def folder(tmp_path):
    made = Folder(tmp_path)
    made.scan("a.mha", 0)
    made.scan("b.nii.gz", 1)
    made.run()
    return made


@pytest.fixture
def server(folder):
    with serving(folder.output) as running:
        yield running


def ask(server, path, method="GET", body=None, **headers):
    """Status, headers and body of an answer; `path` is behind the token unless it begins with a slash."""
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=60)
    with closing(connection):
        target = path if path.startswith("/") else f"/{server.token}/{path}"
        connection.request(
            method, target, body, {name.replace("_", "-"): value for name, value in headers.items()}
        )
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read()


def cases(server):
    return {case["case"]: case for case in json.loads(ask(server, "cases")[2])["cases"]}


def decide(server, case, verdict="accept", sha256=None, **headers):
    words = {"sha256": sha256 or case["sha256"], "verdict": verdict, "who": "kim", "note": "fine"}
    headers = {"Origin": f"http://127.0.0.1:{server.server_port}", "Content_Type": "application/json"} | headers
    return ask(server, f"review/{case['id']}", "POST", json.dumps(words), **headers)


def decisions(folder):
    with closing(Ledger(folder.output, read_only=True)) as ledger:
        found = valid_reviews(ledger, mask_digests(folder.output, ledger.outputs()))
    return {path: (review.case, review.verdict, review.who, review.note) for path, review in found.items()}


@pytest.mark.parametrize("path", ["/", "/cases", "/wrong/", "/wrong/cases", "//", "/%ff/cases"])
def test_without_the_token_there_is_nothing(server, path):
    status, _, body = ask(server, path)
    assert status == 403
    assert b"Open the address that itk_infer view has printed" in body


def test_another_host_name_is_refused(server):
    assert ask(server, "cases", Host="evil.example")[0] == 403
    assert ask(server, "cases", Host=f"localhost:{server.server_port}")[0] == 200
    assert urlsplit(server.address).hostname == "127.0.0.1"


def test_every_answer_is_closed_to_other_pages(server):
    for path in ("", "cases", "/", "nothing", "viewer.js"):
        headers = ask(server, path)[1]
        policy = headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "http" not in policy
        assert headers["Referrer-Policy"] == "no-referrer"
        assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert "Access-Control-Allow-Origin" not in headers


@pytest.mark.parametrize(
    "path",
    ["nothing", "../session.py", "%2e%2e%2fsession.py", "THIRD_PARTY.md", "volume/x", "case/x/y", "target/x"],
)
def test_other_files_are_not_served(server, path):
    assert ask(server, path)[0] == 404


def test_of_an_unknown_case_nothing_is_read(server):
    for path in ("case/x", "volume/..%2f..%2fitk_infer.db/labels.nii", "target/x/1"):
        status, _, body = ask(server, path)
        assert (status, body) == (409, b"there is no such case; load the page again")


def test_volumes_and_places(server, folder):
    case = cases(server)["a.mha"]
    assert ask(server, f"volume/{case['id']}/image.nii")[2][344:347] == b"n+1"
    assert ask(server, f"volume/{case['id']}/labels.nii")[2][344:347] == b"n+1"
    status, _, body = ask(server, f"volume/{case['id']}/uncertainty.nii")
    assert (status, body) == (409, b"a.mha: there is no uncertainty of this case")
    about = json.loads(ask(server, f"case/{case['id']}")[2])
    assert (about["image"], about["notes"]) == (True, [])
    assert about["target"] == json.loads(ask(server, f"target/{case['id']}/1")[2])
    assert json.loads(ask(server, f"target/{case['id']}/9")[2]) is None
    (folder.source / "a.mha").rename(folder.source / "moved.mha")
    about = json.loads(ask(server, f"case/{case['id']}")[2])
    assert about["notes"] == ["The image is no longer where it was; only the mask is shown."]
    assert ask(server, f"volume/{case['id']}/image.nii")[0] == 409


def test_a_damaged_image_is_named(server, folder):
    case = cases(server)["b.nii.gz"]
    path = folder.source / "b.nii.gz"
    path.write_bytes(path.read_bytes()[:-30])
    status, _, body = ask(server, f"volume/{case['id']}/image.nii")
    assert status == 409
    assert b"b.nii.gz" in body


def test_a_verdict_goes_to_the_ledger(server, folder):
    case = cases(server)["a.mha"]
    status, _, body = decide(server, case)
    assert status == 200
    assert json.loads(body)["verdict"] == "accept"
    assert decisions(folder) == {"a.mha": ("a.mha", "accept", "kim", "fine")}
    assert cases(server)["a.mha"]["verdict"] == "accept"
    assert decide(server, case, "")[0] == 200
    assert decisions(folder) == {}


def test_a_mask_that_changed_is_not_judged(server, folder):
    case = cases(server)["a.mha"]
    mask = folder.output / "a.mha"
    mask.write_bytes(mask.read_bytes()[:-1] + b"\x01")
    status, _, body = decide(server, case)
    assert (status, body) == (409, b"a.mha: the mask changed after it was shown; load the page again")
    assert decide(server, cases(server)["a.mha"])[0] == 200  # of the mask as it is now
    assert list(decisions(folder)) == ["a.mha"]


def test_beside_a_run_nothing_is_written(server, folder):
    case = cases(server)["a.mha"]
    with FolderLock(folder.output):
        status, _, body = decide(server, case)
    assert status == 409
    assert b"another run is writing there" in body
    assert decisions(folder) == {}


@pytest.mark.parametrize(
    "headers",
    [{"Origin": "http://evil.example"}, {"Content_Type": "text/plain"}, {"Content_Length": "0"}],
    ids=["another page", "a form", "empty"],
)
def test_decisions_of_other_pages_are_refused(server, folder, headers):
    assert decide(server, cases(server)["a.mha"], **headers)[0] == 409
    assert decisions(folder) == {}


@pytest.mark.parametrize("body", ["no json", "[]", '{"sha256": 1}'])
def test_decisions_that_make_no_sense_are_refused(server, folder, body):
    case = cases(server)["a.mha"]
    origin = f"http://127.0.0.1:{server.server_port}"
    path = f"review/{case['id']}"
    assert ask(server, path, "POST", body, Origin=origin, Content_Type="application/json")[0] == 409
    assert decide(server, case, "perhaps")[0] == 409
    assert ask(server, "cases", "POST", "{}")[0] == 404
    assert decisions(folder) == {}


def test_a_folder_without_a_ledger_is_refused(tmp_path, capfd):
    assert main(["view", str(tmp_path), "--no-browser"]) == 2
    assert "holds no itk_infer.db; give the output folder of a run" in capfd.readouterr().err


def test_a_port_in_use_is_named(server, folder, capfd):
    with pytest.raises(ConfigError, match=f"port {server.server_port}: cannot be opened"):
        ViewerServer(Session(folder.output), server.server_port)


def test_the_command_serves_until_it_is_interrupted(folder, capfd, monkeypatch):
    opened = []
    monkeypatch.setattr("webbrowser.open", opened.append)

    def interrupted(server):
        raise KeyboardInterrupt

    monkeypatch.setattr(ViewerServer, "serve_forever", interrupted)
    assert main(["view", str(folder.output)]) == 0
    assert opened == [capfd.readouterr().out.strip()]
    assert main(["view", str(folder.output), "--no-browser"]) == 0
    assert len(opened) == 1
