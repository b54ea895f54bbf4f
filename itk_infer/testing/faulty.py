"""A model that fails on purpose, in any process; the value of a scan's brightest voxel determines how."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np

from itk_infer.errors import ModelError
from itk_infer.events import Event
from itk_infer.model.kinds.fake import FakeBackend
from itk_infer.predictor import Predictor

if TYPE_CHECKING:  # workers import this module, and need no pytest
    import pytest

NAMES = (
    "kill", "abort", "segfault", "exit", "kill_once", "kill_batch", "hang", "raise", "nan", "shape", "memory",
    "slow", "dark", "gate", "pair",
)  # fmt: skip
FAULTS = {name: 30_001 + index for index, name in enumerate(NAMES)}


def marked(array: np.ndarray, fault: str) -> np.ndarray:
    """The scan with a voxel that makes `FaultyModel` fail in the given way."""
    array = array.copy()
    array[0, 0, 0] = FAULTS[fault]
    return array


class Clock:
    """A clock that tests move forward, in place of the one by which an executor measures the duration of cases.

    A case can thus have a limit of ten minutes and exceed it at once.

    Args:
        monkeypatch: Replaces `time`.
        modules: Modules in which it is replaced.
    """

    sleep = staticmethod(time.sleep)

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *modules: ModuleType) -> None:
        self._ahead = 0.0
        for module in modules:
            monkeypatch.setattr(module, "time", self)

    def monotonic(self) -> float:
        """As `time.monotonic`."""
        return time.monotonic() + self._ahead

    def forward(self, seconds: float) -> None:
        """Move the clock forward."""
        self._ahead += seconds


def wait_until(condition: Callable[[], bool], seconds: float = 150.0) -> None:
    """Wait for another process or thread; the time limit is only reached if something is broken."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise RuntimeError("what was waited for never came")
        time.sleep(0.005)


def interrupt_at(condition: Callable[[Event], bool]) -> Callable[[Event], None]:
    """A listener that interrupts the run at the first event for which the condition is true, and only at that one.

    It calls the handler that the run installed, as the interpreter does for a SIGINT. No signal is sent to this
    process, which runs other tests, too; programs that get real ones are processes of their own.
    """
    done: list[Event] = []

    def on_event(event: Event) -> None:
        if not done and condition(event):
            done.append(event)
            handler = signal.getsignal(signal.SIGINT)
            if not callable(handler):
                raise RuntimeError("no handler of SIGINT is installed while a run is going on")
            handler(signal.SIGINT, None)

    return on_event


@dataclass(frozen=True, slots=True)
class FaultyModel:
    """Loads a model that labels voxels above zero, and fails on request; implements `ModelLoader`.

    Attributes:
        scratch: Folder for records of past failures.
        loading: How loading fails: ``raise``, ``kill``, ``kill_once``, ``later`` (from the second time), or not.
        pause: Duration of one window in seconds.
        batch: Windows per call.
        device: Device that it reports. For other devices than the CPU, a worker overlaps reading and writing.
    """

    scratch: Path
    loading: str = ""
    pause: float = 0.0
    batch: int = 1
    patch: tuple[int, int, int] | None = None
    device: str = "cpu"

    def on(self, device: str) -> FaultyModel:
        """The same model, which reports another device."""
        return replace(self, device=device)

    def load(self, *, device: str | None = None, threads: int | None = None) -> Predictor:
        """See `ModelLoader.load`."""
        from itk_infer.spec import parse_spec

        loads = len(list(self.scratch.glob("load-*")))
        (self.scratch / f"load-{os.getpid()}").touch()
        if self.loading == "raise" or (self.loading == "later" and loads):
            raise ModelError("the weights are gone; look for them")
        if self.loading == "kill" or (self.loading == "kill_once" and not loads):
            os.kill(os.getpid(), signal.SIGKILL)
        spec = parse_spec({"input": {"orientation": "LPI"}, "window": {"patch_size": self.patch}}, "test")
        backend = FakeBackend(self._forward, spec)
        backend.device = self.device
        return Predictor(backend, batch=self.batch)

    def _forward(self, windows: np.ndarray) -> np.ndarray:
        time.sleep(self.pause)
        brightest = int(windows.max())
        fault = next((name for name, value in FAULTS.items() if value == brightest), "")
        logits = np.concatenate([-windows, windows], axis=1)
        if fault in ("abort", "segfault"):
            _leave_no_core()
        match fault:
            case "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            case "abort":
                os.abort()
            case "segfault":
                os.kill(os.getpid(), signal.SIGSEGV)
            case "exit":
                os._exit(7)
            case "kill_once":
                marker = self.scratch / "killed once"
                if not marker.exists():
                    marker.touch()
                    os.kill(os.getpid(), signal.SIGKILL)
            case "kill_batch" if len(windows) > 1:
                os.kill(os.getpid(), signal.SIGKILL)
            case "hang":
                while True:
                    time.sleep(3600)
            case "slow":
                time.sleep(0.3)
            case "gate":
                wait_until((self.scratch / "go").exists)
            case "pair":
                self._meet()
            case "raise":
                raise RuntimeError("a surprise in the network")
            case "memory":
                raise MemoryError
            case "nan":
                return np.full_like(logits, np.nan)
            case "shape":
                return logits[..., :-1]
        return logits

    def _meet(self) -> None:
        """Wait until another worker has reached its n-th such case, too."""
        mine = len(list(self.scratch.glob(f"met-*-{os.getpid()}")))
        (self.scratch / f"met-{mine}-{os.getpid()}").touch()
        wait_until(lambda: len(list(self.scratch.glob(f"met-{mine}-*"))) > 1)


class InterruptedModel(FaultyModel):
    """Interrupts each worker while it starts: when the arguments of its main function are unpickled."""

    def __reduce__(self) -> tuple[Callable[[Path], FaultyModel], tuple[Path]]:
        return _interrupt, (self.scratch,)


def _interrupt(scratch: Path) -> FaultyModel:
    for number in (signal.SIGINT, signal.SIGTERM):
        os.kill(os.getpid(), number)
    return FaultyModel(scratch)


def _leave_no_core() -> None:
    """Disable core dumps of this process, which would be written to the tests' folder."""
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
