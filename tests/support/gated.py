"""A model whose worker leaves a trace of what it reads and writes, and writes as the name of a file says."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from itk_infer.errors import InterruptedRunError, OutputError
from itk_infer.predictor import Predictor
from itk_infer.testing.faulty import FaultyModel, wait_until


@dataclass(frozen=True, slots=True)
class GatedModel:
    """See `ModelLoader`. To be loaded in worker processes only: it changes how they read and write.

    A file whose name has these words in it:
        ``held``: is not written before `release`.
        ``till_stopped``: is not written before the worker knows that it shall stop.
        ``full``: cannot be written.
        ``doomed``: kills the worker as soon as it has its final name; ``doomed_once``: only once.
    """

    model: FaultyModel

    @property
    def scratch(self) -> Path:
        return self.model.scratch

    def load(self, *, device: str | None = None, threads: int | None = None) -> Predictor:
        import itk_infer.executors.overlap as overlap
        import itk_infer.executors.reading as reading
        import itk_infer.outputs.label_map as label_map

        read_image, write_volume = reading.read_image, label_map.write_volume
        checks: list[Callable[[], None]] = []

        class Overlap(overlap.Overlap):
            def __init__(self, *args):
                super().__init__(*args)
                checks.append(args[-1])

        def stopping():
            try:
                checks[0]()
            except InterruptedRunError:
                return True
            return False

        def read(path):
            found = read_image(path)
            self.note(f"read {path.name}")
            return found

        def write(array, grid, path, keys, **options):
            self.note(f"write {path.name}")
            if "held" in path.name:
                wait_until((self.scratch / f"release {path.name}").exists, 600)
            if "till_stopped" in path.name:
                wait_until(stopping)
            if "full" in path.name:
                raise OutputError(f"{path}: cannot be written: the disk is full; free some space and run again")
            write_volume(array, grid, path, keys, **options)
            marker = self.scratch / "killed once"
            if "doomed" in path.name and not ("doomed_once" in path.name and marker.exists()):
                marker.touch()
                os.kill(os.getpid(), signal.SIGKILL)

        reading.read_image, label_map.write_volume, overlap.Overlap = read, write, Overlap
        return self.model.load(device=device, threads=threads)

    def note(self, line: str) -> None:
        with (self.scratch / "trace").open("a") as file:
            file.write(f"{line}\n")

    def trace(self) -> list[str]:
        file = self.scratch / "trace"
        return file.read_text().splitlines() if file.exists() else []

    def release(self, name: str) -> None:
        """Let a held file be written."""
        (self.scratch / f"release {name}").touch()

    def go(self) -> None:
        """Let the network of `gate` go on."""
        (self.scratch / "go").touch()
