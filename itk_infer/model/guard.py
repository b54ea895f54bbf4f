"""The half-precision guard: a window whose logits overflowed is run again in fp32, that window alone."""

from __future__ import annotations

import numpy as np

from itk_infer.model.backend import Backend, Logits, Windows


class HalfPrecisionGuard:
    """Runs a backend, and repairs windows with NaN or infinity.

    Attributes:
        redone: Windows that were run again in fp32.
    """

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self.redone = 0

    def __call__(self, windows: Windows) -> Logits:
        """As `Backend.forward`."""
        logits = self._backend.forward(windows)
        if self._backend.precision == "fp32":
            return logits
        # Minimum and maximum see NaN and infinity without a mask of the whole window.
        broken = [
            i for i, window in enumerate(logits) if not np.isfinite(window.min()) or not np.isfinite(window.max())
        ]
        if broken:
            logits = np.array(logits, np.float32)
            full = self._backend.in_full_precision()
            for index in broken:
                logits[index] = full.forward(windows[index : index + 1])[0]
            self.redone += len(broken)
        return logits
