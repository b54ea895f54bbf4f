"""A network that is built in a separate thread while the first pictures are read."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

Run = Callable[[Any], Any]


class BuiltMeanwhile:
    """Starts building at once; calls wait until the network is built, and raise the error if building failed.

    Args:
        build: Builds and returns the network.
    """

    def __init__(self, build: Callable[[], Run]) -> None:
        self._built: Future[Run] = Future()
        # Not a daemon thread: at exit, Python would stop such a thread inside the library that builds.
        threading.Thread(target=self._build, args=(build,), name="build", daemon=False).start()

    def __call__(self, pictures: Any) -> Any:
        """Run the network."""
        return self._built.result()(pictures)

    @property
    def ready(self) -> bool:
        """Whether calls return, or fail, without waiting."""
        return self._built.done()

    def wait(self) -> None:
        """Wait until the network is built, and raise the error if building failed."""
        self._built.result()

    def _build(self, build: Callable[[], Run]) -> None:
        try:
            self._built.set_result(build())
        except BaseException as error:
            self._built.set_exception(error)
