"""Nodes with a pretended network, in this process or in one of their own that can be killed."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from itk_infer.executors.in_process import InProcess
from itk_infer.executors.messages import Finished
from itk_infer.model.kinds.fake import FakeBackend, both_signs
from itk_infer.predictor import Predictor
from itk_infer.service.pacs import node as node_module
from itk_infer.service.pacs.access import Access, dicom_address
from itk_infer.service.pacs.node import Node
from itk_infer.service.pacs.node_settings import NodeSettings
from support import child_environment
from support.results import result

if TYPE_CHECKING:  # the program below needs no pytest
    import pytest


class WithResults(InProcess):
    """Labels what is above zero, and writes a segmentation object beside, whose UID depends on the input."""

    def __init__(self, gate: Path | None = None) -> None:
        def forward(windows):
            if gate is not None:
                gate.with_suffix(".reached").touch()
                while gate.exists():
                    time.sleep(0.01)
            return both_signs(windows)

        super().__init__(Predictor(FakeBackend(forward)))

    def step(self, report):
        def with_object(message):
            if isinstance(message, Finished):
                task = self._task
                from pydicom import dcmread

                source = dcmread(task.case.files[0], stop_before_pixels=True)
                result(
                    task.folder / f"{task.case.stem}.seg.dcm",
                    *sorted(item.sha256 for item in message.inputs),
                    study=str(source.StudyInstanceUID),
                )
            report(message)

        self._task = self._queue[0]
        super().step(with_object)


def full_database() -> sqlite3.OperationalError:
    """What SQLite raises where the disk is full."""
    error = sqlite3.OperationalError("database or disk is full")
    error.sqlite_errorcode = sqlite3.SQLITE_FULL
    return error


def settings(home: Path, places: int = 1, gate: Path | None = None, **given) -> NodeSettings:
    """Settings of a node with pretended networks."""
    given = {"quiet": 0.0, "poll": 0.02, "min_free": 0, "access": Access(timeout=20.0), **given}
    if isinstance(given.get("listen"), str):
        given["listen"] = dicom_address(given["listen"])
    make: Callable[[], WithResults] = lambda: WithResults(gate)  # noqa: E731
    return NodeSettings(home=home, executors=(make,) * places, **given)


def spooled(home: Path, folder: Path) -> Path:
    """A home in which a study waits that was received."""
    from itk_infer.service.pacs.objects import object_of
    from itk_infer.service.pacs.spool import Spool
    from itk_infer.service.pacs.studies import Studies
    from support.dicom_files import save_series, voxels

    home.mkdir()
    studies = Studies(home)
    spool = Spool(home / "received", studies)
    for path in save_series(folder, voxels((3, 5, 6)), study=folder.name):
        item = object_of(path)
        spool.store(item.study, item.uid, item.sop_class, path.read_bytes())
    studies.close()
    return home


@contextmanager
def node(home: Path, **given):
    """A node at work in threads of this process."""
    said: list[str] = []
    with Node(settings(home, **given), said.append) as running:
        running.said = said
        running.start()
        yield running
    assert running.problem is None, running.problem


class QuietTime:
    """Stands in the place of a node's `time`: the quiet time after the last image passes when a test says so.

    Args:
        monkeypatch: Puts it there.
    """

    monotonic = staticmethod(time.monotonic)

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._ahead = 0.0
        monkeypatch.setattr(node_module, "time", self)

    def time(self) -> float:
        return time.time() + self._ahead

    @contextmanager
    def over(self):
        """Within the block, no study waits for more images."""
        self._ahead = 3600.0
        try:
            yield
        finally:
            self._ahead = 0.0


def run_once(home: Path, **given) -> Node:
    """A node that works off what is there, and ends."""
    said: list[str] = []
    with Node(settings(home, **given), said.append) as running:
        running.said = said
        running.run_once()
        running.code = running.exit_code
    return running


class NodeProcess:
    """A node in a process of its own."""

    def __init__(self, home: Path, **given) -> None:
        self.gate = home.parent / "gate"
        words = [sys.executable, "-m", "support.nodes", json.dumps({"home": str(home), **given})]
        self._log = (home.parent / "node.log").open("a", encoding="utf-8")
        self.process = subprocess.Popen(words, env=child_environment(), stderr=self._log, stdin=subprocess.DEVNULL)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(60)
        self._log.close()


def _main() -> None:
    given = json.loads(sys.argv[1])
    home = Path(given.pop("home"))
    gate = home.parent / "gate" if given.pop("gated", False) else None
    given["send"] = tuple(given.get("send", ()))
    ready = home.parent / "ready"
    with Node(settings(home, gate=gate, **given), lambda words: None) as running:
        running.start()
        ready.write_text(str(os.getpid()))
        running.stopping.wait()
    sys.exit(1 if running.problem else 0)


if __name__ == "__main__":
    _main()
