"""A backend without a network: for tests, and for trying a pipeline without a model."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from itk_infer.model.backend import Logits, NetworkShape, Windows
from itk_infer.model.precision import Precision
from itk_infer.spec import ModelSpec


class FakeBackend:
    """Calls a function where a network would run.

    By default two channels, ``-x`` and ``+x`` of the first input channel: with argmax, every voxel
    above zero is label 1.

    Args:
        function: (N, C_in, Z, Y, X) float32 to (N, C_out, Z, Y, X).
        spec: What the pretended model wants.
        shape: What the pretended network fixes.
    """

    def __init__(
        self,
        function: Callable[[Windows], Logits] | None = None,
        spec: ModelSpec | None = None,
        shape: NetworkShape | None = None,
    ) -> None:
        self.spec = spec or ModelSpec(name="fake")
        self.shape = shape or NetworkShape()
        self.device = "cpu"
        self.provider = "fake"
        self.precision: Precision = "fp32"
        self.digest = "fake"
        self.notes: tuple[str, ...] = ()
        self._function = function or (lambda windows: np.concatenate([-windows[:, :1], windows[:, :1]], axis=1))

    def forward(self, windows: Windows) -> Logits:
        """Call the function."""
        return self._function(windows)

    def in_full_precision(self) -> FakeBackend:
        """Itself."""
        return self
