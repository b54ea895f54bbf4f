"""A real server on 127.0.0.1, in threads of the test's process; its workers are real processes."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass

import httpx
import numpy as np
import SimpleITK as sitk

from itk_infer.run.stop import StopRequest
from itk_infer.service.guard import make_access
from itk_infer.service.server import bound_socket, run_server
from itk_infer.service.service import Service
from itk_infer.service.settings import ServiceSettings
from itk_infer.testing.faulty import wait_until

TIMEOUT_S = 120.0


def scan(path, fill=None, size=(6, 7, 8)):
    """An image of small numbers; `fill` is its brightest voxel, which can make `FaultyModel` fail."""
    array = np.random.default_rng(1).normal(0, 9, size).astype(np.int16)
    if fill is not None:
        array[0, 0, 0] = fill
    sitk.WriteImage(sitk.GetImageFromArray(array), str(path))
    return path


THREE = [(7, "liver"), (1, "spleen"), (9, "absent")]


@dataclass(frozen=True)
class ThreeLabels:
    """Values 1, 7 and 9; nothing is ever labelled 9."""

    orientation: str = "input"

    def load(self, *, device=None, threads=None):
        from itk_infer.model.kinds.fake import FakeBackend
        from itk_infer.predictor import Predictor
        from itk_infer.spec import parse_spec

        def forward(windows):
            return np.concatenate([np.zeros_like(windows), windows, -windows, np.full_like(windows, -1e6)], axis=1)

        channels = {7: 1, 1: 2, 9: 3}
        labels = [{"value": value, "name": name, "channel": channels[value]} for value, name in THREE]
        backend = FakeBackend(forward, parse_spec({"output": {"labels": labels}}, "test"))
        return Predictor(backend, orientation=self.orientation)


class Client(httpx.Client):
    """Speaks to the server under test."""

    def submit(self, path, model="sign", headers=None, **params):
        return self.post("/v1/jobs", params={"model": model, **params}, content=path.read_bytes(), headers=headers)

    def ended(self, job_id):
        """The job, once it has ended."""
        deadline = time.monotonic() + TIMEOUT_S
        while (job := self.get(f"/v1/jobs/{job_id}").json())["state"] in ("waiting", "running"):
            assert time.monotonic() < deadline, job
            time.sleep(0.02)
        return job

    def kept(self, job_id, *names):
        """Wait until the folder of an ended job holds these files only: its upload is deleted after it has ended."""
        folder = self.service.folder_of(job_id)
        wait_until(lambda: sorted(path.name for path in folder.iterdir()) == sorted(names))

    def running(self, job_id):
        wait_until(lambda: self.get(f"/v1/jobs/{job_id}").json()["state"] == "running")


@contextmanager
def serving(home, models, *, token_file=None, origins=(), monai_label=False, **settings):
    """A server with these models; yields a client of it."""
    access = make_access("127.0.0.1", token_file, (), origins)
    sentences = []
    with (
        bound_socket("127.0.0.1", 0) as listening,
        Service(
            ServiceSettings(home=home, models=models, **{"min_free": 0, **settings}), sentences.append
        ) as service,
    ):
        words = {"monai_label": monai_label}
        arguments = (service, access, listening, StopRequest())
        thread = threading.Thread(target=run_server, args=arguments, kwargs=words, daemon=True)
        thread.start()
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        headers = {"Authorization": f"Bearer {token_file.read_text().split()[0]}"} if token_file else {}
        with Client(base_url=url, headers=headers, timeout=TIMEOUT_S, trust_env=False) as client:
            wait_until(lambda: service.described.is_set() or service.stopping.is_set())
            client.service, client.port, client.sentences = service, listening.getsockname()[1], sentences
            try:
                yield client
            finally:
                service.stopping.set()
                thread.join(TIMEOUT_S)
        assert not thread.is_alive()
        assert service.problem is None
