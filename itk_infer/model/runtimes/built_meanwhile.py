"""A network that is built in a thread of its own, while the first pictures are read."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

Run = Callable[[Any], Any]


class BuiltMeanwhile:
    """Starts to build at once; a call waits until it is there, and raises what building it raised.

    Args:
        build: Makes the network.
    """

    def __init__(self, build: Callable[[], Run]) -> None:
        self._built: Future[Run] = Future()
        # Not a daemon: at its end, Python would tear such a thread out of the library that builds.
        threading.Thread(target=self._build, args=(build,), name="build", daemon=False).start()

    def __call__(self, pictures: Any) -> Any:
        """Run the network."""
        return self._built.result()(pictures)

    def wait(self) -> None:
        """Wait until it is built; a failure is raised by the next call."""
        self._built.exception()

    def _build(self, build: Callable[[], Run]) -> None:
        try:
            self._built.set_result(build())
        except BaseException as error:
            self._built.set_exception(error)
