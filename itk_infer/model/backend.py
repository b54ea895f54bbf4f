"""The interface between the engine and a library that runs networks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeAlias

from itk_infer.arrays import Array
from itk_infer.model.runtimes.precision import Precision
from itk_infer.options_of_models import PrecisionChoice, Provider
from itk_infer.spec import ModelSpec

Windows: TypeAlias = Array  # (N, C_in, Z, Y, X) float32
Logits: TypeAlias = Array  # (N, C_out, Z, Y, X), any floating type


@dataclass(frozen=True, slots=True)
class NetworkShape:
    """The sizes that a network fixes. None: any size is accepted, or the size is known only after a call.

    Attributes:
        channels_in: Input channels.
        channels_out: Output channels.
        size: Window size Z, Y, X, each fixed or None. A 2D network fixes Z to 1.
        batch: Windows per call, where the network accepts no other number.
        batch_hint: Windows per call recommended by the model's author.
    """

    channels_in: int | None = None
    channels_out: int | None = None
    size: tuple[int | None, int | None, int | None] = (None, None, None)
    batch: int | None = None
    batch_hint: int | None = None


class BackendOptions(Protocol):
    """Where and how a backend runs its network."""

    @property
    def device(self) -> str:
        """``auto``, ``cpu``, ``cuda`` or ``cuda:N``; only ``auto`` falls back to the CPU, with a note."""
        ...

    @property
    def provider(self) -> Provider:
        """The library that runs the network on that device."""
        ...

    @property
    def precision(self) -> PrecisionChoice:
        """See `choose_precision`."""
        ...

    @property
    def threads(self) -> int | None:
        """Threads on the CPU; None: one per usable core."""
        ...

    @property
    def folds(self) -> tuple[str, ...] | None:
        """Names of the folds to use, of a model that has several; None: all."""
        ...

    @property
    def checkpoint(self) -> str | None:
        """Which checkpoint of a fold: ``final`` or ``best``; None: final if it exists, else best."""
        ...

    @property
    def previous_stage(self) -> Path | None:
        """Model folder of a cascade's first stage; None: searched for beside that of the second."""
        ...

    @property
    def weights(self) -> tuple[float, ...] | None:
        """Weight of each model of an ensemble; None: those of the ensemble file, or equal weights."""
        ...

    @property
    def nnunet_postprocessing(self) -> bool | None:
        """Whether post-processing that nnU-Net stored beside the folds is applied; None: it is not."""
        ...

    @property
    def max_vram(self) -> int | None:
        """Bytes of GPU memory that may be used; None: all."""
        ...


class Backend(Protocol):
    """Turns a batch of windows into logits.

    Attributes:
        spec: The model spec, merged from the model's own files and the user's.
        shape: Sizes that the network fixes.
        device: Device that runs the network: ``"cpu"`` or ``"cuda:N"``.
        tensor_device: Device whose torch tensors `forward` accepts without a copy; None: NumPy arrays only.
        provider: Library that runs the network: ``"onnxruntime"``, ``"openvino"``, ``"torch"``, ...
        precision: Number format of the network.
        digest: SHA-256 of the files that make up the model, for the ledger.
        notes: Sentences for the user: the device chosen, keys ignored.
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
            InferenceError: the network failed, or its output has another shape.
        """
        ...

    def in_full_precision(self) -> Backend:
        """Return the model in fp32: the reference for reduced precision, and the replacement if it is inaccurate.

        Every call makes a new backend, which takes as much memory as the model: release it as soon as possible. A
        model that already runs in fp32, or whose weights are stored in half precision, returns itself.
        """
        ...
