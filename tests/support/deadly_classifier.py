"""A model that classifies, and of whose input one picture ends its process, or is never finished, as with a fault in a decoder."""

from __future__ import annotations

import os
import signal
import threading
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from itk_infer.classifier import Classifier
from itk_infer.classify.part import ClassifierRequest


@dataclass(frozen=True, slots=True)
class DeadlyRequest(ClassifierRequest):
    """See `ClassifierRequest`. To be loaded in worker processes only.

    Attributes:
        deadly: Mean, as a share of white, of the picture that ends the process.
        hangs: Mean of the picture that is never finished.
        begun: A folder that gets a file each time that picture is begun.
        once: A file that is made then, and while which is there nothing happens; None: every time.
    """

    deadly: float = 2.0
    once: Path | None = None
    hangs: float = 2.0
    begun: Path | None = None

    def load(self, *, device: str | None = None, threads: int | None = None) -> Classifier:
        """See `ClassifierRequest.load`."""
        classifier = ClassifierRequest.load(self, device=device, threads=threads)
        made = classifier.planes

        def planes(picture: Any) -> Any:
            found = made(picture)
            if abs(float(found[0].mean()) - self.deadly) < 1e-3 and (self.once is None or not self.once.exists()):
                if self.once is not None:
                    self.once.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            if self.begun is not None and abs(float(found[0].mean()) - self.hangs) < 1e-3:
                (self.begun / uuid.uuid4().hex).touch()
                threading.Event().wait()
            return found

        classifier.planes = planes  # type: ignore[method-assign]
        return classifier
