"""Run a backend for the engine, with mirroring, empty windows skipped, and retries (out of memory, overflow)."""

from __future__ import annotations

from collections.abc import Sequence

from itk_infer.model.backend import Backend, Logits, Windows
from itk_infer.model.inferer.mirror import Forward, Mirrored
from itk_infer.model.inferer.out_of_memory import OutOfMemoryRetry
from itk_infer.model.inferer.perturb import View, unchanged
from itk_infer.model.inferer.skip_empty import EmptyWindowSkipper


class WindowInferer:
    """Runs the network on one case's windows and collects warnings.

    Args:
        backend: The network.
        mirror_axes: Axes to mirror for test-time augmentation; None: no mirroring.
        lowest: Minimum of the padded volume, if empty windows are to be skipped; None: run all windows.
        below: Largest value of an empty window; None: only windows of a single value are empty.
        max_batch: Windows per call, mirrored copies included, if memory ran out in an earlier case.
        view: Changes how the network sees windows, mirrored copies included.
    """

    def __init__(
        self,
        backend: Backend,
        mirror_axes: Sequence[int] | None,
        lowest: float | None,
        below: float | None,
        max_batch: int | None = None,
        view: View = unchanged,
    ) -> None:
        self._backend = backend
        self._mirror_axes = mirror_axes
        self._view = view
        self._notes = backend.notes
        self._redone = 0
        self._full: Backend | None = None
        self._max_batch_before = max_batch
        # OpenVINO and GPUs compile for every new shape; onnxruntime and torch on a CPU do not.
        fill = backend.device != "cpu" or backend.provider == "openvino"
        mirrorings = 1 if mirror_axes is None else 2 ** len(mirror_axes)
        self._retry = OutOfMemoryRetry(backend.forward, max_batch, fill=fill, copies_per_window=mirrorings)
        network = self._mirrored(self._retry)
        self._skipper = None if lowest is None else EmptyWindowSkipper(network, lowest, below)
        self._forward = self._skipper or network

    def __call__(self, windows: Windows) -> Logits:
        """See `Backend.forward`."""
        return self._forward(windows)

    def repair(self, windows: Windows) -> Logits:
        """Run windows again in fp32, because their logits overflowed in half precision."""
        if self._full is None:
            self._full = self._backend.in_full_precision()
        if self._full is not self._backend:
            self._redone += len(windows)
        return self._mirrored(OutOfMemoryRetry(self._full.forward))(windows)

    def _mirrored(self, network: Forward) -> Forward:
        return self._view(network if self._mirror_axes is None else Mirrored(network, self._mirror_axes))

    @property
    def max_batch(self) -> int | None:
        """Largest number of windows per call, mirrored copies included; None if memory never ran out."""
        return self._retry.max_batch

    def warnings(self, windows: int) -> list[str]:
        """Warnings for the user, once a case of `windows` windows is finished."""
        warnings = [note for note in self._backend.notes if note not in self._notes]
        if self.max_batch != self._max_batch_before:
            warnings.append(f"memory ran out in the network; from here on {self.max_batch} window(s) per call")
        if self._redone:
            warnings.append(f"{self._redone} of {windows} windows overflowed and were run again in fp32")
        if self._skipper and self._skipper.skipped:
            warnings.append(f"{self._skipper.skipped} of {windows} windows were empty and not run")
        return warnings
