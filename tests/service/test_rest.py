"""The REST interface, by a client, over a socket."""

from __future__ import annotations

import hashlib
import io
import json
import socket
import zipfile

import numpy as np
import pytest
import SimpleITK as sitk
from support.servers import scan, serving

from itk_infer.executors.messages import Assignment
from itk_infer.executors.workers import Workers
from itk_infer.testing.faulty import FAULTS, FaultyModel, wait_until


def labels_in(content, tmp_path, name):
    (tmp_path / name).write_bytes(content)
    return sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / name)))


@pytest.mark.parametrize("suffix", [".nii.gz", ".nii", ".nrrd", ".mha"])
def test_an_upload_becomes_a_label_map(client, tmp_path, suffix):
    image = scan(tmp_path / f"image{suffix}")
    answer = client.submit(image, name="visit 1.nii")
    assert answer.status_code == 202
    assert answer.headers["location"] == f"/v1/jobs/{answer.json()['id']}"
    job = client.ended(answer.json()["id"])
    assert (job["state"], job["attempts"], job["name"]) == ("done", 1, "visit 1.nii")
    mask = client.get(job["files"]["mask"]["url"])
    assert hashlib.sha256(mask.content).hexdigest() == job["files"]["mask"]["sha256"]
    assert mask.headers["etag"] == f'"{job["files"]["mask"]["sha256"]}"'
    assert f"visit_1_mask{suffix}" in mask.headers["content-disposition"]
    found = labels_in(mask.content, tmp_path, f"mask{suffix}")
    # `FaultyModel` labels what is above zero; the label map lies on the LPI grid, as everywhere.
    turned = sitk.GetArrayFromImage(sitk.DICOMOrient(sitk.ReadImage(str(image)), "LPI"))
    assert np.array_equal(found, turned > 0)


def test_the_upload_is_deleted_once_the_job_has_ended(client, tmp_path):
    job = client.ended(client.submit(scan(tmp_path / "a.nrrd")).json()["id"])
    client.kept(job["id"], "events.jsonl", "result.nrrd")


def test_logits_come_as_one_zip_of_zarr(client, tmp_path):
    job = client.ended(client.submit(scan(tmp_path / "a.mha"), save="logits").json()["id"])
    content = client.get(job["files"]["logits"]["url"]).content
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.testzip() is None
        assert any(name.endswith("zarr.json") for name in archive.namelist())


def test_a_picture_comes_as_png(client, tmp_path):
    job = client.ended(client.submit(scan(tmp_path / "a.nii.gz"), save="pictures").json()["id"])
    about = job["files"]["pictures"]
    assert about["ending"] == ".png"
    assert client.get(about["url"]).content.startswith(b"\x89PNG")


def test_ranges_and_etags(client, tmp_path):
    job = client.ended(client.submit(scan(tmp_path / "a.mha")).json()["id"])
    url = job["files"]["mask"]["url"]
    whole = client.get(url)
    part = client.get(url, headers={"Range": "bytes=5-9"})
    assert (part.status_code, part.content) == (206, whole.content[5:10])
    assert part.headers["content-range"] == f"bytes 5-9/{len(whole.content)}"
    stale = client.get(url, headers={"Range": "bytes=5-9", "If-Range": '"other"'})
    assert (stale.status_code, stale.content) == (200, whole.content)
    assert client.get(url, headers={"Range": f"bytes={len(whole.content)}-"}).status_code == 416
    same = client.get(url, headers={"If-None-Match": whole.headers["etag"]})
    assert (same.status_code, same.content) == (304, b"")
    head = client.head(url)
    assert (head.status_code, head.headers["content-length"]) == (200, str(len(whole.content)))


def events_of(client, job_id, **headers):
    events, name, number = [], "", None
    with client.stream("GET", f"/v1/jobs/{job_id}/events", headers=headers) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        for line in answer.iter_lines():
            if line.startswith("id: "):
                number = int(line[4:])
            elif line.startswith("event: "):
                name = line[7:]
            elif line.startswith("data: "):
                events.append((number, name, json.loads(line[6:])))
                number = None
    return events


def test_events_are_those_of_the_program_and_can_be_resumed(client, tmp_path):
    job_id = client.submit(scan(tmp_path / "a.nii")).json()["id"]
    events = events_of(client, job_id)
    numbered = [(number, name) for number, name, _ in events if number is not None]
    assert numbered == [(1, "case_started"), (2, "progress"), (3, "case_done")]
    assert events[-1][1] == "end"
    assert events[-1][2]["state"] == "done"
    started = next(event for _, name, event in events if name == "case_started")
    assert (started["run"], started["shape"]) == (job_id, [6, 7, 8])
    again = events_of(client, job_id, **{"Last-Event-ID": "2"})
    assert [name for _, name, _ in again] == ["case_done", "end"]


