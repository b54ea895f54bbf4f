"""The seam between the engine and whatever runs a network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

from itk_infer.arrays import Array
from itk_infer.model.runtimes.precision import Precision
from itk_infer.spec import ModelSpec

Provider = Literal["auto", "cpu", "openvino", "cuda", "tensorrt"]
Windows: TypeAlias = Array  # (N, C_in, Z, Y, X) float32
Logits: TypeAlias = Array  # (N, C_out, Z, Y, X), any floating type


@dataclass(frozen=True, slots=True)
class NetworkShape:
    """What a network's own file fixes. None: any size will do, or not known before it ran.

    Attributes:
        channels_in: Input channels.
        channels_out: Output channels.
        size: Window size Z, Y, X, each fixed or None. A 2D network fixes Z to 1.
        batch: Windows a call, where the network takes no other number.
        batch_hint: Windows a call that the model's author chose.
    """

    channels_in: int | None = None
    channels_out: int | None = None
    size: tuple[int | None, int | None, int | None] = (None, None, None)
    batch: int | None = None
    batch_hint: int | None = None


class Backend(Protocol):
    """Turns a batch of windows into logits.

    Attributes:
        spec: The model spec as far as the model's own files and the user's tell it.
        shape: What the network fixes.
        device: Where it runs: ``"cpu"`` or ``"cuda:N"``.
        tensor_device: Where torch tensors must be to be run without leaving it; None: only NumPy arrays are.
        provider: What runs it there: ``"onnxruntime"``, ``"openvino"``, ``"torch"``, ...
        precision: Number format it runs in.
        digest: SHA-256 of the files that make the model, for the ledger.
        notes: What the person at the screen should know: devices chosen, keys ignored.
    """

    spec: ModelSpec
    shape: NetworkShape
    device: str
    tensor_device: str | None
    provider: str
    precision: Precision
    digest: str
    notes: tuple[str, ...]

    def forward(self, windows: Windows) -> Logits:
        """Run the network once.

        Args:
            windows: (N, C_in, Z, Y, X) float32, contiguous: a NumPy array, or a tensor on `tensor_device`.

        Returns:
            (N, C_out, Z, Y, X), any floating type, of the same kind as `windows`: logits, or probabilities
            if the spec says so. The memory of an array may be reused by the next call, that of a tensor by
            the one after it.

        Raises:
            InferenceError: the network failed, or answered in another shape.
        """
        ...

    def in_full_precision(self) -> Backend:
        """The same model in fp32: what reduced precision is held against, and falls back to.

        Made anew by every call, and as large as the model: keep it no longer than it is needed. A model that
        is in fp32, or has nothing better than what it is stored in, is itself.
        """
        ...
