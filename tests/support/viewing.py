"""A viewer of a folder, running beside a test."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from itk_infer.viewer.server import ViewerServer
from itk_infer.viewer.session import Session


@contextmanager
def serving(folder: Path) -> Iterator[ViewerServer]:
    with ViewerServer(Session(folder)) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