def test_a_job_at_work_is_cancelled_between_two_windows(tmp_path):
    slow = FaultyModel(tmp_path, pause=0.05, patch=(2, 2, 2))
    with serving(tmp_path / "home", {"slow": slow}) as client:
        job_id = client.submit(scan(tmp_path / "a.nii", size=(40, 40, 40)), "slow").json()["id"]
        client.running(job_id)
        wait_until(lambda: any(name == "progress" for _, name, _ in _logged(client, job_id)))
        assert client.delete(f"/v1/jobs/{job_id}").json()["state"] == "running"
        job = client.ended(job_id)
        assert (job["state"], job["reason"], job["files"]) == ("cancelled", "cancelled by a client", {})
        # The worker lives on: the next job loads no model.
        assert (
            client.ended(client.submit(scan(tmp_path / "b.nii", size=(2, 2, 2)), "slow").json()["id"])["state"]
            == "done"
        )
        assert len(list(tmp_path.glob("load-*"))) == 1


def test_a_job_that_ends_before_its_worker_knows_is_cancelled(tmp_path, monkeypatch):
    monkeypatch.setattr(Workers, "cancel", lambda *given: None)  # the message comes too late
    with serving(tmp_path / "home", {"sign": FaultyModel(tmp_path)}) as client:
        job_id = client.submit(scan(tmp_path / "a.nii", FAULTS["gate"])).json()["id"]
        client.running(job_id)
        assert client.delete(f"/v1/jobs/{job_id}").json()["state"] == "running"
        (tmp_path / "go").touch()
        job = client.ended(job_id)
        assert (job["state"], job["reason"], job["files"]) == ("cancelled", "cancelled by a client", {})
        assert not list(client.service.folder_of(job_id).glob("result*"))


def _logged(client, job_id):
    from itk_infer.service.event_log import read_events

    return [
        (number, json.loads(line)["event"], line) for number, line in read_events(client.service.folder_of(job_id))
    ]


@pytest.mark.parametrize(("device", "reads"), [("pretended", True), ("cpu", False)], ids=["gpu", "cpu"])
def test_the_next_job_is_read_while_one_is_computed(tmp_path, monkeypatch, device, reads):
    given = []
    send = Workers._send

    def spy(self, worker, message):
        given.append(message)
        return send(self, worker, message)

    monkeypatch.setattr(Workers, "_send", spy)
    with serving(tmp_path / "home", {"sign": FaultyModel(tmp_path, device=device)}) as client:
        names = ("gate", "a", "b")
        images = [scan(tmp_path / f"{name}.nii", FAULTS["gate"] if name == "gate" else None) for name in names]
        ids = [client.submit(image).json()["id"] for image in images]
        client.running(ids[0])
        (tmp_path / "go").touch()
        assert [client.ended(job_id)["state"] for job_id in ids] == ["done"] * 3
        masks = [client.get(f"/v1/jobs/{job_id}/files/mask").content for job_id in ids[1:]]
        assert masks[0] == masks[1]
    _, second, last = (message for message in given if isinstance(message, Assignment))
    assert [second.task.case.stem, last.task.case.stem] == ids[1:]
    assert (second.ahead and second.ahead.stem) == (ids[2] if reads else None)
    assert last.ahead is None


def test_jobs_wait_in_order_and_can_be_cancelled_while_they_wait(tmp_path):
    model = FaultyModel(tmp_path)
    with serving(tmp_path / "home", {"sign": model}) as client:
        first = client.submit(scan(tmp_path / "gate.nii", FAULTS["gate"])).json()["id"]
        client.running(first)
        others = [client.submit(scan(tmp_path / "a.nii")).json() for _ in range(3)]
        assert [job["position"] for job in others] == [1, 2, 3]
        gone = client.delete(f"/v1/jobs/{others[0]['id']}").json()
        assert gone["state"] == "cancelled"
        assert client.get(f"/v1/jobs/{others[2]['id']}").json()["position"] == 2
        assert [job["id"] for job in client.get("/v1/jobs?state=waiting").json()["jobs"]] == [
            others[2]["id"],
            others[1]["id"],
        ]
        (tmp_path / "go").touch()
        assert client.ended(others[2]["id"])["state"] == "done"
        assert client.ended(first)["state"] == "done"
        assert (
            client.get(f"/v1/jobs/{others[2]['id']}").json()["started"] > client.ended(others[1]["id"])["started"]
        )


def test_a_full_queue_is_429(tmp_path):
    with serving(tmp_path / "home", {"sign": FaultyModel(tmp_path)}, max_waiting=2) as client:
        client.running(client.submit(scan(tmp_path / "gate.nii", FAULTS["gate"])).json()["id"])
        answers = [client.submit(scan(tmp_path / "a.nii")) for _ in range(3)]
        assert [answer.status_code for answer in answers] == [202, 202, 429]
        assert int(answers[2].headers["retry-after"]) >= 1
        assert answers[2].headers["content-type"] == "application/problem+json"
        assert "2 jobs wait" in answers[2].json()["detail"]
        (tmp_path / "go").touch()


def test_a_repeated_request_is_the_same_job(client, tmp_path):
    image, key = scan(tmp_path / "a.nii"), {"Idempotency-Key": "visit-1"}
    first, second = (client.submit(image, headers=key) for _ in range(2))
    assert first.json()["id"] == second.json()["id"]
    other = client.submit(scan(tmp_path / "b.nii", 77), headers=key)
    assert other.status_code == 409
    assert client.submit(image).json()["id"] != first.json()["id"]


