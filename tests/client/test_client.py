"""The client and `itk_infer submit` against real servers."""

from __future__ import annotations

import hashlib
import json
import re
import signal
import socket
import subprocess
import sys
import threading
import zipfile
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

pytest.importorskip("fastapi", reason="the extra `server` is not installed")
pytest.importorskip("httpx", reason="the extra `client` is not installed")

from support import child_environment
from support.servers import scan, serving

from itk_infer import CaseError, Client, ConfigError, InputError, OutputError
from itk_infer.cli.main import main
from itk_infer.client import client as client_module
from itk_infer.client import images as images_module
from itk_infer.testing.faulty import FAULTS, FaultyModel, wait_until

TOKEN = "0123456789abcdef0123456789abcdef"


@pytest.fixture(scope="module")
def scratch(tmp_path_factory):
    return tmp_path_factory.mktemp("scratch")


@pytest.fixture(scope="module")
def server(tmp_path_factory, scratch):
    """A server with one model, `sign`, which labels what is above zero."""
    with serving(tmp_path_factory.mktemp("server") / "home", {"sign": FaultyModel(scratch)}) as server:
        yield server


@pytest.fixture
def client(server):
    with Client(str(server.base_url)) as client:
        yield client


@contextmanager
def answering(status, headers=(), body=b"", times=None):
    """A server that gives this answer, `times` times, then an empty list; yields its address and the requests."""
    seen = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            seen.append(self.path)
            late = times is not None and len(seen) > times
            self.send_response(200 if late else status)
            for name, value in () if late else headers:
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(b"[]" if late else body)

        def log_message(self, *words):
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", seen
        server.shutdown()
        thread.join()


# --- the client -----------------------------------------------------------------------------------


def test_an_image_becomes_a_mask(client, server, tmp_path):
    job = client.submit(scan(tmp_path / "a.nii.gz"), "sign", name="my image")
    events = []
    done = client.wait(job["id"], events.append)
    assert (done["state"], done["name"]) == ("done", "my image")
    assert [event["event"] for event in events if event["event"] != "state"] == [
        "case_started",
        "progress",
        "case_done",
        "end",
    ]
    path = client.fetch(done, "mask", tmp_path / "mask.nii.gz")
    assert hashlib.sha256(path.read_bytes()).hexdigest() == done["files"]["mask"]["sha256"]
    assert path.read_bytes() == server.get(done["files"]["mask"]["url"]).content
    assert client.job(job["id"]) == done
    assert client.models()[0]["name"] == "sign"
    client.cancel(job["id"])
    with pytest.raises(ConfigError, match="no such job"):
        client.job(job["id"])


def test_an_event_comes_once_though_the_connection_breaks(client, tmp_path, monkeypatch):
    job = client.submit(scan(tmp_path / "a.nii.gz"), "sign")
    client.wait(job["id"])
    whole = list(client.events(job["id"]))
    monkeypatch.setattr(client_module, "PAUSE_S", 0.0)
    messages = client_module._messages

    def breaking(lines):
        """As a connection that ends after each message."""
        for message in messages(lines):
            yield message
            raise client._broken("broken")

    monkeypatch.setattr(client_module, "_messages", breaking)
    assert list(client.events(job["id"])) == whole
    assert len(whole) == 4


def test_the_reason_of_a_failure_is_the_servers(client, tmp_path):
    job = client.submit(scan(tmp_path / "a.nii", FAULTS["nan"]), "sign")
    with pytest.raises(CaseError, match="NaN or infinity"):
        client.wait(job["id"])


def test_a_damaged_download_gets_no_name(client, tmp_path):
    job = client.wait(client.submit(scan(tmp_path / "a.nii"), "sign")["id"])
    job["files"]["mask"]["sha256"] = "0" * 64
    with pytest.raises(OutputError, match="fetch it again"):
        client.fetch(job, "mask", tmp_path / "mask.nii")
    assert [path.name for path in tmp_path.iterdir()] == ["a.nii"]


