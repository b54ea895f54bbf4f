"""Stop on a signal, at the next safe point, never during a commit."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any

from itk_infer.errors import InterruptedRunError
from itk_infer.system import STOP_SIGNALS


def stop_signals() -> list[int]:
    """The signals that stop a run: all of `STOP_SIGNALS`, without SIGHUP where ``nohup`` has it ignored."""
    hangup = getattr(signal, "SIGHUP", None)
    return [n for n in STOP_SIGNALS if n != hangup or signal.getsignal(n) is not signal.SIG_IGN]


class StopRequest:
    """Within the context, `stop_signals` are stored, and `check` raises after one was received.

    A second signal has the system's default effect, except SIGHUP: a terminal that is closed may send several.
    Outside the main thread, where Python allows no signal handlers, the context has no effect.
    """

    def __init__(self) -> None:
        self._received: int | None = None
        self._former: dict[int, Any] = {}

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():
            for number in stop_signals():
                self._former[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._former.items():
            signal.signal(number, handler)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._received = number
        signal.signal(number, signal.SIG_IGN if number == getattr(signal, "SIGHUP", None) else signal.SIG_DFL)

    def check(self) -> None:
        """Raise `InterruptedRunError` if a signal was received. Called between windows and between stages."""
        if self._received is not None:
            raise InterruptedRunError(self._received)