def test_an_ended_job_can_be_deleted(client, tmp_path):
    job = client.ended(client.submit(scan(tmp_path / "a.nii")).json()["id"])
    client.delete(f"/v1/jobs/{job['id']}")
    assert client.get(f"/v1/jobs/{job['id']}").status_code == 404
    assert not client.service.folder_of(job["id"]).exists()


def test_a_bad_image_fails_with_its_reason(client, tmp_path):
    job = client.ended(client.submit(scan(tmp_path / "a.nii", FAULTS["raise"])).json()["id"])
    assert job["state"] == "failed"
    assert "a surprise in the network" in job["reason"]
    assert client.get(f"/v1/jobs/{job['id']}/files/mask").status_code == 404


def test_a_dead_worker_gets_one_more_attempt_and_the_next_job_runs(client, scratch, tmp_path):
    job = client.ended(client.submit(scan(tmp_path / "a.nii", FAULTS["kill_once"])).json()["id"])
    assert job["state"] == "done"
    job = client.ended(client.submit(scan(tmp_path / "b.nii", FAULTS["kill"])).json()["id"])
    assert job["state"] == "failed"
    assert "killed (SIGKILL)" in job["reason"]
    assert client.ended(client.submit(scan(tmp_path / "c.nii")).json()["id"])["state"] == "done"


def test_the_least_recently_used_model_leaves(tmp_path):
    models = {}
    for name in "abc":
        (tmp_path / name).mkdir()
        models[name] = FaultyModel(tmp_path / name)
    with serving(tmp_path / "home", models, max_loaded=2) as client:
        assert client.service.loaded == {0: ("b", "a")}  # all were loaded once, the first one last
        assert [model["state"] for model in client.get("/v1/models").json()] == ["ready"] * 3
        assert client.ended(client.submit(scan(tmp_path / "x.nii"), "c").json()["id"])["state"] == "done"
        assert client.service.loaded == {0: ("a", "c")}
        loads = {name: len(list((tmp_path / name).glob("load-*"))) for name in "abc"}
        assert loads == {"a": 1, "b": 1, "c": 2}


def test_a_model_that_cannot_be_loaded_says_why(tmp_path):
    models = {"bad": FaultyModel(tmp_path, loading="raise"), "sign": FaultyModel(tmp_path)}
    with serving(tmp_path / "home", models) as client:
        assert client.get("/healthz").json() == {"state": "alive"}
        assert client.get("/readyz").status_code == 503
        bad, good = client.get("/v1/models").json()
        assert (bad["state"], good["state"]) == ("failed", "ready")
        assert "the weights are gone" in bad["reason"]
        assert client.sentences == ["model bad: the weights are gone; look for them"]
        answer = client.submit(scan(tmp_path / "a.nii"), "bad")
        assert answer.status_code == 422
        assert "the weights are gone" in answer.json()["detail"]


def test_state_and_numbers(client, tmp_path):
    assert client.get("/healthz").json() == {"state": "alive"}
    assert client.get("/readyz").json() == {"state": "ready"}
    before = client.service.queue.counts()["done"]
    client.ended(client.submit(scan(tmp_path / "a.nii")).json()["id"])
    text = client.get("/metrics").text
    assert f'itk_infer_jobs{{state="done"}} {before + 1}' in text
    assert 'itk_infer_stage_seconds_bucket{stage="job",le="+Inf"}' in text
    assert 'itk_infer_model_info{model="sign",state="ready",device="cpu"} 1' in text


def test_the_interface_describes_itself(client):
    document = client.get("/v1/openapi.json").json()
    assert document["openapi"].startswith("3.")
    assert {"/v1/jobs", "/v1/jobs/{job_id}", "/v1/jobs/{job_id}/events", "/v1/models"} <= set(document["paths"])
    assert "application/octet-stream" in document["paths"]["/v1/jobs"]["post"]["requestBody"]["content"]


@pytest.mark.parametrize(
    ("params", "status", "words"),
    [
        ({"model": "other"}, 404, "there are sign"),
        ({"model": "sign", "format": "exe"}, 422, "no such format"),
        ({"model": "sign", "save": "passwords"}, 422, "no such output"),
        ({}, 422, "model"),
    ],
    ids=["model", "format", "output", "nothing"],
)
def test_wrong_requests_are_named(client, tmp_path, params, status, words):
    answer = client.post("/v1/jobs", params=params, content=scan(tmp_path / "a.nii").read_bytes())
    assert answer.status_code == status
    assert words in answer.json()["detail"]


def test_the_server_imports_no_network_library():
    import subprocess
    import sys

    code = (
        "import sys, itk_infer.service.server\n"
        "print([name for name in ('torch', 'onnxruntime', 'SimpleITK', 'zarr') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=600)
    assert done.stdout.strip() == "[]"


def test_answers_are_sent_at_once():
    """asyncio sets TCP_NODELAY on connections of sockets that name their protocol, and on no others."""
    from itk_infer.service.server import bound_socket

    with bound_socket("127.0.0.1", 0) as listening:
        assert listening.proto == socket.IPPROTO_TCP