@pytest.mark.parametrize("url", ["127.0.0.1:8000", "ftp://x", "http://x:y"])
def test_what_is_no_address_is_refused(url):
    with pytest.raises(ConfigError, match="is no address"):
        Client(url)


def test_without_httpx_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "httpx", None)
    with pytest.raises(ConfigError, match=r"itk_infer\[client\]"):
        Client("http://127.0.0.1:8000")


def test_refusals_are_errors_of_their_kind(client, tmp_path):
    (tmp_path / "text.nii").write_text("hello")
    with pytest.raises(InputError, match="no image of a format"):
        client.submit(tmp_path / "text.nii", "sign")
    with pytest.raises(ConfigError, match="no model of this name"):
        client.submit(scan(tmp_path / "a.nii"), "none")
    with pytest.raises(InputError, match=r"b\.nii: cannot be read"):
        client.submit(tmp_path / "b.nii", "sign")
    with pytest.raises(InputError, match="holds no DICOM files"):
        client.submit(tmp_path, "sign")


def test_other_servers_are_named():
    with (
        answering(200, body=b"hello") as (url, _),
        Client(url) as client,
        pytest.raises(ConfigError, match="not one of itk_infer"),
    ):
        client.models()
    with (
        answering(404, body=b"hello") as (url, _),
        Client(url) as client,
        pytest.raises(ConfigError, match="not one of itk_infer"),
    ):
        client.models()
    with (
        answering(500, body=b"{}") as (url, _),
        Client(url) as client,
        pytest.raises(CaseError, match="status 500"),
    ):
        client.job("x")


def test_a_full_server_is_asked_again(monkeypatch):
    waits = []
    monkeypatch.setattr(client_module.time, "sleep", waits.append)
    headers = [("Retry-After", "7"), ("Content-Type", "application/problem+json")]
    with (
        answering(429, headers, b'{"detail": "the queue is full"}', times=2) as (url, seen),
        Client(url) as client,
    ):
        assert client.job("x") == []
    assert (waits, len(seen)) == ([7.0, 7.0], 3)
    waits.clear()
    with (
        answering(429, headers, b'{"detail": "the queue is full"}') as (url, seen),
        Client(url, patience_s=5) as client,
        pytest.raises(CaseError, match="the queue is full"),
    ):
        client.job("x")
    assert (waits, len(seen)) == ([], 1)


def test_a_token_is_sent(tmp_path):
    (tmp_path / "tokens").write_text(TOKEN)
    with serving(tmp_path / "home", {"sign": FaultyModel(tmp_path)}, token_file=tmp_path / "tokens") as server:
        with Client(str(server.base_url), TOKEN) as client:
            assert client.models()
        with Client(str(server.base_url)) as client, pytest.raises(ConfigError, match="Authorization"):
            client.models()


def test_the_block_of_the_page_does_what_it_says(server, tmp_path, monkeypatch):
    page = (Path(__file__).parents[2] / "docs" / "server.md").read_text("utf-8")
    (block,) = re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    block = block.replace("http://127.0.0.1:8000", str(server.base_url)).replace('"hippocampus"', '"sign"')
    (tmp_path / "scans").mkdir()
    scan(tmp_path / "scans" / "left.nii.gz")
    monkeypatch.chdir(tmp_path)
    jobs = server.get("/v1/jobs").json()["jobs"]
    exec(compile(block, "server.md", "exec"), {})
    assert (tmp_path / "left_mask.nii.gz").stat().st_size
    assert [job["id"] for job in server.get("/v1/jobs").json()["jobs"]] == [job["id"] for job in jobs]


# --- itk_infer submit -----------------------------------------------------------------------------


def submit(server, *words):
    return main(("submit", str(server.base_url), *map(str, words)))


