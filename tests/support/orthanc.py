"""A real Orthanc on free ports, in a folder of its own, that can be stopped, killed and started again."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from itk_infer.testing.faulty import wait_until
from support.ports import free_port

PLUGINS = (Path("/usr/share/orthanc/plugins"), Path("/usr/lib/orthanc"))
DICOMWEB = "libOrthancDicomWeb.so"
START_S = 60.0


def program(name: str) -> str:
    """The path of a program; the test is skipped where it is not installed."""
    found = shutil.which(name, path=None) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")
    if found is None:
        pytest.skip(f"{name} is not installed (apt-get install orthanc orthanc-dicomweb dcmtk)")
    return found


class Orthanc:
    """See the module.

    Args:
        folder: For its configuration and its database.
        stable_age: Seconds after which a study is stable.
        settings: More of its configuration.
    """

    def __init__(self, folder: Path, stable_age: int = 1, **settings: object) -> None:
        self._program = program("Orthanc")
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.port, self.dicom_port = free_port(), free_port()
        plugins = [str(place / DICOMWEB) for place in PLUGINS if (place / DICOMWEB).exists()]
        document = {
            "StorageDirectory": str(folder / "storage"),
            "IndexDirectory": str(folder / "index"),
            "HttpPort": self.port,
            "DicomPort": self.dicom_port,
            "DicomAet": "ORTHANC",
            "DicomCheckCalledAet": True,
            "DicomAlwaysAllowStore": True,
            "DicomAlwaysAllowFind": True,
            "RemoteAccessAllowed": False,
            "AuthenticationEnabled": False,
            "StableAge": stable_age,
            "OverwriteInstances": False,
            "SaveJobs": False,
            "HttpThreadsCount": 8,
            "Plugins": plugins[:1],
            "DicomWeb": {"Enable": True},
            **settings,
        }
        self.has_dicomweb = bool(plugins)
        self._config = folder / "orthanc.json"
        self._config.write_text(json.dumps(document), "utf-8")
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def dicom(self) -> str:
        return f"ORTHANC@127.0.0.1:{self.dicom_port}"

    def start(self) -> Orthanc:
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen([self._program, str(self._config)], stdout=log, stderr=log)
        wait_until(self._answers, START_S)
        return self

    def __enter__(self) -> Orthanc:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.kill()

    def kill(self) -> None:
        """End it at once, by SIGKILL: in order, it takes seconds."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(60)
            self._process = None

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self.folder / "log").read_text("utf-8", "replace")[-2000:]
        try:
            return "DicomAet" in self.get("/system")
        except (OSError, http.client.HTTPException):
            return False

    def ask(self, method: str, path: str, body: bytes | None = None) -> bytes:
        link = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            link.request(method, path, body)
            answer = link.getresponse()
            content = answer.read()
        finally:
            link.close()
        assert answer.status < 300, (method, path, answer.status)
        return content

    def get(self, path: str):
        return json.loads(self.ask("GET", path))

    def upload(self, *paths: Path) -> None:
        for path in paths:
            self.ask("POST", "/instances", path.read_bytes())

    def instances(self, modality: str | None = None) -> list[str]:
        """SOPInstanceUIDs, of one modality or all."""
        found = []
        for series in self.get("/series?expand"):
            if modality in (None, series["MainDicomTags"].get("Modality")):
                found += self.get(f"/series/{series['ID']}/instances")
        return sorted(item["MainDicomTags"]["SOPInstanceUID"] for item in found)

    def arrivals(self) -> list[str]:
        """Orthanc's identifiers of all instances that were ever stored, once for each time."""
        changes = self.get("/changes?limit=100000")["Changes"]
        return [change["ID"] for change in changes if change["ChangeType"] == "NewInstance"]


def storescu(address: str, *files: Path, aet: str = "SCANNER") -> subprocess.CompletedProcess[str]:
    """Send files with DCMTK to AET@host:port."""
    called, _, place = address.partition("@")
    host, _, port = place.partition(":")
    words = [program("storescu"), "-aet", aet, "-aec", called, "+sd", host, port, *map(str, files)]
    return subprocess.run(
        words,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env=os.environ | {"TCP_NODELAY": "1"},
    )
