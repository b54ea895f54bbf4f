"""What a server must refuse, each against a real one; after each it still answers."""

from __future__ import annotations

import gzip
import io
import resource
import select
import socket
import struct
import time
import zipfile

import pytest
from support.servers import scan, serving

from itk_infer.errors import ConfigError
from itk_infer.service import server, uploads
from itk_infer.service.guard import is_loopback, make_access
from itk_infer.testing.faulty import FaultyModel, wait_until

TOKEN = "0123456789abcdef0123456789abcdef"


@pytest.fixture(autouse=True)
def still_alive(request):
    """After each test, the server that it used answers."""
    yield
    if "client" in request.fixturenames:
        assert request.getfixturevalue("client").get("/healthz").status_code == 200


def raw(port, request, *, wait=60.0):
    """What the server answers to bytes, until it closes the connection."""
    with socket.create_connection(("127.0.0.1", port), timeout=wait) as link:
        link.sendall(request)
        answer = b""
        while part := link.recv(65536):
            answer += part
        return answer


def answered(links):
    """Those on which an answer has come."""
    poll = select.poll()
    for link in links:
        poll.register(link, select.POLLIN)
    ready = {number for number, _ in poll.poll(0)}
    return {link for link in links if link.fileno() in ready}


def nothing_left(client):
    home = client.service.settings.home
    wait_until(lambda: not list((home / "incoming").iterdir()))
    assert {path.name for path in (home / "jobs").iterdir()} <= client.service.queue.ids()


# --- who may call -------------------------------------------------------------------------------


@pytest.mark.parametrize("address", ["0.0.0.0", "::", "10.1.2.3", "radiology.example"])
def test_an_address_that_others_reach_needs_a_token(address):
    with pytest.raises(ConfigError, match="token_file"):
        make_access(address, None)


def test_loopback_needs_none():
    assert make_access("127.0.0.1", None).tokens == ()
    assert is_loopback("::1")
    assert is_loopback("localhost")


@pytest.mark.parametrize("text", ["", "short\n"], ids=["empty", "short"])
def test_a_token_file_without_a_good_token_is_refused(tmp_path, text):
    (tmp_path / "tokens").write_text(text)
    with pytest.raises(ConfigError, match="tokens: "):
        make_access("0.0.0.0", tmp_path / "tokens")


def test_tokens(tmp_path):
    (tmp_path / "tokens").write_text(f"{TOKEN}\nanother-token-of-enough-characters\n")
    with serving(tmp_path / "home", {"sign": FaultyModel(tmp_path)}, token_file=tmp_path / "tokens") as client:
        assert client.get("/v1/jobs").status_code == 200
        second = {"Authorization": "Bearer another-token-of-enough-characters"}
        assert client.get("/v1/jobs", headers=second).status_code == 200
        wrong = (
            "Bearer " + TOKEN[:-1],
            "Bearer",
            "Basic " + TOKEN,
            TOKEN,
            "",
            "Bearer " + TOKEN + "x",
            "Bearer \u00e9",
        )
        for value in wrong:
            answer = client.get("/v1/jobs", headers={"Authorization": value.encode("latin-1")})
            assert answer.status_code == 401, value
            assert answer.headers["www-authenticate"] == "Bearer"
        for path in ("/metrics", "/v1/openapi.json", "/v1/models", "/nowhere"):
            assert client.get(path, headers={"Authorization": ""}).status_code == 401
        refused = client.post("/v1/jobs?model=sign", content=b"x" * 100, headers={"Authorization": ""})
        assert refused.status_code == 401
        assert not client.get("/v1/jobs").json()["jobs"]
        assert client.get("/healthz", headers={"Authorization": ""}).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "", "localhost@evil.example", "evil/localhost"]
)
def test_foreign_host_headers_are_refused(client, host):
    assert client.get("/v1/jobs", headers={"Host": host}).status_code in (400, 421)


def test_two_host_headers_are_refused(client):
    answer = raw(
        client.port, b"GET /v1/jobs HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\nConnection: close\r\n\r\n"
    )
    assert answer.split()[1] in (b"400", b"421")


