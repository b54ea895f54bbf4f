"""Servers that are killed, stopped and started again, as programs of their own."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import threading
import time

import pytest
from support import child_environment
from support.ports import free_port
from support.programs import DEMO
from support.servers import Client, scan

from itk_infer.cli.main import main
from itk_infer.errors import ConfigError
from itk_infer.service.service import Service
from itk_infer.service.settings import ServiceSettings
from itk_infer.testing.faulty import FAULTS, FaultyModel, wait_until

pytest.importorskip("onnxruntime")
MODEL = DEMO / "hippocampus_unet.onnx"
SIDES = ("left", "right")
JOBS = 24


def start(home, port, *words):
    command = [
        sys.executable, "-m", "itk_infer", "serve", "-m", f"hippocampus={MODEL}", "--home", home,
        "--address", f"127.0.0.1:{port}", "--device", "cpu", "--min-free", "1M", *words,
    ]  # fmt: skip
    return subprocess.Popen(list(map(str, command)), env=child_environment(), stderr=subprocess.PIPE, text=True)


def patient_client(port):
    return Client(base_url=f"http://127.0.0.1:{port}", timeout=60.0, trust_env=False)


def tried(call):
    """The answer, once there is a server that gives one."""
    import httpx

    deadline = time.monotonic() + 300
    while True:
        try:
            return call()
        except httpx.TransportError:
            assert time.monotonic() < deadline
            time.sleep(0.1)


def test_every_job_ends_once_though_the_server_is_killed(tmp_path):
    """With masks that are those of the command line, byte by byte."""
    images = {side: DEMO / f"mni152_hippocampus_{side}.nii.gz" for side in SIDES}
    for side, image in images.items():
        assert (
            main(("-i", str(image), "-o", str(tmp_path / f"{side}.nii.gz"), "-m", str(MODEL), "--device", "cpu"))
            == 0
        )
    port, ids = free_port(), {}

    def submit(numbers):
        with patient_client(port) as client:
            for number in numbers:
                side, key = SIDES[number % 2], {"Idempotency-Key": f"job-{number}"}
                answer = tried(lambda side=side, key=key: client.submit(images[side], "hippocampus", key))
                assert answer.status_code == 202, answer.text
                ids[number] = answer.json()["id"]

    clients = [threading.Thread(target=submit, args=(range(first, JOBS, 4),)) for first in range(4)]
    for client in clients:
        client.start()
    chance = random.Random(3)
    with patient_client(port) as client:
        for _ in range(3):
            server = start(tmp_path / "home", port)
            before = tried(lambda: client.get("/v1/jobs?state=done").json()["jobs"])
            tried(
                lambda before=before: wait_until(
                    lambda: len(client.get("/v1/jobs?state=done").json()["jobs"]) > len(before)
                )
            )
            time.sleep(chance.uniform(0, 0.3))
            server.kill()
            server.communicate(timeout=60)
        server = start(tmp_path / "home", port)
        for thread in clients:
            thread.join(300)
        assert len(set(ids.values())) == JOBS
        done = {number: tried(lambda job_id=job_id: client.ended(job_id)) for number, job_id in ids.items()}
        for number, job in done.items():
            assert job["state"] == "done", job
            mask = client.get(job["files"]["mask"]["url"]).content
            assert mask == (tmp_path / f"{SIDES[number % 2]}.nii.gz").read_bytes()
            folder = tmp_path / "home" / "jobs" / job["id"]
            wait_until(  # its upload is deleted after it has ended
                lambda folder=folder: (
                    sorted(path.name for path in folder.iterdir()) == ["events.jsonl", "result.nii.gz"]
                )
            )
        assert len(list((tmp_path / "home" / "jobs").iterdir())) == JOBS
        server.send_signal(signal.SIGTERM)
        _, text = server.communicate(timeout=60)
        assert server.returncode == 143, text


def test_a_second_server_for_one_home_is_refused(tmp_path):
    settings = ServiceSettings(home=tmp_path / "home", models={"sign": FaultyModel(tmp_path)})
    with Service(settings), pytest.raises(ConfigError, match="another run"):
        Service(settings).__enter__()


def test_a_server_that_stops_puts_its_job_back(tmp_path):
    from itk_infer.service.job import JobRequest

    settings = ServiceSettings(home=tmp_path / "home", models={"sign": FaultyModel(tmp_path)}, min_free=0)
    with Service(settings) as service:
        upload = service.new_upload()
        upload.write_bytes(scan(tmp_path / "gate.nii", FAULTS["gate"]).read_bytes())
        job, _ = service.submit_upload(upload, JobRequest("sign", ()))
        wait_until(lambda: service.queue.get(job.id).state == "running")
    (tmp_path / "go").touch()
    with Service(settings) as service:
        wait_until(lambda: service.queue.get(job.id).has_ended)
        assert (service.queue.get(job.id).state, service.queue.get(job.id).starts) == ("done", 1)


def test_old_jobs_are_deleted_with_their_files(tmp_path):
    from itk_infer.service.job import JobRequest

    settings = ServiceSettings(
        home=tmp_path / "home", models={"sign": FaultyModel(tmp_path)}, min_free=0, keep_s=0
    )
    with Service(settings) as service:
        upload = service.new_upload()
        upload.write_bytes(scan(tmp_path / "a.nii").read_bytes())
        job, _ = service.submit_upload(upload, JobRequest("sign", ()))
        wait_until(lambda: service.queue.get(job.id).has_ended)
        wait_until(lambda: service.slots[0].models.names == ("sign",))
        service.sweep()
        assert service.queue.ids() == set()
        assert list((tmp_path / "home" / "jobs").iterdir()) == []


def test_no_usable_model_ends_the_server_with_5(tmp_path):
    (tmp_path / "bad.onnx").write_bytes(b"nonsense")
    command = [
        sys.executable,
        "-m",
        "itk_infer",
        "serve",
        "-m",
        tmp_path / "bad.onnx",
        "--home",
        tmp_path / "home",
    ]
    command += ["--address", f"127.0.0.1:{free_port()}"]
    done = subprocess.run(
        list(map(str, command)), env=child_environment(), capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 5, done.stderr
    assert "bad.onnx" in done.stderr


@pytest.mark.parametrize(
    ("words", "stated"),
    [
        (("--address", "0.0.0.0:8000"), "--token-file"),
        (("--address", "nonsense"), "HOST:PORT"),
        (("--keep-size", "much"), "12G"),
        (("-m", f"hippocampus={MODEL}"), "NAME=MODEL"),
        (("-m", "x=/nowhere"), "no such file"),
        (("--allow-folder", "/nowhere"), "--allow-folder"),
    ],
    ids=["token", "address", "size", "twice", "missing", "folder"],
)
def test_what_cannot_work_is_a_usage_error(tmp_path, words, stated, capsys):
    code = main(("serve", "-m", f"hippocampus={MODEL}", "--home", str(tmp_path / "home"), *words))
    assert code == 2
    assert stated in capsys.readouterr().err
    assert not (tmp_path / "home").exists()