def test_submit_writes_masks_and_says_how_far_it_is(server, tmp_path, capsys):
    images = [scan(tmp_path / "a.nii.gz"), scan(tmp_path / "b.mha")]
    assert submit(server, *images, "-o", tmp_path / "masks", "--save", "logits", "--progress", "json") == 0
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [event["event"] for event in events if event["event"] != "progress"] == [
        "run_started", "case_started", "case_done", "case_started", "case_done", "run_done"
    ]  # fmt: skip
    done = [event for event in events if event["event"] == "case_done"]
    assert [event["case"] for event in done] == ["a.nii.gz", "b.mha"]
    written = sorted(path.name for path in (tmp_path / "masks").iterdir())
    assert written == ["a.nii.gz", "a.zarr.zip", "b.mha", "b.zarr.zip"]
    assert sorted(path for event in done for path in event["outputs"]) == [
        str(tmp_path / "masks" / name) for name in written
    ]
    assert (events[-1]["done"], events[-1]["exit_code"]) == (2, 0)


def test_a_second_submit_does_the_rest(server, tmp_path, capsys):
    images = [scan(tmp_path / "a.nii.gz"), scan(tmp_path / "b.nii.gz")]
    (tmp_path / "masks").mkdir()
    (tmp_path / "masks" / "a.nii.gz").write_text("a person's")
    assert submit(server, *images, "-o", tmp_path / "masks") == 0
    said = capsys.readouterr().err
    assert "a.nii.gz: skipped" in said
    assert "--overwrite replaces it" in said
    assert "1 image done, 0 failed, 1 skipped" in said
    assert (tmp_path / "masks" / "a.nii.gz").read_text() == "a person's"
    assert submit(server, *images, "-o", tmp_path / "masks", "--overwrite", "--quiet") == 0
    assert (tmp_path / "masks" / "a.nii.gz").read_bytes() == (tmp_path / "masks" / "b.nii.gz").read_bytes()


def test_what_another_output_would_replace_is_kept(server, tmp_path, capsys):
    (tmp_path / "masks").mkdir()
    (tmp_path / "masks" / "a.zarr.zip").write_text("a person's")
    assert submit(server, scan(tmp_path / "a.nii"), "-o", tmp_path / "masks", "--save", "logits") == 4
    assert "is kept" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "masks").iterdir()] == ["a.zarr.zip"]


def test_some_failed_is_3_and_all_failed_is_4(server, tmp_path, capsys):
    good, bad = scan(tmp_path / "a.nii"), scan(tmp_path / "b.nii", FAULTS["nan"])
    (tmp_path / "c.nii").write_text("hello")
    assert submit(server, good, bad, tmp_path / "c.nii", "-o", tmp_path / "masks") == 3
    said = capsys.readouterr().err
    assert "b.nii: FAILED" in said
    assert "c.nii: FAILED" in said
    assert submit(server, bad, "-o", tmp_path / "masks") == 4


def test_a_job_that_another_client_deletes_fails_alone(server, scratch, tmp_path, capsys, monkeypatch):
    followed = images_module._followed

    def deleted(client, image, job_id, wanted):
        if image.name == "a.nii":
            client.wait(job_id)
            server.delete(f"/v1/jobs/{job_id}")
        return followed(client, image, job_id, wanted)

    monkeypatch.setattr(images_module, "_followed", deleted)
    assert submit(server, scan(tmp_path / "a.nii"), scan(tmp_path / "b.nii"), "-o", tmp_path / "masks") == 3
    assert "a.nii: FAILED" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "masks").iterdir()] == ["b.nii"]


def test_warnings_name_the_image(server, tmp_path, capsys):
    assert submit(server, scan(tmp_path / "a.nii", FAULTS["kill_once"]), "-o", tmp_path / "masks") == 0
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning: ")]
    assert "it is tried once more" in line