@pytest.mark.parametrize(
    "headers",
    [{"Origin": "https://evil.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}],
    ids=["origin", "null", "cross-site"],
)
def test_web_pages_of_others_are_refused(client, tmp_path, headers):
    """A page can send a POST with a plain body to a server on the reader's own machine, without a question."""
    answer = client.submit(scan(tmp_path / "a.nii"), headers=headers)
    assert answer.status_code == 403
    assert "access-control-allow-origin" not in answer.headers


def test_a_named_origin_is_let_in(tmp_path):
    page = "https://viewer.example"
    with serving(tmp_path / "home", {"sign": FaultyModel(tmp_path)}, origins=(page,)) as client:
        answer = client.get("/v1/models", headers={"Origin": page})
        assert answer.headers["access-control-allow-origin"] == page
        assert client.get("/v1/models", headers={"Origin": "https://evil.example"}).status_code == 403


def test_every_answer_has_the_headers_that_keep_browsers_safe(client):
    for path in ("/healthz", "/v1/jobs", "/nowhere"):
        answer = client.get(path)
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert answer.headers["cache-control"] == "no-store"


# --- what is sent -------------------------------------------------------------------------------


def test_a_length_that_lies_is_counted(tmp_path):
    with serving(tmp_path / "home", {"sign": FaultyModel(tmp_path)}, max_upload=1 << 20) as client:
        announced = client.post("/v1/jobs?model=sign", content=b"\0" * (2 << 20))
        assert announced.status_code == 413
        parts = (b"\0" * (1 << 16) for _ in range(32))  # chunked: no length at all
        assert client.post("/v1/jobs?model=sign", content=parts).status_code == 413
        nothing_left(client)


def bomb():
    """A small zip file that holds much, as 42.zip does."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("0.dll", b"0" * (1 << 20))
    return packed.getvalue()


def nifti_header(size, code=4, bits=16):
    header = bytearray(352)
    struct.pack_into("<i", header, 0, 348)
    struct.pack_into("<8h", header, 40, 3, *size, 1, 1, 1, 1)
    struct.pack_into("<hh", header, 70, code, bits)
    struct.pack_into("<8f", header, 76, 1, 1, 1, 1, 0, 0, 0, 0)
    struct.pack_into("<3f", header, 108, 352, 1, 0)
    header[344:348] = b"n+1\0"
    return bytes(header)


NRRD = "NRRD0004\ntype: short\ndimension: 3\nsizes: {sizes}\nencoding: {encoding}\nendian: little\n{more}\n"


def nrrd(sizes="4 4 4", encoding="raw", more="", voxels=b"\0" * 128):
    return NRRD.format(sizes=sizes, encoding=encoding, more=more).encode() + voxels


UNWANTED = {
    "zip bomb": (bomb(), 415),
    "elf": (b"\x7fELF" + b"\0" * 400, 415),
    "pickle": (b"\x80\x04\x95" + b"\0" * 400, 415),
    "html": (b"<html><script>alert(1)</script></html>", 415),
    "dicom": (b"\0" * 128 + b"DICM" + b"\0" * 400, 415),
    "gzip of nothing": (gzip.compress(b""), 415),
    "gzip of much": (gzip.compress(b"\0" * (64 << 20)), 415),
    "30000 cubed": (nifti_header((30000, 30000, 30000)), 422),
    "30000 cubed, packed": (gzip.compress(nifti_header((30000, 30000, 30000))), 422),
    "larger than allowed": (gzip.compress(nifti_header((1000, 1000, 1000))), 413),
    "negative size": (nifti_header((-4, 4, 4)), 422),
    "detached nrrd": (nrrd(more="data file: /etc/passwd\n", voxels=b""), 422),
    "detached nrrd beside": (nrrd(more="data file: input.nrrd\n", voxels=b""), 415),
    "detached metaimage": (
        b"ObjectType = Image\nNDims = 3\nDimSize = 4 4 4\nElementType = MET_SHORT\nElementDataFile = /etc/passwd\n",
        422,
    ),
    "rare encoding": (nrrd(encoding="bzip2"), 415),
    "endless header": (b"NRRD0004\n" + b"a" * (5 << 20), 422),
    "empty": (b"", 422),
}


@pytest.mark.parametrize("name", list(UNWANTED))
def test_content_that_is_no_image_of_ours_is_refused(tmp_path_factory, client_1g, name):
    content, status = UNWANTED[name]
    answer = client_1g.post("/v1/jobs?model=sign&name=fine.nii.gz", content=content)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert str(client_1g.service.settings.home) not in answer.text
    nothing_left(client_1g)


@pytest.fixture(scope="module")
def client_1g(tmp_path_factory, scratch):
    home = tmp_path_factory.mktemp("limited") / "home"
    with serving(home, {"sign": FaultyModel(scratch)}, max_image=1 << 30) as client:
        yield client


def test_a_gzip_that_unpacks_to_more_than_its_header_says_fails_as_a_job(client, tmp_path):
    content = gzip.compress(nifti_header((4, 4, 4)) + b"\0" * (100 << 20))
    job = client.ended(client.post("/v1/jobs?model=sign", content=content).json()["id"])
    assert job["state"] == "failed"
    assert "unpacks to far more" in job["reason"]


NAMES = [
    "../../../etc/passwd",
    "..\\..\\x",
    "/etc/cron.d/x",
    "a\0b",
    "a\r\nSet-Cookie: x=1",
    '"; rm -rf ~',
    "Müller",
    "C" * 200,
]


@pytest.mark.parametrize(
    "name", NAMES, ids=["dots", "backslashes", "root", "nul", "lines", "quote", "umlaut", "long"]
)
def test_names_of_clients_never_become_paths_or_headers(client, tmp_path, name):
    job = client.ended(client.submit(scan(tmp_path / "a.nii"), name=name).json()["id"])
    assert (job["state"], job["name"]) == ("done", name)
    answer = client.get(job["files"]["mask"]["url"])
    stated = answer.headers["content-disposition"]
    assert not set(stated.partition("filename=")[2].partition(";")[0].strip('"')) & set('/\\"\0\r\n')
    assert "set-cookie" not in answer.headers
    everything = [path.name for path in client.service.settings.home.rglob("*")]
    assert not [found for found in everything if "passwd" in found or "cron" in found or "ller" in found]


@pytest.mark.parametrize(
    "path",
    [
        "/v1/jobs/../../etc/passwd",
        "/v1/jobs/%2e%2e%2fjobs.db",
        "/v1/jobs/{id}/files/..%2f..%2fjobs.db",
        "/v1/jobs/{id}/files/events.jsonl",
    ],
    ids=["dots", "escaped", "file", "log"],
)
def test_paths_lead_nowhere_else(client, tmp_path, path):
    job = client.ended(client.submit(scan(tmp_path / "a.nii")).json()["id"])
    answer = raw(
        client.port,
        f"GET {path.format(id=job['id'])} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode(),
    )
    assert answer.split()[1] in (b"404", b"422")


# --- the allowed folder -------------------------------------------------------------------------


def test_paths_are_taken_only_inside_the_allowed_folder(tmp_path):
    inside = tmp_path / "inside"
    inside.mkdir()
    scan(inside / "a.nii")
    before = (inside / "a.nii").read_bytes()
    scan(tmp_path / "outside.nii")
    (inside / "link.nii").symlink_to(tmp_path / "outside.nii")
    (inside / "b.nhdr").write_text(
        "NRRD0004\ntype: short\ndimension: 3\nsizes: 2 2 2\nencoding: raw\ndata file: a.nii\n\n"
    )
    with serving(tmp_path / "home", {"sign": FaultyModel(tmp_path)}, allow_folder=inside) as client:
        job = client.ended(client.post("/v1/jobs?model=sign", json={"path": "a.nii"}).json()["id"])
        assert job["state"] == "done"
        assert (inside / "a.nii").read_bytes() == before
        outside = [
            "../outside.nii",
            str(tmp_path / "outside.nii"),
            "link.nii",
            "/etc/passwd",
            "",
            ".",
            "a\0.nii",
            "x" * 5000,
        ]
        answers = [client.post("/v1/jobs?model=sign", json={"path": path}) for path in outside]
        assert [answer.status_code for answer in answers] == [403] * len(outside)
        assert client.post("/v1/jobs?model=sign", json={"path": "b.nhdr"}).status_code == 415
        assert client.post("/v1/jobs?model=sign", json={"paths": ["a.nii", "a.nii"]}).status_code == 422
        for body in (b"[]", b"{", b'{"path": 1}', b'{"path": "a.nii", "x": 1}', b"[" * 100_000, b'{"paths": []}'):
            headers = {"Content-Type": "application/json"}
            assert client.post("/v1/jobs?model=sign", content=body, headers=headers).status_code == 422


def test_no_path_is_taken_without_an_allowed_folder(client):
    assert client.post("/v1/jobs?model=sign", json={"path": "/etc/passwd"}).status_code == 403


# --- slow and many clients ----------------------------------------------------------------------


def test_half_open_connections_are_closed_and_others_are_served(client, monkeypatch):
    monkeypatch.setattr(server, "HEADER_S", 1.0)
    links = [socket.create_connection(("127.0.0.1", client.port), timeout=60) for _ in range(200)]
    try:
        for link in links:
            link.sendall(b"POST /v1/jobs?model=sign HTTP/1.1\r\nHost: localhost\r\nX-")
        assert client.get("/healthz").status_code == 200
        assert [link.recv(100) for link in links] == [b""] * 200
    finally:
        for link in links:
            link.close()


def test_200_half_open_uploads_leave_the_server_usable(client, tmp_path, monkeypatch):
    monkeypatch.setattr(uploads, "PAUSE_S", 600.0)  # until all are there
    monkeypatch.setattr(uploads, "DRAIN_S", 0.1)
    limit = client.service.settings.max_uploads
    head = b"POST /v1/jobs?model=sign HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n"
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    links = [socket.create_connection(("127.0.0.1", client.port), timeout=60) for _ in range(200)]
    try:
        for link in links:
            link.sendall(head + b"n+1")
        assert client.get("/healthz").status_code == 200
        wait_until(lambda: len(answered(links)) == 200 - limit)
        monkeypatch.setattr(uploads, "PAUSE_S", 0.1)
        for link in set(links) - answered(links):
            link.sendall(b"1")  # from here on, the new time counts
        statuses = [int(link.recv(100).split()[1]) for link in links]
    finally:
        for link in links:
            link.close()
    assert (statuses.count(408), statuses.count(429)) == (limit, 200 - limit)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50 << 10  # KiB
    nothing_left(client)
    assert client.submit(scan(tmp_path / "a.nii")).status_code == 202


def test_uploads_that_pause_are_ended(client, monkeypatch):
    monkeypatch.setattr(uploads, "PAUSE_S", 0.5)
    head = b"POST /v1/jobs?model=sign HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 1000\r\n\r\nabc"
    monkeypatch.setattr(uploads, "DRAIN_S", 0.1)
    assert raw(client.port, head).split()[1] == b"408"
    nothing_left(client)


def test_uploads_that_trickle_are_ended(client, monkeypatch):
    monkeypatch.setattr(uploads, "GRACE_S", 0.2)
    monkeypatch.setattr(uploads, "DRAIN_S", 0.1)

    def trickle():
        for _ in range(120):
            yield b"\0"
            time.sleep(0.05)

    assert client.post("/v1/jobs?model=sign", content=trickle()).status_code == 408
    nothing_left(client)


def test_only_so_many_uploads_are_open(tmp_path):
    head = b"POST /v1/jobs?model=sign HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\nabc"
    with serving(tmp_path / "home", {"sign": FaultyModel(tmp_path)}, max_uploads=2) as client:
        links = [socket.create_connection(("127.0.0.1", client.port), timeout=60) for _ in range(2)]
        for link in links:
            link.sendall(head)
        incoming = tmp_path / "home" / "incoming"
        wait_until(lambda: len(list(incoming.iterdir())) == 2)
        answer = client.submit(scan(tmp_path / "a.nii"))
        assert (answer.status_code, answer.headers["retry-after"]) == (429, "5")
        for link in links:
            link.close()
        nothing_left(client)  # a client that left leaves no file
        assert client.submit(scan(tmp_path / "a.nii")).status_code == 202


def test_a_full_disk_is_507(client, tmp_path, monkeypatch):
    monkeypatch.setattr(client.service, "free_bytes", lambda: -1)
    answer = client.submit(scan(tmp_path / "a.nii"))
    assert answer.status_code == 507
    assert answer.headers["content-type"] == "application/problem+json"


def test_memory_does_not_grow_with_refused_uploads(client_1g):
    def refuse():
        for _ in range(10):
            assert client_1g.post("/v1/jobs?model=sign", content=UNWANTED["gzip of much"][0]).status_code == 415
            assert client_1g.post("/v1/jobs?model=sign", content=b"\0" * (16 << 20)).status_code == 415

    refuse()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refuse()
    # Of 160 MiB that were sent; one body of 16 lies in the client and may lie in the server.
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 80 << 10  # KiB


def test_nothing_of_a_client_is_printed(tmp_path, capfd):
    with serving(tmp_path / "home", {"sign": FaultyModel(tmp_path)}) as client:
        client.ended(client.submit(scan(tmp_path / "a.nii"), name="Mueller^Hans").json()["id"])
        client.get("/v1/jobs/Mueller?name=Mueller")
        assert not client.sentences
    out, err = capfd.readouterr()
    assert "Mueller" not in out + err


def test_an_error_in_the_program_is_a_500_without_its_words(client, monkeypatch, capfd):
    name = "Mueller^Hans"

    def broken(*arguments):
        raise KeyError(name)

    monkeypatch.setattr(client.service.queue, "latest", broken)
    answer = client.get("/v1/jobs")
    assert answer.status_code == 500
    assert answer.headers["content-type"] == "application/problem+json"
    err = capfd.readouterr().err
    assert "KeyError" in err
    assert "Mueller" not in err + answer.text
