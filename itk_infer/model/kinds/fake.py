"""A backend without a network: for tests, and for trying a pipeline without a model."""

from __future__ import annotations

from collections.abc import Callable

from itk_infer.arrays import namespace
from itk_infer.model.backend import Logits, NetworkShape, Windows
from itk_infer.model.runtimes.precision import Precision
from itk_infer.spec import ModelSpec


class FakeBackend:
    """Calls a function where a network would run.

    The default has two output channels, ``-x`` and ``+x`` of the first input channel: with argmax, every voxel
    above zero is label 1.

    Args:
        function: Takes (N, C_in, Z, Y, X) float32, returns (N, C_out, Z, Y, X).
        spec: The model spec; None: the default one.
        shape: Sizes that the network fixes; None: none.
        tensor_device: Device whose tensors the function accepts, besides NumPy arrays.
    """

    def __init__(
        self,
        function: Callable[[Windows], Logits] | None = None,
        spec: ModelSpec | None = None,
        shape: NetworkShape | None = None,
        tensor_device: str | None = None,
    ) -> None:
        self.spec = spec or ModelSpec(name="fake")
        self.shape = shape or NetworkShape()
        self.device = "cpu"
        self.tensor_device = tensor_device
        self.provider = "fake"
        self.precision: Precision = "fp32"
        self.digest = "fake"
        self.notes: tuple[str, ...] = ()
        self._function = function or both_signs

    def forward(self, windows: Windows) -> Logits:
        """Call the function."""
        return self._function(windows)

    def in_full_precision(self) -> FakeBackend:
        """Return the backend itself."""
        return self


def both_signs(windows: Windows) -> Logits:
    """Return two channels: the first input channel, negated and unchanged."""
    return namespace(windows).concat([-windows[:, :1], windows[:, :1]], axis=1)