@pytest.mark.parametrize(
    ("words", "code", "stated"),
    [
        (("a.nii", "sub/a.nii.gz", "-o", "masks"), 2, "another image has the same name"),
        (("a.nii", "-o", "."), 2, "holds the image a.nii"),
        (("a.nii", "-o", "masks", "-m", "none"), 2, "no model `none`; give one of sign"),
        (("none.nii", "-o", "masks"), 6, "none.nii: no such file"),
        (("a.nii", "-o", "masks", "--token-file", "none"), 2, "--token-file"),
        (("a.nii", "-o", "masks", "--save", "all"), 4, "no such output"),
    ],
    ids=["twice", "input folder", "model", "missing", "token", "output"],
)  # fmt: skip
def test_what_cannot_work_is_said_before_anything_is_sent(
    server, tmp_path, monkeypatch, words, code, stated, capsys
):
    (tmp_path / "sub").mkdir()
    scan(tmp_path / "a.nii")
    scan(tmp_path / "sub" / "a.nii.gz")
    monkeypatch.chdir(tmp_path)
    assert submit(server, *words) == code
    assert stated in capsys.readouterr().err


def test_no_server_is_2(tmp_path, capsys):
    with socket.socket() as link:
        link.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{link.getsockname()[1]}"
        assert main(("submit", url, str(scan(tmp_path / "a.nii")), "-o", str(tmp_path / "masks"))) == 2
    assert "is a server running there" in capsys.readouterr().err
    assert not (tmp_path / "masks").exists()


def test_several_models_need_a_name(tmp_path, capsys):
    models = {"one": FaultyModel(tmp_path), "two": FaultyModel(tmp_path)}
    with serving(tmp_path / "home", models) as server:
        assert submit(server, scan(tmp_path / "a.nii"), "-o", tmp_path / "masks") == 2
    assert "several models; give one of one, two" in capsys.readouterr().err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=["int", "term", "hup"])
def test_a_submit_that_is_stopped_cancels_its_jobs(tmp_path, number):
    with serving(tmp_path / "home", {"sign": FaultyModel(tmp_path)}) as server:
        images = [scan(tmp_path / "a.nii", FAULTS["gate"]), scan(tmp_path / "b.nii")]
        words = [sys.executable, "-m", "itk_infer", "submit", server.base_url, *images, "-o", tmp_path / "masks"]
        program = subprocess.Popen(
            list(map(str, words)), env=child_environment(), stderr=subprocess.PIPE, text=True
        )
        wait_until(lambda: [server.service.queue.counts()[state] for state in ("running", "waiting")] == [1, 1])
        wait_until((tmp_path / "masks").exists)
        program.send_signal(number)
        wait_until(lambda: server.service.queue.counts()["cancelled"] >= 1)  # 2 where the first had not begun
        assert program.wait(600) == 128 + number, program.stderr.read()
        program.stderr.close()
        (tmp_path / "go").touch()  # not before it asked for both: the first could end well meanwhile
        wait_until(lambda: server.service.queue.counts()["cancelled"] == 2)
    assert list((tmp_path / "masks").iterdir()) == []


# --- DICOM ----------------------------------------------------------------------------------------


def test_a_dicom_folder_goes_as_a_zip_without_names(client, server, tmp_path, monkeypatch):
    pytest.importorskip("pydicom", reason="writes the series")
    from support.dicom_files import save_series

    from itk_infer.client.dicom_zip import to_upload

    voxels = np.random.default_rng(3).integers(-50, 50, (5, 6, 7)).astype(np.int16)
    save_series(tmp_path / "Mueller^Hans" / "CT", voxels)
    (tmp_path / "Mueller^Hans" / "notes.txt").write_text("x")
    with to_upload(tmp_path / "Mueller^Hans") as packed, zipfile.ZipFile(packed) as archive:
        assert archive.namelist() == [f"{k:06d}.dcm" for k in range(5)]
    assert not packed.exists()
    assert submit(server, tmp_path / "Mueller^Hans", "-o", tmp_path / "server") == 0
    mask = sitk.DICOMOrient(sitk.ReadImage(str(tmp_path / "server" / "Mueller^Hans.nii.gz")), "LPS")
    assert np.array_equal(sitk.GetArrayFromImage(mask), voxels > 0)
    assert not [path for path in server.service.settings.home.rglob("*") if "Mueller" in path.name]
